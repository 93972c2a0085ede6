internal import Glibc
internal import HTTPServing
internal import Hummingbird
internal import HummingbirdCore
package import Logging
internal import NIOCore
internal import ServiceLifecycle
package import TrunklineCore
package import TrunklineEngine

/// What a gateway is started with.
package struct GatewayConfiguration: Sendable {
    /// Where it listens; port 0 takes a free one.
    package var host: String
    package var port: Int
    package var databaseURL: String
    package var amqpURL: String
    package var carriers: CarrierRegistry
    /// The kinds of sources whose senders may post, and what names their events.
    package var sources: SourceRegistry
    package var events: any EventRunner
    /// What opens the sources' secrets, also those that are empty; without it no source takes anything.
    package var masterKey: MasterKey?
    /// Paths of the program's own secrets, which no source's secret may be read from.
    package var ownFiles: Set<String> = []
    /// The address under which senders call it, as they do, because some sign it: scheme, host, and what a proxy takes off the
    /// path. Default nil: the one it listens on.
    package var publicURL: String?
    /// The wall clock.
    package var now: @Sendable () -> Timestamp
    /// Whose word about a client's address counts. Default nobody's.
    package var proxies = TrustedProxies([])
    /// Connections at once; more wait to be accepted. Default 4,096.
    package var maximumConnections = 4_096
    /// What the bodies of all requests together may hold, read and not yet answered; more are refused with 503. Default
    /// 128 MiB: sixteen batches of the largest kind.
    package var bodyBytes = 128 << 20
    /// How long requests that are being served are waited for at the end. Default 25 s: less than the 30 s after which
    /// container platforms kill.
    package var drain: Duration = .seconds(25)

    package init(
        host: String,
        port: Int,
        databaseURL: String,
        amqpURL: String,
        carriers: CarrierRegistry,
        sources: SourceRegistry,
        events: any EventRunner,
        now: @escaping @Sendable () -> Timestamp
    ) {
        self.host = host
        self.port = port
        self.databaseURL = databaseURL
        self.amqpURL = amqpURL
        self.carriers = carriers
        self.sources = sources
        self.events = events
        self.now = now
    }
}

/// Why a gateway could not be started.
package struct GatewayError: ExplainedError, Hashable {
    package var isRefusal: Bool { false }
    package let description: String
}

/// The HTTP service through which others' programs give notices and ask for them. Any number of them side by side: what one
/// knows is read from the database.
package final class Gateway: Sendable {
    /// As the database and the broker show it.
    private static let name = "trunkline gateway"

    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let desk: SharedDesk
    private let directory = Directory()
    private let sources: SourceDirectory
    private let forgeries: ForgeryNotebook
    private let operators: OperatorPool
    private let lint: LintNotebook
    private let stopping = StopMark()

    /// Begins to connect; throws for an address of the broker that cannot be read.
    package init(_ configuration: GatewayConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        operators = OperatorPool(4) { Self.makeOperator(configuration) }
        lint = LintNotebook(databaseURL: configuration.databaseURL, name: Self.name) { sentence in
            logger.warning("callers' habits", metadata: ["reason": "\(sentence)"])
        }
        sources = SourceDirectory(
            configuration.sources,
            masterKey: configuration.masterKey,
            ownFiles: configuration.ownFiles
        ) { source, sentence in
            logger.error("a source cannot be opened", metadata: ["source": "\(source)", "reason": "\(sentence)"])
        }
        forgeries = ForgeryNotebook(databaseURL: configuration.databaseURL, name: Self.name) { source, reason, times in
            logger.warning(
                "requests did not prove their sender",
                metadata: ["source": "\(source)", "reason": "\(reason.rawValue)", "times": "\(times)"]
            )
        } warn: { sentence in
            logger.warning("forged requests", metadata: ["reason": "\(sentence)"])
        }
        desk = try SharedDesk(
            SharedDesk.Configuration(
                databaseURL: configuration.databaseURL,
                amqpURL: configuration.amqpURL,
                name: Self.name,
                via: "http",
                carriers: configuration.carriers
            )
        ) { sentence in logger.warning("a way in changed", metadata: ["reason": "\(sentence)"]) }
    }

    /// Every route that it has.
    var routes: [Route] {
        let accepting = Accepting(
            desk: desk,
            directory: directory,
            operators: operators,
            carriers: configuration.carriers,
            lint: lint,
            now: configuration.now
        )
        return Health(desk: desk, directory: directory).routes
            + Messages(accepting: accepting).routes
            + Stories(desk: desk, operators: operators).routes
            + senders.routes
            + Records(desk: desk, operators: operators, now: configuration.now).routes
            + DropIn(accepting: accepting, operators: operators).routes
            + OpenAPI.routes
    }

    private var senders: Senders {
        Senders(
            desk: desk,
            directory: directory,
            sources: sources,
            runner: configuration.events,
            forgeries: forgeries,
            publicURL: configuration.publicURL ?? "http://\(configuration.host):\(configuration.port)",
            now: configuration.now
        )
    }

    /// Listens until ``stop()``. Then no connection is taken any more, the requests that came are answered, and it returns.
    ///
    /// - Parameter onListening: called once, with the port.
    package func run(onListening: @escaping @Sendable (Int) -> Void) async throws {
        let door = Door()
        let application = application(door) { port in onListening(port) }
        var configuration = ServiceGroupConfiguration(
            services: [
                .init(service: DeskService(desk: desk)),
                .init(service: Refresher(gateway: self)),
                .init(service: LintWriter(lint: lint)),
                .init(service: ForgeryWriter(forgeries: forgeries)),
                .init(service: application),
                .init(
                    service: Doorkeeper(stopping: stopping, door: door, loops: application.eventLoopGroup),
                    successTerminationBehavior: .gracefullyShutdownGroup
                ),
            ],
            logger: logger
        )
        configuration.maximumGracefulShutdownDuration = self.configuration.drain
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw GatewayError(
                description: "cannot listen on \(self.configuration.host):\(self.configuration.port): "
                    + "another program listens there; choose another address with --listen, or port 0 for a free one"
            )
        }
        await lint.close()
        await forgeries.close()
        await operators.close()
    }

    /// Ends ``run(onListening:)`` in order. Any thread.
    package func stop() { stopping.set() }

    // MARK: Inside

    private func application(_ door: Door, onListening: @escaping @Sendable (Int) -> Void) -> some ApplicationProtocol {
        var quiet = logger
        // Of ours there is a line per request; Hummingbird's own would say the same in other words.
        quiet.logLevel = max(.warning, logger.logLevel)
        let limits = SlowClients.Limits()
        return Application(
            responder: GatewayResponder(
                table: RouteTable(routes),
                directory: directory,
                limiter: RateLimiter(),
                proxies: configuration.proxies,
                room: BodyRoom(bytes: configuration.bodyBytes),
                logger: logger
            ),
            server: HTTPServerBuilder { responder in
                let http = HTTP1Channel.Configuration(
                    additionalChannelHandlers: [SlowClients(limits)],
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: 16 << 10,
                        maxHeaderListSize: 32 << 10,
                        maxHeaderFieldCount: 100
                    )
                )
                return CountedChannel(base: HTTP1Channel(responder: responder, configuration: http), door: door)
            },
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                serverName: "trunkline",
                backlog: 1_024,
                availableConnectionsDelegate: MaximumAvailableConnections(configuration.maximumConnections)
            ),
            onServerRunning: { [configuration] channel in
                door.opened(channel)
                onListening(channel.localAddress?.port ?? configuration.port)
            },
            logger: quiet
        )
    }

    /// Reads keys, lanes and sources anew, which also tells whether the database answers.
    fileprivate func refresh(_ install: Operator) async {
        do {
            try await directory.read(install)
            try await sources.read(install)
            desk.databaseAnswered(shards: try await install.shards())
        } catch {
            await install.close()
            desk.databaseFailed(Explanation(error).words)
        }
    }

    /// How often keys, lanes and sources are read: what is new is known within half a second.
    fileprivate static let refreshInterval: Duration = .milliseconds(250)

    /// Callers wait for what it is asked, and a gateway that is told to end for what is under way.
    private static func makeOperator(_ configuration: GatewayConfiguration) -> Operator {
        Operator(databaseURL: configuration.databaseURL, name: name, silenceLimit: .seconds(10))
    }

    fileprivate func makeOperator() -> Operator { Self.makeOperator(configuration) }
}

/// The desk, as the last that ends: requests that are being served still need it.
private struct DeskService: Service {
    let desk: SharedDesk

    func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await desk.run()
        } onCancelOrGracefulShutdown: {
            desk.close()
        }
    }
}

/// Keeps what the gateway knows fresh.
private struct Refresher: Service {
    let gateway: Gateway

    func run() async throws {
        await cancelWhenGracefulShutdown {
            let install = gateway.makeOperator()
            while !Task.isCancelled {
                await gateway.refresh(install)
                try? await Task.sleep(for: Gateway.refreshInterval)
            }
            await install.close()
        }
    }
}

/// Writes down callers' habits, behind the requests.
private struct LintWriter: Service {
    let lint: LintNotebook

    func run() async throws {
        await cancelWhenGracefulShutdown { await lint.run() }
    }
}

/// Writes down who did not prove himself, behind the requests.
private struct ForgeryWriter: Service {
    let forgeries: ForgeryNotebook

    func run() async throws {
        await cancelWhenGracefulShutdown { await forgeries.run() }
    }
}

/// Waits for the word to stop, and closes the door first.
private struct Doorkeeper: Service {
    let stopping: StopMark
    let door: Door
    let loops: any EventLoopGroup

    func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await stopping.wait()
        } onCancelOrGracefulShutdown: {
            stopping.set()
        }
        await door.close(loops)
    }
}
