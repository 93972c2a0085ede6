import EventLoop
import Foundation
import RabbitDriver
import Synchronization
import TestKit
import Testing

func brokerURL() throws -> String { try TestEnvironment.brokerURL() }

/// The same user on another port.
func brokerURL(port: UInt16, virtualHost: String = "") throws -> String {
    let parts = try #require(URLComponents(string: try brokerURL()))
    return "amqp://\(try #require(parts.user)):\(try #require(parts.password))@127.0.0.1:\(port)/\(virtualHost)"
}

/// What callbacks reported, readable from the test.
final class Recorder<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    func add(_ element: Element) { elements.withLock { $0.append(element) } }
    var all: [Element] { elements.withLock { $0 } }
    var count: Int { all.count }
}

/// A loop-bound object in the test's hands; only touched on its loop.
final class Held<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A connection on a loop of its own.
final class Client: Sendable {
    let loop: EventLoop
    let connection: Held<RabbitConnection>
    let connected = Recorder<String>()
    let lost = Recorder<RabbitError>()
    let failed = Recorder<RabbitError>()
    let blocked = Recorder<String?>()

    init(_ configuration: RabbitConfiguration) {
        let loop = EventLoop(name: "test")
        self.loop = loop
        connection = Held(RabbitConnection(loop: loop, configuration: configuration))
        loop.start()
        let connection = connection
        let connected = connected
        let lost = lost
        let failed = failed
        let blocked = blocked
        loop.run {
            connection.value.onConnect = { connected.add(connection.value.server?.version ?? "") }
            connection.value.onDisconnect = { lost.add($0) }
            connection.value.onConnectFailed = { failed.add($0) }
            connection.value.onBlocked = { blocked.add($0) }
            connection.value.open()
        }
    }

    static func open(_ url: String, adjust: (inout RabbitConfiguration) -> Void = { _ in }) async throws -> Client {
        var configuration = try RabbitConfiguration(url: url, connectionName: "test")
        adjust(&configuration)
        let client = Client(configuration)
        try await eventually("the connection") {
            if let error = client.failed.all.first { throw error }
            return client.connected.count > 0
        }
        return client
    }

    /// Runs one command on the loop and waits for its answer.
    func call<Value: Sendable>(
        _ body: @escaping @Sendable (RabbitConnection, @escaping (Result<Value, RabbitError>) -> Void) -> Void
    ) async throws -> Value {
        let connection = connection
        let loop = loop
        return try await withCheckedThrowingContinuation { continuation in
            loop.run { body(connection.value) { continuation.resume(with: $0.mapError { $0 }) } }
        }
    }

    func channel() async throws -> Held<RabbitChannel> {
        try await call { connection, done in connection.openChannel { done($0.map { Held($0) }) } }
    }

    func onLoop<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        let loop = loop
        return await withCheckedContinuation { continuation in
            loop.run { continuation.resume(returning: body()) }
        }
    }

    @discardableResult
    func declare(_ queue: String, on channel: Held<RabbitChannel>) async throws -> RabbitChannel.QueueState {
        try await call { _, done in
            channel.value.declareQueue(queue, arguments: ["x-queue-type": "quorum"], done: done)
        }
    }

    func delete(_ queue: String) async throws {
        let channel = try await channel()
        let _: Int = try await call { _, done in channel.value.deleteQueue(queue, done: done) }
        try await call { _, done in channel.value.close(done: done) }
    }

    func publish(_ body: [UInt8], to queue: String, on channel: Held<RabbitChannel>, id: String? = nil) async throws {
        let result = await onLoop { () -> Result<UInt64, RabbitError> in
            do throws(RabbitError) {
                return .success(
                    try channel.value.publish(
                        exchange: "",
                        routingKey: queue,
                        properties: RabbitProperties(messageID: id),
                        body: body
                    )
                )
            } catch {
                return .failure(error)
            }
        }
        _ = try result.get()
    }

    func subscribe(
        _ queue: String,
        on channel: Held<RabbitChannel>,
        tag: String = "consumer",
        prefetch: UInt16 = 100
    ) async throws -> (deliveries: Recorder<RabbitDelivery>, cancelled: Recorder<String>) {
        let deliveries = Recorder<RabbitDelivery>()
        let cancelled = Recorder<String>()
        try await call { _, done in
            channel.value.consume(
                queue: queue,
                tag: tag,
                prefetch: prefetch,
                onDelivery: { deliveries.add($0) },
                onCancel: { cancelled.add(tag) },
                done: done
            )
        }
        return (deliveries, cancelled)
    }

    func close() async {
        let connection = connection
        let loop = loop
        await withCheckedContinuation { continuation in
            loop.run {
                connection.value.close {
                    // They hold the connection, which holds them.
                    connection.value.onConnect = nil
                    connection.value.onDisconnect = nil
                    connection.value.onConnectFailed = nil
                    connection.value.onBlocked = nil
                    continuation.resume()
                }
            }
        }
        loop.stop()
    }
}

/// Runs the body with a fresh client and a fresh quorum queue, which is removed afterwards.
func withQueue(
    _ purpose: String,
    _ body: (Client, Held<RabbitChannel>, String) async throws -> Void
) async throws {
    let client = try await Client.open(try brokerURL())
    let queue = freshName(purpose)
    do {
        let channel = try await client.channel()
        try await client.declare(queue, on: channel)
        try await body(client, channel, queue)
    } catch {
        try? await client.delete(queue)
        await client.close()
        throw error
    }
    try await client.delete(queue)
    await client.close()
}
