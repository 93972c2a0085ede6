import Foundation
import TestKit
import Testing
import TrunklineDev

/// The servers of checkouts that know nothing of each other.
@Suite struct ServersTests {
    /// A folder that is taken for a checkout.
    private struct Place {
        let root = temporaryFolder("checkout")
        var state: String { root + "/.dev" }
        var records: [ProcessRecord] {
            ["broker", "epmd", "database"].map { ProcessRecord("\(state)/\($0).pid") }
        }
        var running: [Int32] { records.compactMap(\.pid) }

        func run(_ command: String) async throws {
            try await Command.run(try TestEnvironment.built("trunkline-dev"), [command, "--root", root])
                .requireSuccess("trunkline-dev \(command)")
        }

        func start(_ command: String) throws -> ChildProcess {
            try ChildProcess(try TestEnvironment.built("trunkline-dev"), [command, "--root", root])
        }

        /// Ends everything, whatever the test has come to.
        func with(_ body: (Place) async throws -> Void) async throws {
            try makeFolder(root)
            let result: Result<Void, any Error>
            do { result = .success(try await body(self)) } catch { result = .failure(error) }
            let checkout = Checkout(root: root)
            try? await ProductServers(folder: state, checkout: checkout).remove()
            removeFiles(root)
            try result.get()
        }
    }

    /// Whoever starts servers may be killed at any moment; the next command of the checkout finds them, and only them.
    @Test func whatAKilledRunHasStartedIsEndedByDownAndNothingElse() async throws {
        try await Place().with { killed in
            try await Place().with { other in
                async let up: Void = other.run("up")
                let child = try killed.start("up")
                // Both servers are there, and nobody has waited for them yet.
                try await eventually("servers that are starting") {
                    killed.running.count == 3 || !child.isRunning
                }
                child.send(SIGKILL)
                #expect(await child.end() == -SIGKILL)
                #expect(killed.running.count == 3)
                try await up
                let others = other.running
                #expect(others.count == 3)

                let ids = killed.running
                try await killed.run("down")
                #expect(killed.running.isEmpty && ids.allSatisfy { text(of: "/proc/\($0)/cmdline").isEmpty })
                #expect(other.running == others)
                let ports = try [killed, other].map { try self.ports(of: $0) }
                #expect(Set(ports[0] + ports[1]).count == 10)
                #expect(ports[1].allSatisfy(PortLeases.isListening))
            }
        }
    }

    private func ports(of place: Place) throws -> [UInt16] {
        try ["amqp", "amqps", "dist", "epmd", "database"].map {
            try #require(PortLeases.held($0, of: place.state), "\($0)")
        }
    }

    /// Ctrl-C leaves nothing behind, at whatever moment.
    @Test func whoeverInterruptsUpFindsNothingRunning() async throws {
        try await Place().with { place in
            for servers in [1, 3] {
                let child = try place.start("up")
                try await eventually("\(servers) to start") { place.running.count >= servers || !child.isRunning }
                child.send(SIGINT)
                #expect(await child.end() == 130)
                #expect(place.running.isEmpty, "\(servers)")
            }
        }
    }

    /// The mark in their environment finds processes that nobody has noted.
    @Test func whatCarriesTheMarkIsEnded() async throws {
        let (mine, other) = (temporaryFolder("mine"), temporaryFolder("other"))
        let children = try [mine, other].map {
            try ChildProcess("/bin/sleep", ["600"], environment: [RunMark.name: $0, "PATH": "/bin"])
        }
        defer { children[1].send(SIGKILL) }
        try await eventually("the programs") {
            children.allSatisfy { text(of: "/proc/\($0.pid)/cmdline").hasPrefix("/bin/sleep") }
        }
        RunMark(root: mine).endAll()
        #expect(await children[0].end() == -SIGKILL)
        #expect(children[1].isRunning)
    }
}
