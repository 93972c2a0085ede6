import Glibc
import HTTPServing
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// The simulator as a server: start it, ask for its port, stop it.
///
/// ```swift
/// var options = SimulatorOptions()
/// options.port = 0
/// options.lines = 2
/// let simulator = try await SimulatorServer.start(options)
/// // … talk to simulator.baseURL with the token ezw_line_line-01 …
/// try await simulator.stop()
/// ```
package final class SimulatorServer: Sendable {
    private let simulator: Simulator
    private let webhooks: WebhookSender
    /// Stops the server when it fires.
    fileprivate let stopping: Waiter
    private let task: Task<Void, any Error>

    /// The port it listens on.
    package let port: Int
    /// `http://HOST:PORT`, without the path of the API.
    package let baseURL: String

    private init(
        simulator: Simulator,
        webhooks: WebhookSender,
        stopping: Waiter,
        task: Task<Void, any Error>,
        port: Int,
        baseURL: String
    ) {
        self.simulator = simulator
        self.webhooks = webhooks
        self.stopping = stopping
        self.task = task
        self.port = port
        self.baseURL = baseURL
    }

    /// Starts a simulator and returns when it listens.
    ///
    /// - Throws: `SimulatorError`: an option was refused, the address is taken, or the journal cannot be used.
    package static func start(_ options: SimulatorOptions) async throws -> SimulatorServer {
        try await start(options, clock: .system)
    }

    static func start(
        _ options: SimulatorOptions,
        clock: SimulatorClock
    ) async throws -> SimulatorServer {
        try options.validate()
        let simulator = try Simulator(options: options, clock: clock)
        let webhooks = WebhookSender(simulator: simulator, options: options)
        let (listening, report) = AsyncStream.makeStream(of: Int.self)
        let stopping = Waiter()
        let logger = logger(options)
        let door = Door()
        let application = application(simulator, webhooks, options, door, logger: logger) { port in
            report.yield(port)
        }
        let task = Task {
            defer { report.finish() }
            try await run(application, simulator, door, stopping, logger: logger)
        }
        for await port in listening {
            let host = options.host.contains(":") ? "[\(options.host)]" : options.host
            return SimulatorServer(
                simulator: simulator,
                webhooks: webhooks,
                stopping: stopping,
                task: task,
                port: port,
                baseURL: "http://\(host):\(port)"
            )
        }
        // The stream ended without a port: the server could not listen.
        await webhooks.stop()
        simulator.journal.close()
        do {
            try await task.value
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw SimulatorError(
                .cannotListen,
                "cannot listen on \(options.host):\(options.port): another program listens there; "
                    + "choose another port with --listen, or port 0 for a free one"
            )
        } catch {
            throw SimulatorError(.cannotListen, "cannot listen on \(options.host):\(options.port): \(error)")
        }
        throw SimulatorError(.cannotListen, "stopped before it listened on \(options.host):\(options.port)")
    }

    static func logger(_ options: SimulatorOptions) -> Logger {
        var logger = Logger(label: "trunkline.simulator")
        logger.logLevel = options.logLevel
        return logger
    }

    static func application(
        _ simulator: Simulator,
        _ webhooks: WebhookSender,
        _ options: SimulatorOptions,
        _ door: Door = Door(),
        logger: Logger,
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) -> some ApplicationProtocol {
        Application(
            responder: SimulatorResponder(simulator: simulator, webhooks: webhooks, access: ControlAccess(options)),
            server: HTTPServerBuilder { responder in
                let configuration = HTTP1Channel.Configuration(
                    additionalChannelHandlers: [AnswerWatch(simulator: simulator)]
                )
                return CountedChannel(
                    base: HTTP1Channel(responder: responder, configuration: configuration),
                    door: door
                )
            },
            configuration: ApplicationConfiguration(
                address: .hostname(options.host, port: options.port),
                serverName: "trunkline-simulator",
                backlog: 4_096
            ),
            onServerRunning: { channel in
                door.opened(channel)
                onListening(channel.localAddress?.port ?? options.port)
            },
            logger: logger
        )
    }

    private static func run(
        _ application: some ApplicationProtocol,
        _ simulator: Simulator,
        _ door: Door,
        _ stopping: Waiter,
        logger: Logger
    ) async throws {
        // The gate is stopped first: as long as answers are held, the server would wait for them.
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: application),
                    .init(
                        service: ReleaseAll(simulator: simulator, door: door, loops: application.eventLoopGroup),
                        successTerminationBehavior: .gracefullyShutdownGroup
                    ),
                ],
                logger: logger
            )
        )
        let watch = Task {
            _ = await stopping.wait()
            await group.triggerGracefulShutdown()
        }
        defer {
            stopping.fire(.stopping)
            watch.cancel()
        }
        try await group.run()
        if let failure = simulator.journal.failure { throw failure }
    }

    /// The URL of a receiver of signed webhooks, and the secret that it accepts unless it was given others. It comes into being
    /// with its first request.
    ///
    /// - Parameter name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    package func hook(_ name: String) -> (url: String, secret: String) {
        (baseURL + Hook.prefix + name, Hook.usualSecret(of: name))
    }

    /// What happened so far, as `GET /__sim/report` tells it.
    package func report() -> SimulatorReport {
        simulator.report()
    }

    /// Sends a request to the control surface without the detour over the network.
    ///
    /// - Parameters:
    ///   - path: with `/__sim`, without a query.
    ///   - json: the body, e.g. `{"kind":"hang"}`.
    /// - Returns: the body of the answer.
    /// - Throws: `SimulatorError` (`refused`) in the words of the control surface.
    @discardableResult
    package func control(_ method: String, _ path: String, _ json: String = "") throws(SimulatorError) -> String {
        guard path.hasPrefix(Simulator.controlPrefix) else {
            throw SimulatorError(.refused, "'\(path)' does not begin with \(Simulator.controlPrefix)")
        }
        do {
            let answer = try simulator.control(
                method: method,
                path: String(path.dropFirst(Simulator.controlPrefix.count)),
                query: [],
                body: Array(json.utf8)
            )
            return String(decoding: answer.body, as: UTF8.self)
        } catch {
            throw SimulatorError(.refused, error.message)
        }
    }

    /// Stops listening, ends what is in the air (delayed answers leave, held and hanging ones do not) and closes the
    /// journal.
    package func stop() async throws {
        stopping.fire(.stopping)
        try await wait()
    }

    /// Returns when the server has ended, by `stop` or by throwing what ended it.
    func wait() async throws {
        let result = await task.result
        await webhooks.stop()
        simulator.journal.close()
        do {
            try result.get()
        } catch {
            if let failure = simulator.journal.failure { throw failure }
            throw error
        }
    }
}

/// Lets every waiting request go when the server is told to stop, and stops the server when the journal fails.
private struct ReleaseAll: Service {
    let simulator: Simulator
    let door: Door
    let loops: any EventLoopGroup

    func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            _ = await simulator.failed.wait()
        } onCancelOrGracefulShutdown: {
            simulator.stop()
            simulator.failed.fire(.stopping)
        }
        simulator.stop()
        await door.close(loops)
    }
}

/// Runs the simulator as a program until it is told to stop: prints `listening on http://HOST:PORT` on standard output when
/// it listens, and returns after an orderly end.
///
/// - Parameter onRunning: is given what stops it, to be called from any thread.
/// - Throws: `SimulatorError`, whose description is one sentence for the user.
package func runEZWhatsAppSimulator(
    _ options: SimulatorOptions,
    onRunning: (@escaping @Sendable () -> Void) -> Void
) async throws {
    let server = try await SimulatorServer.start(options)
    onRunning { server.stopping.fire(.stopping) }
    print("listening on \(server.baseURL)")
    fflush(nil)
    try await server.wait()
}
