import Foundation
import Glibc
import PostgresDriver
import Synchronization
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// The reply of a COMMIT is lost: the statement happened, and its caller does not know.
@Suite struct LostReplyTests {
    /// `take` on the fast path and `claim` begin an attempt; `settle` records one. After each the connection is cut with
    /// the reply on its way. Turned off, a begun attempt that its owner never heard of is never finished.
    @Test(arguments: ["take", "claim", "settle", "adopt", "refuse"])
    func theLedgerIsReadAgainBeforeAnythingElse(statement: String) async throws {
        try await TestInstall.with(lines: 1) { install in
            let proxy = try SwallowingProxy(target: try databasePort(install), statement: statement)
            defer { proxy.stop() }
            _ = try install.startWorker(["TRUNKLINE_DATABASE_URL": throughProxy(install, proxy)])
            try await warmUp(install)
            proxy.arm()
            try await install.publish(try TestInstall.jobs(30, lines: ["line-01"], persons: 5))
            if statement == "refuse" { try await install.publish(raw: [("send", Array("not json".utf8))]) }
            if statement == "adopt" {
                let file = try TestInstall.jobs(30, prefix: "row", lines: ["line-01"]).map {
                    String(decoding: $0.encode(), as: UTF8.self)
                }
                try await install.trunkline(["enqueue", "-"], input: file.joined(separator: "\n")).requireSuccess()
            }
            try await install.wait(for: "the lost reply of \(statement)") { proxy.swallowed > 0 }
            let count = statement == "adopt" ? 61 : 31
            try await install.waitUntilSent(count)
            try await install.requireProof(sent: count)
            if statement == "refuse" {
                #expect(try await install.number("select count(*) from trunkline.refusals") == 1)
            }
        }
    }

    @Test func withoutReadingAgainABegunAttemptIsForgotten() async throws {
        try await TestInstall.with(lines: 1) { install in
            let proxy = try SwallowingProxy(target: try databasePort(install), statement: "claim")
            defer { proxy.stop() }
            _ = try install.startWorker([
                "TRUNKLINE_DATABASE_URL": throughProxy(install, proxy), "TRUNKLINE_TURN_OFF": "reread",
            ])
            try await warmUp(install)
            proxy.arm()
            // One person: the second job waits, and is claimed, not taken on the fast path.
            try await install.publish(try TestInstall.jobs(3, lines: ["line-01"], persons: 1))
            try await install.wait(for: "the lost reply") { proxy.swallowed > 0 }
            try await install.publish([try TestInstall.job("marker", to: "+972509999999")])
            try await install.wait(for: "the marker of another person") {
                try await install.number("select count(*) from trunkline.finished where key = 'marker'") == 1
            }
            #expect(try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 1)
        }
    }

    /// Opens the gate, so that what follows takes the fast path.
    private func warmUp(_ install: TestInstall) async throws {
        try await install.publish([try TestInstall.job("warm.1")])
        try await install.waitUntilSent(1)
    }

    private func databasePort(_ install: TestInstall) throws -> UInt16 {
        guard let port = URLComponents(string: install.databaseURL)?.port else {
            throw TestInstall.Failure("no port in the database URL")
        }
        return UInt16(port)
    }

    private func throughProxy(_ install: TestInstall, _ proxy: SwallowingProxy) -> String {
        var url = URLComponents(string: install.databaseURL)!
        url.port = Int(proxy.port)
        return url.string!
    }
}

/// Sits between a worker and PostgreSQL. Once armed, the first time that a client binds the named statement, the server
/// gets the request, its reply is swallowed, and after the server has answered the connection is cut.
final class SwallowingProxy: Sendable {
    let port: UInt16
    private let listener: Int32
    private let target: UInt16
    private let marker: [UInt8]
    private let armed = Atomic<Bool>(false)
    private let hits = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)

    /// How many replies were swallowed.
    var swallowed: Int { hits.load(ordering: .sequentiallyConsistent) }

    init(target: UInt16, statement: String) throws {
        self.target = target
        // Bind: an empty portal name, then the statement's name, each with its terminator.
        marker = [0] + Array(statement.utf8) + [0]
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(0)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, listen(descriptor, 64) == 0 else {
            throw TestInstall.Failure("the proxy cannot listen: errno \(errno)")
        }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        listener = descriptor
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { self.accept() }
    }

    func arm() { armed.store(true, ordering: .sequentiallyConsistent) }

    func stop() {
        stopped.store(true, ordering: .sequentiallyConsistent)
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private func accept() {
        while !stopped.load(ordering: .sequentiallyConsistent) {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.loopback(target)
            let connected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard connected == 0 else {
                close(client)
                close(server)
                continue
            }
            let pair = Pair(client: client, server: server)
            Thread.detachNewThread { self.toServer(pair) }
            Thread.detachNewThread { self.toClient(pair) }
        }
    }

    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        let isSwallowing = Atomic<Bool>(false)
        private let ends = Atomic<Int>(0)
        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }
        func cut() {
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
            if ends.add(1, ordering: .sequentiallyConsistent).newValue == 2 {
                close(client)
                close(server)
            }
        }
    }

    private func toServer(_ pair: Pair) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(pair.client, &buffer, buffer.count)
            guard count > 0 else { break }
            if armed.load(ordering: .sequentiallyConsistent), contains(buffer[..<count]),
                armed.compareExchange(expected: true, desired: false, ordering: .sequentiallyConsistent).exchanged
            {
                pair.isSwallowing.store(true, ordering: .sequentiallyConsistent)
            }
            guard writeAll(pair.server, buffer, count) else { break }
        }
        pair.cut()
    }

    private func toClient(_ pair: Pair) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(pair.server, &buffer, buffer.count)
            guard count > 0 else { break }
            if pair.isSwallowing.load(ordering: .sequentiallyConsistent) {
                // ReadyForQuery ends the reply: the transaction is over, and nobody hears of it.
                if count >= 6, buffer[count - 6] == UInt8(ascii: "Z") {
                    hits.add(1, ordering: .sequentiallyConsistent)
                    break
                }
                continue
            }
            guard writeAll(pair.client, buffer, count) else { break }
        }
        pair.cut()
    }

    private func contains(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard bytes.count >= marker.count else { return false }
        return bytes.indices.dropLast(marker.count - 1).contains { start in
            bytes[start] == 0 && bytes[start..<start + marker.count].elementsEqual(marker)
        }
    }

    private func writeAll(_ descriptor: Int32, _ buffer: [UInt8], _ count: Int) -> Bool {
        var sent = 0
        while sent < count {
            let wrote = buffer.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL))
            }
            guard wrote > 0 else { return false }
            sent += wrote
        }
        return true
    }
}
