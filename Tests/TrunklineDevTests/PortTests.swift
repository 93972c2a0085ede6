import Foundation
import Glibc
import TestKit
import Testing

/// The ports that servers get are reserved for the whole machine.
@Suite struct PortTests {
    /// Two checkouts that start servers side by side, with few ports to choose from: none is given twice, and what was given
    /// back can be given again.
    @Test func twoCheckoutsNeverGetOnePortTwice() async throws {
        let program = try TestEnvironment.built("trunkline-dev")
        let folder = temporaryFolder("ports")
        defer { removeFiles(folder) }
        var environment = ProcessInfo.processInfo.environment
        environment["TRUNKLINE_DEV_PORTS"] = "19000-19059"
        let ports = try await withThrowingTaskGroup(of: String.self) { group in
            for checkout in ["one", "two"] {
                for number in 0..<20 {
                    let instance = "\(folder)/\(checkout)/\(number)"
                    try makeFolder(instance)
                    group.addTask { [environment] in
                        try await Command.run(program, ["port", instance, "server"], environment: environment)
                            .requireSuccess().output
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(ports.count == 40 && Set(ports).count == 40)
        #expect(ports.allSatisfy { $0.hasPrefix("190") })
    }

    /// Runs `body` with the port `first` of a folder, which gives its ports back.
    private func withOnePort(_ body: (UInt16, PortLeases, String) async throws -> Void) async throws {
        let folder = temporaryFolder("port")
        try makeFolder(folder)
        defer {
            PortLeases.release(of: folder)
            removeFiles(folder)
        }
        let first = try await PortLeases().port("first", of: folder)
        try await body(first, PortLeases(), folder)
    }

    @Test func aPortIsKeptForTheNextStart() async throws {
        try await withOnePort { port, leases, folder in
            let again = try await leases.port("first", of: folder)
            let second = try await leases.port("second", of: folder)
            #expect(again == port && PortLeases.held("first", of: folder) == port && second != port)
        }
    }

    /// Somebody who does not know of the leases listens there when the server is started again.
    @Test func aPortThatWasTakenMeanwhileIsReplaced() async throws {
        try await withOnePort { port, leases, folder in
            let thief = try #require(Thief(port))
            #expect(PortLeases.isListening(port))
            let other = try await leases.port("first", of: folder, patience: .milliseconds(50))
            #expect(other != port && PortLeases.held("first", of: folder) == other)
            thief.close()
        }
    }

    /// The kernel's table gives some 26 sockets at a time.
    @Test func everyListenerOfABusyMachineIsSeen() {
        let listeners = (0..<100).map { _ in Listener() }
        #expect(listeners.allSatisfy { PortLeases.isListening($0.port) })
    }

    /// A killed server counts as ended before the last of its threads has, and until then it listens.
    @Test func aPortThatADyingServerStillHasIsWaitedFor() async throws {
        try await withOnePort { port, leases, folder in
            let dying = try #require(Thief(port))
            async let kept = leases.port("first", of: folder, patience: .seconds(60))
            try await Task.sleep(for: .milliseconds(200))
            dying.close()
            #expect(try await kept == port)
        }
    }

    /// What a folder that is gone had reserved is given to others.
    @Test func whatAFolderThatIsGoneHadReservedIsGivenAgain() async throws {
        let (gone, folder) = (temporaryFolder("gone"), temporaryFolder("stays"))
        try makeFolder(gone)
        try makeFolder(folder)
        defer {
            PortLeases.release(of: folder)
            removeFiles(folder)
        }
        let port = try await PortLeases().port("server", of: gone)
        let only = PortLeases(range: port...port)
        await #expect(throws: KitError.self) { try await only.port("server", of: folder) }
        removeFiles(gone)
        #expect(try await only.port("server", of: folder) == port)
    }

    @Test func whatWasGivenBackIsFree() async throws {
        let (first, second) = (temporaryFolder("first"), temporaryFolder("second"))
        try makeFolder(first)
        try makeFolder(second)
        defer {
            PortLeases.release(of: second)
            removeFiles(first, second)
        }
        let port = try await PortLeases().port("server", of: first)
        PortLeases.release(of: first)
        #expect(PortLeases.held("server", of: first) == nil)
        #expect(try await PortLeases(range: port...port).port("server", of: second) == port)
    }
}

/// Listens on a port of somebody else.
private struct Thief {
    private let descriptor: Int32

    init?(_ port: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        let isListening = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 && listen(descriptor, 1) == 0
            }
        }
        guard isListening else { return nil }
    }

    func close() { Glibc.close(descriptor) }
}
