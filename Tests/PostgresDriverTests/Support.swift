import EventLoop
import Foundation
import Glibc
import PostgresDriver
import Synchronization
import TestKit
import Testing

typealias Answer = Result<PostgresRows, PostgresError>

extension Answer {
    var error: PostgresError? {
        if case .failure(let error) = self { error } else { nil }
    }
}

func serverURL() throws -> String { try TestEnvironment.databaseURL() }

func port(of url: String) throws -> UInt16 { UInt16(try #require(URLComponents(string: url)?.port)) }

func password(of url: String) throws -> String { try #require(URLComponents(string: url)?.password) }

/// `url` with another user, port or database.
func change(_ url: String, user: String? = nil, port: UInt16? = nil, database: String? = nil) throws -> String {
    var parts = try #require(URLComponents(string: url))
    if let user { parts.user = user }
    if let port { parts.port = Int(port) }
    if let database { parts.path = "/" + database }
    return try #require(parts.string)
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
