import EventLoop
import Foundation
import Glibc
import PostgresDriver
import Synchronization
import Testing

typealias Answer = Result<PostgresRows, PostgresError>

extension Answer {
    var error: PostgresError? {
        if case .failure(let error) = self { error } else { nil }
    }
}

/// A test without its server fails: a skipped integration test proves nothing.
func environment(_ name: String) throws -> String {
    try #require(ProcessInfo.processInfo.environment[name], "\(name) is not set: source .dev/env (./dev up)")
}

func serverURL() throws -> String { try environment("TRUNKLINE_TEST_DATABASE_URL") }

/// `url` with another user, port or database.
func change(_ url: String, user: String? = nil, port: UInt16? = nil, database: String? = nil) throws -> String {
    var parts = try #require(URLComponents(string: url))
    if let user { parts.user = user }
    if let port { parts.port = Int(port) }
    if let database { parts.path = "/" + database }
    return try #require(parts.string)
}

/// Runs `body` with the URL of an empty database of its own, which is dropped after it.
func withDatabase(_ body: (String) async throws -> Void) async throws {
    let server = try serverURL()
    let name = "pgdriver_\(UInt64.random(in: 0 ... .max))"
    // Making and dropping a database waits for a checkpoint.
    let settings = [("statement_timeout", "60s")]
    try await PostgresSession.withSession(url: server, applicationName: "tests", settings: settings) { session in
        try await session.query("CREATE DATABASE \(name)")
    }
    func drop() async throws {
        try await PostgresSession.withSession(url: server, applicationName: "tests", settings: settings) { session in
            try await session.query("DROP DATABASE \(name) WITH (FORCE)")
        }
    }
    do {
        try await body(change(server, database: name))
    } catch {
        try await drop()
        throw error
    }
    try await drop()
}

/// Polls; records an issue and throws when `condition` does not come true within `seconds`.
func eventually(
    _ what: String,
    within seconds: Int = 30,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "never came: \(what)", sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(2))
    }
}

enum Event: Sendable {
    case connected(PostgresBackend)
    case disconnected(PostgresError)
    case connectFailed(PostgresError)
}

/// A connection on a loop of its own, with a record of its callbacks.
final class Client: @unchecked Sendable {
    // Unchecked: `connection` and `answers` are touched on the loop only.
    let loop = EventLoop(name: "test")
    let connection: PostgresConnection
    private let record = Mutex<[Event]>([])
    private let completed = Mutex<[Answer]>([])

    init(_ configuration: PostgresConnection.Configuration) {
        connection = PostgresConnection(loop: loop, configuration: configuration)
        connection.onConnect = { [unowned self] backend in self.record.withLock { $0.append(.connected(backend)) } }
        connection.onDisconnect = { [unowned self] error in self.record.withLock { $0.append(.disconnected(error)) } }
        connection.onConnectFailure = { [unowned self] error in
            self.record.withLock { $0.append(.connectFailed(error)) }
        }
        loop.start()
    }

    var events: [Event] { record.withLock { $0 } }
    var answers: [Answer] { completed.withLock { $0 } }
    var backends: [PostgresBackend] {
        events.compactMap { if case .connected(let backend) = $0 { backend } else { nil } }
    }
    var losses: [PostgresError] {
        events.compactMap { if case .disconnected(let error) = $0 { error } else { nil } }
    }
    var connectFailures: [PostgresError] {
        events.compactMap { if case .connectFailed(let error) = $0 { error } else { nil } }
    }

    func onLoop<T: Sendable>(_ body: @escaping @Sendable (PostgresConnection) -> T) async -> T {
        await withCheckedContinuation { continuation in
            loop.run { continuation.resume(returning: body(self.connection)) }
        }
    }

    func connect() async throws -> PostgresBackend {
        await onLoop { $0.connect() }
        try await eventually("connected") { !backends.isEmpty }
        return try #require(backends.first)
    }

    /// Hands over all of them in one turn; their ends are collected in `answers`, in order.
    func submit(_ list: [(PostgresStatement, [PostgresParameter])]) async {
        await onLoop { connection in
            for (statement, parameters) in list {
                connection.execute(statement, parameters) { answer in self.completed.withLock { $0.append(answer) } }
            }
        }
    }

    func execute(_ statement: PostgresStatement, _ parameters: [PostgresParameter] = []) async -> Answer {
        await withCheckedContinuation { continuation in
            loop.run {
                self.connection.execute(statement, parameters) { continuation.resume(returning: $0) }
            }
        }
    }

    func close() async {
        await onLoop { $0.close() }
        loop.stop()
        loop.join()
    }
}

func withClient(
    _ configuration: PostgresConnection.Configuration,
    _ body: (Client) async throws -> Void
) async throws {
    let client = Client(configuration)
    do {
        try await body(client)
    } catch {
        await client.close()
        throw error
    }
    await client.close()
}

/// A listening socket on a free port of 127.0.0.1.
struct Listener: ~Copyable {
    let descriptor: Int32
    let port: UInt16

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) | listen(descriptor, 16) | getsockname(descriptor, pointer, &length)
            }
        }
        try #require(code == 0, "no listening socket: errno \(errno)")
        self.descriptor = descriptor
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}

/// Stands between a client and the server, and can swallow what the server says and cut the connection.
final class Proxy: Sendable {
    private struct State {
        var sockets: [Int32] = []
        var swallows = false
        var swallowed = 0
        var isClosed = false
    }

    let port: UInt16
    private let listener: Int32
    private let target: UInt16
    private let state = Mutex(State())

    init(to target: UInt16) throws {
        let listening = try Listener()
        self.target = target
        port = listening.port
        // The number outlives the owner that would close it.
        listener = dup(listening.descriptor)
        Thread.detachNewThread { [self] in accepting() }
    }

    /// Bytes of the server that were dropped.
    var swallowed: Int { state.withLock { $0.swallowed } }

    func swallowReplies(_ on: Bool) { state.withLock { $0.swallows = on } }

    func cut() {
        state.withLock { state in
            for descriptor in state.sockets { shutdown(descriptor, Int32(SHUT_RDWR)) }
            state.sockets = []
        }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        shutdown(listener, Int32(SHUT_RDWR))
        cut()
    }

    private func accepting() {
        while true {
            let client = accept(listener, nil, nil)
            if client < 0 { break }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            address.sin_port = target.bigEndian
            let connected = withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard connected == 0, !state.withLock({ $0.isClosed }) else {
                Glibc.close(client)
                Glibc.close(server)
                continue
            }
            state.withLock { $0.sockets += [client, server] }
            Thread.detachNewThread { [self] in copy(from: client, to: server, isReply: false) }
            Thread.detachNewThread { [self] in copy(from: server, to: client, isReply: true) }
        }
        Glibc.close(listener)
    }

    /// Sockets are shut down, not closed: the other thread may hold the number. A test's few leaks do not matter.
    private func copy(from source: Int32, to sink: Int32, isReply: Bool) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(source, &buffer, buffer.count)
            if count <= 0 { break }
            let drops = state.withLock { state in
                guard isReply, state.swallows else { return false }
                state.swallowed += count
                return true
            }
            if drops { continue }
            var at = 0
            while at < count {
                let written = buffer.withUnsafeBytes {
                    send(sink, $0.baseAddress! + at, count - at, Int32(MSG_NOSIGNAL))
                }
                if written <= 0 { break }
                at += written
            }
            if at < count { break }
        }
        shutdown(source, Int32(SHUT_RDWR))
        shutdown(sink, Int32(SHUT_RDWR))
    }
}

/// SplitMix64: a run can be repeated from its printed seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
