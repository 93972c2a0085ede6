internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// Rebuilds what a wiped broker had, from PostgreSQL: declares everything, then publishes a wake-up for every unfinished
/// job that waits for one.
///
/// Safe at any time and to repeat, also while workers run: a wake-up only makes the owner look at a row. What is lost with
/// a broker is what only it had: messages that no worker had taken.
package enum Rehydration {
    /// What was done.
    package struct Report: Sendable, Hashable {
        package var shards = 0
        /// Unfinished jobs that were read.
        package var jobs = 0
        /// Wake-ups for jobs that may go now, to their shards.
        package var now = 0
        /// Wake-ups for jobs that may go later, by the name of their tier.
        package var later: [String: Int] = [:]
        /// In an attempt: their owners watch them, no wake-up helps.
        package var inAttempt = 0
        /// Put aside for a person.
        package var parked = 0

        package var published: Int { now + later.values.reduce(0, +) }
    }

    /// Rows per statement and per batch of confirms.
    static let chunk = 5_000
    /// How long a broker that takes nothing is waited for.
    static let patience: Duration = .seconds(60)

    /// - Parameter progress: called after each chunk with what was done, and with about how many jobs there are.
    package static func run(
        databaseURL: String,
        amqpURL: String,
        progress: @Sendable (Report, _ total: Int) -> Void
    ) async throws -> Report {
        try await PostgresSession.withSession(
            url: databaseURL,
            applicationName: "trunkline rehydrate",
            settings: [("statement_timeout", "0")]
        ) { session in
            try await Migrations.requireCurrent(session)
            let shards = try await Install.shards(session)
            _ = try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline rehydrate") { broker in
                try await broker.apply(shards: shards)
            }
            let publisher = RabbitPublisher(
                configuration: try RabbitConfiguration(url: amqpURL, connectionName: "trunkline rehydrate wake-ups")
            )
            do {
                let report = try await wake(session, publisher, shards: shards, progress)
                await publisher.shutdown()
                return report
            } catch {
                await publisher.shutdown()
                throw error
            }
        }
    }

    private static func wake(
        _ session: PostgresSession,
        _ publisher: RabbitPublisher,
        shards: Int,
        _ progress: @Sendable (Report, Int) -> Void
    ) async throws -> Report {
        // The planner's estimate can be far off right after a fill; the table holds unfinished jobs only.
        let total = Int(try await session.query("select count(*) from trunkline.jobs").int8(0, 0) ?? 0)
        var report = Report()
        report.shards = shards
        progress(report, total)
        var waiting = try await read(session, after: 0, shards: shards)
        while let last = waiting.last {
            // The next rows are read while these are confirmed.
            async let next = read(session, after: last, shards: shards)
            try await publish(waiting.messages, publisher)
            report.add(waiting)
            progress(report, max(total, report.jobs))
            waiting = try await next
        }
        return report
    }

    // MARK: Reading

    /// A chunk of rows and what is to be published for them.
    struct Rows: Sendable {
        var messages: [RabbitMessage] = []
        var counts = Report()
        /// The highest number; nil when there are no more rows.
        var last: Int64?
    }

    private static func read(_ session: PostgresSession, after: Int64, shards: Int) async throws -> Rows {
        let rows = try await session.query(
            """
            select j.id, j.attempt, j.state, (n.shard_hash % $3)::int,
                   greatest(0, least(86400000, extract(epoch from j.due_at - now()) * 1000))::int8
            from (select * from trunkline.jobs where id > $1 order by id limit $2) j
            join trunkline.lanes n on n.number = j.lane
            order by j.id
            """,
            [.int8(after), .int8(Int64(chunk)), .int8(Int64(shards))]
        )
        var read = Rows()
        read.messages.reserveCapacity(rows.count)
        for row in 0..<rows.count {
            guard let id = rows.int8(row, 0), let attempt = rows.int4(row, 1), let state = rows.text(row, 2),
                let shard = rows.int4(row, 3), let milliseconds = rows.int8(row, 4)
            else { continue }
            read.last = id
            read.counts.jobs += 1
            var wait = Duration.zero
            switch state {
            case "accepted": break
            case "waiting", "unknown": wait = .milliseconds(milliseconds)
            case "sending":
                read.counts.inAttempt += 1
                continue
            case "parked":
                read.counts.parked += 1
                continue
            // A state of a later version is that version's affair (design D13).
            default: continue
            }
            let tier = Topology.tier(atMost: wait)
            if let tier { read.counts.later[tier.name, default: 0] += 1 } else { read.counts.now += 1 }
            read.messages.append(
                RabbitMessage(
                    exchange: tier?.exchange ?? Topology.jobsExchange,
                    routingKey: Route.shard(Int(shard)),
                    body: WakeUp(job: JobID(id), attempt: AttemptNumber(attempt)).encode()
                )
            )
        }
        return read
    }

    // MARK: Publishing

    /// Returns when every message is confirmed. A message that may or may not have arrived is published again: twice
    /// woken is once looked at.
    private static func publish(_ messages: [RabbitMessage], _ publisher: RabbitPublisher) async throws {
        var open = messages
        let deadline = ContinuousClock.now + patience
        while !open.isEmpty {
            let outcomes = await publisher.publish(open, within: .seconds(10))
            var again: [RabbitMessage] = []
            var reason = ""
            for (message, outcome) in zip(open, outcomes) where !outcome.isConfirmed {
                again.append(message)
                switch outcome {
                case .confirmed: break
                case .returned: reason = "no queue takes the routing key \(message.routingKey)"
                case .refused: reason = "a queue is full or the broker has an alarm"
                case .notSent(let error), .unknown(let error): reason = error.message
                }
            }
            open = again
            guard !open.isEmpty else { return }
            guard ContinuousClock.now < deadline else { throw RehydrationError.notConfirmed(reason) }
            try await Task.sleep(for: .milliseconds(500))
        }
    }
}

extension Rehydration.Report {
    mutating func add(_ rows: Rehydration.Rows) {
        jobs += rows.counts.jobs
        now += rows.counts.now
        inAttempt += rows.counts.inAttempt
        parked += rows.counts.parked
        later.merge(rows.counts.later) { $0 + $1 }
    }
}

/// Why not every wake-up reached the broker.
package enum RehydrationError: ExplainedError, Hashable {
    case notConfirmed(String)

    package var isRefusal: Bool { false }

    package var description: String {
        switch self {
        case .notConfirmed(let reason):
            "the broker confirms no wake-ups (\(reason)); nothing is lost: run 'trunkline rehydrate' again when it does"
        }
    }
}
