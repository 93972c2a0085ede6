internal import ArgumentParser
internal import EventLoop
internal import Foundation
internal import Logging
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations
internal import TrunklinePlanning

struct WorkerCommand: AsyncParsableCommand, HandlesStopSignals {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Send: take jobs from the broker, pace them per line, call EZWhatsApp, record what came of it.",
        discussion: """
            Runs until SIGTERM or SIGINT: then it takes nothing new, finishes the calls in the air, hands the rest to the \
            other workers and exits 0. A second signal ends it at once; the fleet finishes what it had.
            A database that is away is waited for, at the start too. An asynchronous standby beside it is refused, unless \
            --read-replicas names it.
            """
    )

    @OptionGroup var options: GlobalOptions
    @OptionGroup var standbys: StandbyOptions

    @Option(help: "Calls in the air at once, 1 to 4096.")
    var maximumCalls: Int?

    @Option(
        help: ArgumentHelp(
            "PEM file of authorities to trust instead of the system's, for the lines' HTTPS.",
            valueName: "file"
        )
    )
    var caFile: String?

    func validate() throws {
        if let caFile, !FileManager.default.isReadableFile(atPath: caFile) {
            throw ValidationError("--ca-file: '\(caFile)' cannot be read")
        }
        if let maximumCalls, !(1...4_096).contains(maximumCalls) {
            throw ValidationError("--maximum-calls must be 1 to 4096")
        }
    }

    func run() async throws {
        try await options.run(overrides: standbys.overrides) { settings in
            let logger = Logger(label: "trunkline.worker")
            var configuration = WorkerConfiguration(
                databaseURL: try settings.databaseURL(),
                amqpURL: try settings.amqpURL(),
                masterKey: try settings.masterKey(),
                host: ThisHost.name,
                version: Version.current,
                carriers: .standard
            )
            configuration.events = PlanningRunner(facts: .standard, kinds: .standard)
            if let maximumCalls { configuration.maximumCalls = maximumCalls }
            try configuration.fitCalls(into: DescriptorBudget(limit: DescriptorLimit.raise()), logger)
            configuration.certificateAuthorities = caFile
            configuration.ownFiles = settings.ownFiles
            configuration.retention = settings.retention
            let process = WorkerProcess(configuration: configuration, logger: logger)
            let isWaiting = Atomic(true)
            StopSignals.handle { _, isFirst in
                // Nothing has begun that would have to be finished.
                if isWaiting.load(ordering: .sequentiallyConsistent) { ThisProcess.leave(0) }
                if isFirst { process.drain() } else { process.stopNow() }
            }
            for warning in try Transport.warnings(
                databaseURL: configuration.databaseURL,
                amqpURL: configuration.amqpURL
            ) {
                logger.warning("connection is not protected", metadata: ["warning": "\(warning)"])
            }
            let shards = try await WorkerGround.wait(
                databaseURL: configuration.databaseURL,
                masterKey: configuration.masterKey,
                readReplicas: settings.readReplicas,
                logger: logger
            )
            try await WorkerGround.checkBroker(amqpURL: configuration.amqpURL, shards: shards, logger: logger)
            isWaiting.store(false, ordering: .sequentiallyConsistent)
            try await process.run()
        }
    }
}
