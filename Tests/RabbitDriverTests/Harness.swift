import EventLoop
import Foundation
import RabbitDriver
import Synchronization
import Testing

/// A setting that the tests cannot do without. A missing server fails the test.
func environment(_ name: String) throws -> String {
    try #require(ProcessInfo.processInfo.environment[name], "\(name) is not set: run the tests through ./dev test")
}

func brokerURL() throws -> String { try environment("TRUNKLINE_TEST_AMQP_URL") }

/// The same user on another port.
func brokerURL(port: UInt16, virtualHost: String = "") throws -> String {
    let parts = try #require(URLComponents(string: try brokerURL()))
    return "amqp://\(try #require(parts.user)):\(try #require(parts.password))@127.0.0.1:\(port)/\(virtualHost)"
}

/// A name that no other test and no earlier run has.
func freshName(_ purpose: String) -> String { "test-\(purpose)-\(UInt64.random(in: .min ... .max))" }

struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// Polls until `condition` holds. The deadline is generous: it only ends a test that hangs.
func eventually(
    _ what: String,
    within limit: Duration = .seconds(30),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw TimedOut(description: "not within \(limit): \(what)")
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
            loop.run { connection.value.close { continuation.resume() } }
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

/// Starts a program with its output in a file.
///
/// Not Foundation's `Process`: that waits until a descriptor closes which every server left behind has inherited. A
/// file and not a pipe, for the same reason.
func start(_ program: String, _ arguments: [String], output: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // The threads that tests run on block signals, and a server that inherits that never hears SIGTERM.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child = pid_t()
    let code = posix_spawnp(&child, program, &actions, &attributes, &words, environ)
    try #require(code == 0, "cannot start \(program): \(code)")
    return child
}

/// Waits for a program that was started here.
func ended(_ child: pid_t) async -> Int32 {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread {
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            continuation.resume(returning: status)
        }
    }
}

/// Runs a program to its end and gives what it said.
@discardableResult
func run(_ program: String, _ arguments: [String]) async throws -> String {
    let log = FileManager.default.temporaryDirectory.appendingPathComponent(freshName("run")).path
    defer { unlink(log) }
    let status = await ended(try start(program, arguments, output: log))
    let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
    guard status == 0 else { throw TimedOut(description: "\(program) \(arguments) ended with \(status): \(text)") }
    return text
}
