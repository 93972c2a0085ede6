internal import EventLoop
internal import PostgresDriver
internal import RabbitDriver
package import TrunklineCore

/// Looks at everything that Trunkline stands on, and says of each thing whether it is well and what to do where it is not.
/// Changes nothing, sends nothing, and wakes no line.
package enum Doctor {
    package struct Configuration: Sendable {
        package var databaseURL: String
        /// Nil when no broker is configured.
        package var amqpURL: String?
        package var masterKey: MasterKey?
        /// What lines are carried by.
        package var carriers: CarrierRegistry
        /// Paths of files that hold secrets of the program itself: no line's token is read from them.
        package var ownFiles: Set<String> = []
        /// Names of standbys that are never promoted.
        package var readReplicas: Set<String> = []
        /// A PEM file to trust instead of the system's authorities, for the lines' HTTPS.
        package var certificateAuthorities: String?
        package var timing = WorkerConfiguration.Timing()
        /// How many descriptors a worker that is started from here may have open at most.
        package var openFiles = DescriptorLimit.current
        /// Lines that are asked at once; 1…64.
        package var linesAtOnce = 16

        package init(databaseURL: String, amqpURL: String?, masterKey: MasterKey?, carriers: CarrierRegistry) {
            self.carriers = carriers
            self.databaseURL = databaseURL
            self.amqpURL = amqpURL
            self.masterKey = masterKey
        }
    }

    /// One look at one thing.
    package struct Finding: Sendable, Hashable {
        package enum Verdict: String, Sendable, Hashable, CaseIterable {
            case ok, warning, failed
        }
        /// Stable, for scripts: `database`, `schema`, `line acme-il`, ….
        package let check: String
        package let verdict: Verdict
        /// What is.
        package let words: String
        /// What to do; nil when nothing is to be done.
        package let advice: String?

        static func ok(_ check: String, _ words: String) -> Finding {
            Finding(check: check, verdict: .ok, words: words, advice: nil)
        }
        static func warning(_ check: String, _ words: String, _ advice: String) -> Finding {
            Finding(check: check, verdict: .warning, words: words, advice: advice)
        }
        static func failed(_ check: String, _ words: String, _ advice: String) -> Finding {
            Finding(check: check, verdict: .failed, words: words, advice: advice)
        }
    }

    /// Looks at everything. `report` is called with each finding as it is made, lines in the order of their ids.
    package static func examine(
        _ configuration: Configuration,
        now: @escaping @Sendable () -> Timestamp,
        _ report: @escaping @Sendable (Finding) -> Void
    ) async {
        report(timeouts(configuration.timing))
        report(openFiles(DescriptorBudget(limit: configuration.openFiles)))
        let install = Operator(databaseURL: configuration.databaseURL, name: "trunkline doctor")
        var session: PostgresSession?
        do {
            // Whatever its schema: that is a check of its own.
            session = try await install.database.session()
        } catch {
            report(.failed("database", "cannot be used: \(words(error))", advice(for: error)))
        }
        var shards: Int?
        if let session {
            report(.ok("database", "answers"))
            do {
                report(try await databaseTransport(session, configuration.databaseURL))
                shards = try await examineDatabase(install, session, configuration, now, report)
            } catch {
                report(
                    .failed("database questions", "one was not answered: \(words(error))", "see the words of the error")
                )
            }
        }
        await examineBroker(configuration.amqpURL, shards: shards, report)
        if shards != nil {
            do {
                report(workers(try await install.fleetStatus()))
                try await examineLines(install, configuration, report)
                try await examineDestinations(install, configuration, report)
                try await examineSources(install, configuration, report)
            } catch {
                report(.failed("lines", "cannot be read: \(words(error))", "see the words of the error"))
            }
        }
        await install.close()
    }

    static func words(_ error: any Error) -> String {
        switch error {
        case let error as PostgresError: error.message
        case let error as RabbitError: error.message
        default: String(describing: error)
        }
    }
}
