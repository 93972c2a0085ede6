internal import PostgresDriver
internal import RabbitDriver
package import TrunklineCore

/// The one desk at which jobs are accepted, by whoever accepts them: one job or a thousand, and a verdict for each.
///
/// Safe to repeat: a job whose verdict was lost is given again, and the same key is the same notice. For one task at a time;
/// several desks may be given the same keys at once.
package final class AcceptDesk {
    /// The two ways in (docs/architecture.md).
    package enum Way: Sendable {
        /// The verdict is committed to PostgreSQL when it is said. With a broker the owners' queues are told of new jobs;
        /// without one the owners find them within seconds by themselves.
        case rowFirst(databaseURL: String, amqpURL: String?, JobClass)
        /// The verdict is what RabbitMQ has confirmed; a worker takes the job from there. The database is only asked for
        /// the number of shards, and may be away or unknown.
        case brokerFirst(amqpURL: String, databaseURL: String?)
    }

    private enum Door {
        case row(Acceptor, WakeSender?, LintNotebook?)
        case broker(BrokerAcceptor)
    }

    private let door: Door

    private let via: String

    private init(_ door: Door, _ via: String) {
        self.door = door
        self.via = via
    }

    /// Opens the desk. Row first, the schema must be the one that this program needs.
    ///
    /// - Parameters:
    ///   - name: shown in the servers' lists of connections.
    ///   - via: who accepts, as refusals say: `cli`, `http`, …
    ///   - carriers: what renders the requests, row first.
    ///   - lint: told of every new job, row first, under the name of `via`; closed with the desk.
    ///   - warn: called once at most, on any thread, with a sentence: wake-ups do not reach the broker.
    package static func open(
        _ way: Way,
        name: String,
        via: String = "cli",
        carriers: CarrierRegistry,
        lint: LintNotebook? = nil,
        warn: @escaping @Sendable (String) -> Void
    ) async throws -> AcceptDesk {
        switch way {
        case .rowFirst(let databaseURL, let amqpURL, let jobClass):
            let shards = try await PostgresSession.withSession(url: databaseURL, applicationName: name) { session in
                try await Migrations.requireCurrent(session)
                return try await Install.shards(session)
            }
            let wakes = try amqpURL.map { url in
                let broker = try RabbitConfiguration(url: url, connectionName: name)
                return WakeSender(configuration: broker, shards: shards, warn: warn)
            }
            let configuration = Acceptor.Configuration(
                databaseURL: databaseURL,
                applicationName: name,
                jobClass: jobClass,
                via: via,
                carriers: carriers
            )
            return AcceptDesk(.row(Acceptor(configuration: configuration, wakes: wakes), wakes, lint), via)
        case .brokerFirst(let amqpURL, let databaseURL):
            // A URL that cannot be read must show before anything is waited for.
            _ = try RabbitConfiguration(url: amqpURL, connectionName: name)
            var shards: Int?
            if let databaseURL {
                shards = try? await PostgresSession.withSession(url: databaseURL, applicationName: name) { session in
                    try await Install.shards(session)
                }
            }
            return AcceptDesk(.broker(try BrokerAcceptor(amqpURL: amqpURL, shards: shards, connectionName: name)), via)
        }
    }

    /// How many batches keep the desk busy: one that answers with the commit needs no more, one that answers with a round
    /// trip later would idle in between.
    package var depth: Int {
        switch door {
        case .row: 1
        case .broker: 4
        }
    }

    /// Gives jobs, in order. Row first, they are answered when this returns; it throws when the database stays away: then
    /// any of them may or may not be accepted.
    package func submit(_ jobs: [CarriedWork]) async throws -> Submission {
        switch door {
        case .row(let acceptor, _, let lint):
            let verdicts = try await acceptor.accept(jobs)
            if let lint {
                for (job, verdict) in zip(jobs, verdicts) {
                    if case .new = verdict { lint.note(job, caller: via, now: .now) }
                }
            }
            return Submission(known: verdicts)
        case .broker(let acceptor): return acceptor.submit(jobs)
        }
    }

    /// Gives jobs and waits for their verdicts: one per job, in the same order. Throws like ``submit(_:)``.
    package func accept(_ jobs: [CarriedWork]) async throws -> [AcceptVerdict] {
        try await submit(jobs).verdicts()
    }

    /// The same for notices.
    package func accept(_ notices: [SendJob]) async throws -> [AcceptVerdict] {
        try await accept(notices.map { .send($0) })
    }

    /// Ends the connections, after what is under way.
    package func close() async {
        switch door {
        case .row(let acceptor, let wakes, let lint):
            await acceptor.close()
            await lint?.close()
            await wakes?.shutdown()
        case .broker(let acceptor): await acceptor.close()
        }
    }
}
