internal import CurlDriver
internal import EventLoop
internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

// What stands behind a worker's ports outside simulations: the drivers.

extension EventLoop: WorkerLoop {
    var present: ContinuousClock.Instant { .now }
    var wallTime: Timestamp { .now }
    func at(_ deadline: ContinuousClock.Instant, _ body: @escaping () -> Void) { schedule(at: deadline, body) }
    func after(_ delay: Duration, _ body: @escaping () -> Void) { schedule(after: delay, body) }
}

extension CurlDriver: HTTPCaller {}

extension RabbitConnection: BrokerLink {
    var serverVersion: String? { server?.version }
    func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void) {
        openChannel { result in done(result.map { $0 }) }
    }
}

extension RabbitChannel: ConsumerChannel {
    func consume(
        queue: String,
        tag: String,
        prefetch: UInt16,
        onDelivery: @escaping (RabbitDelivery) -> Void,
        onCancel: @escaping () -> Void,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        consume(
            queue: queue,
            tag: tag,
            prefetch: prefetch,
            options: .init(),
            onDelivery: onDelivery,
            onCancel: onCancel,
            done: done
        )
    }
}

extension RabbitPublisher: WakePublisher {
    func publishWakeUps(_ messages: [RabbitMessage]) { publish(messages) { _ in } }
}

extension WorkerPorts {
    /// The drivers, for a worker on `loop`. Must be called on it.
    static func real(
        _ configuration: WorkerConfiguration,
        on loop: EventLoop,
        logger: Logger
    ) throws(WorkerError) -> WorkerPorts {
        loop.preconditionOnLoop()
        var random = SystemRandomNumberGenerator()
        let boot = Worker.newBoot(using: &random)
        let bootText = UUIDText.string(boot)
        func session(_ statements: [PostgresStatement], _ settings: [(String, String)]) -> PostgresLedger {
            PostgresLedger(
                PostgresConnection(
                    loop: loop,
                    configuration: .init(
                        url: configuration.databaseURL,
                        applicationName: bootText,
                        statements: statements,
                        settings: settings + [("idle_in_transaction_session_timeout", "10s")]
                    )
                )
            )
        }
        let intake = session(
            Statements.ofJobs,
            [("lock_timeout", "1s"), ("statement_timeout", "60s")] + Statements.hotSettings
        )
        let (broker, publisher) = try realBroker(configuration, on: loop, boot: bootText)
        return WorkerPorts(
            loop: loop,
            http: CurlDriver(
                loop: loop,
                maximumCalls: configuration.maximumCalls,
                certificateAuthorities: configuration.certificateAuthorities,
                replayGuard: !Faults.isOff(.replayGuard),
                connectTo: Faults.connectTo
            ),
            control: session(
                Statements.ofFleet,
                [("lock_timeout", "1s"), ("statement_timeout", "5s"), ("jit", "off")]
            ),
            intake: intake,
            settler: session(
                Statements.ofOutcomes,
                [("lock_timeout", "2s"), ("statement_timeout", "30s")] + Statements.hotSettings
            ),
            broker: broker,
            publisher: publisher,
            random: Chance(random),
            boot: boot,
            events: intake,
            upkeep: Upkeep(
                databaseURL: configuration.databaseURL,
                worker: bootText,
                retention: configuration.retention,
                logger: logger
            )
        )
    }

    /// The connection that consumes and the one that publishes.
    private static func realBroker(
        _ configuration: WorkerConfiguration,
        on loop: EventLoop,
        boot: String
    ) throws(WorkerError) -> (RabbitConnection, RabbitPublisher) {
        do {
            var consuming = try RabbitConfiguration(
                url: configuration.amqpURL,
                connectionName: "trunkline worker \(boot)"
            )
            // One more than any valid message has: what is cut is too long.
            consuming.bodyLimit = WebhookJob.maximumMessageBytes + 1
            let publishing = try RabbitConfiguration(
                url: configuration.amqpURL,
                connectionName: "trunkline wake-ups \(boot)"
            )
            return (RabbitConnection(loop: loop, configuration: consuming), RabbitPublisher(configuration: publishing))
        } catch {
            throw WorkerError("the broker's address is not usable: \(error)")
        }
    }
}
