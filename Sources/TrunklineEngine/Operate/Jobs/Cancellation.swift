internal import PostgresDriver
package import TrunklineCore

/// Cancels notices by key or pattern, in PostgreSQL, in chunks, until none is left.
///
/// Each chunk is a transaction of its own. A deadlock or a lock that is not granted costs the chunk, which is given again: a
/// cancel and the claims of a fleet at full rate never stop each other.
package final class Cancellation {
    /// What became of one job.
    package enum Verdict: Sendable, Hashable {
        case cancelled
        /// Attempt `attempt` has begun. If it comes back and cannot have been sent, the job ends as cancelled.
        case inTheAir(attempt: Int32)
        /// An attempt ended without telling whether it was sent.
        case mayHaveBeenSent
        /// It had ended before, in this state.
        case ended(String)

        /// Whether a notice that should not go out may go out.
        package var isTooLate: Bool {
            switch self {
            case .inTheAir, .mayHaveBeenSent: true
            case .cancelled, .ended: false
            }
        }
    }

    package struct Item: Sendable, Hashable {
        package let job: JobID
        package let key: String
        package let lane: LaneLabel
        package let verdict: Verdict
    }

    package struct Report: Sendable, Hashable {
        package internal(set) var cancelled = 0
        package internal(set) var inTheAir = 0
        package internal(set) var mayHaveBeenSent = 0
        /// Jobs that had ended before, by state.
        package internal(set) var ended: [String: Int] = [:]
        /// False when not every job that has ended was looked at: there are many, or it would have taken long.
        package internal(set) var lookedAtAllEnded = true
        /// Whose keys were meant; nil when nobody has such.
        package internal(set) var owner: KeyOwner?

        package var tooLate: Int { inTheAir + mayHaveBeenSent }
        package var isEmpty: Bool { cancelled + tooLate == 0 && ended.isEmpty }
    }

    private static let chunk: Int64 = 500
    /// Jobs that have ended are told of as a help; a pattern that means millions of them is no reason to list them.
    private static let listedEnded = 1_000
    private static let timeForEnded: Duration = .seconds(5)

    private let pattern: KeyPattern
    private let owner: KeyOwner?
    private let isDryRun: Bool
    private let database: PatientDatabase
    private let tell: ([Item]) async throws -> Void
    private var told: Set<JobID> = []
    private var report = Report()

    fileprivate init(
        _ pattern: KeyPattern,
        _ owner: KeyOwner?,
        isDryRun: Bool,
        _ database: PatientDatabase,
        _ tell: @escaping ([Item]) async throws -> Void
    ) {
        self.pattern = pattern
        self.owner = owner
        self.isDryRun = isDryRun
        self.database = database
        self.tell = tell
    }

    fileprivate func run() async throws -> Report {
        let scope = try await database.perform { [pattern, owner] in
            try await $0.scope(of: pattern, owner: owner)
        }
        report.owner = scope?.owner
        if let scope {
            // Again from the beginning until nothing new is found: what was accepted meanwhile is meant too.
            var found = true
            while found {
                found = try await pass(scope.number)
                if isDryRun { break }
            }
        }
        try await tellEnded(scope?.number)
        return report
    }

    /// Goes through all jobs once. Returns whether there was one that had not been told of.
    private func pass(_ scope: Int32) async throws -> Bool {
        var after: Int64 = 0
        var found = false
        while true {
            let parameters: [PostgresParameter] = [
                .text(pattern.like), .int4(scope), .int8(after), .int4(Int32(Self.chunk)), .bool(isDryRun),
            ]
            let rows = try await database.perform { session in
                try await session.query(
                    """
                    select c.job, c.key, n.name, c.verdict, c.attempt
                    from trunkline.cancel($1, $2, $3, $4, $5) c
                    join trunkline.lanes n on n.number = c.lane
                    order by c.job
                    """,
                    parameters
                )
            }
            guard rows.count > 0 else { return found }
            var items: [Item] = []
            for row in 0..<rows.count {
                guard let id = rows.int8(row, 0), let key = rows.text(row, 1), let lane = rows.text(row, 2) else {
                    continue
                }
                after = max(after, id)
                guard told.insert(JobID(id)).inserted else { continue }
                let verdict: Verdict
                switch rows.text(row, 3) {
                case "cancelled":
                    verdict = .cancelled
                    report.cancelled += 1
                case "in_the_air":
                    verdict = .inTheAir(attempt: rows.int4(row, 4) ?? 0)
                    report.inTheAir += 1
                default:
                    verdict = .mayHaveBeenSent
                    report.mayHaveBeenSent += 1
                }
                items.append(Item(job: JobID(id), key: key, lane: LaneLabel(stored: lane), verdict: verdict))
            }
            found = found || !items.isEmpty
            if !items.isEmpty { try await tell(items) }
        }
    }

    // MARK: What had ended before

    private func tellEnded(_ scope: Int32?) async throws {
        if let key = pattern.key {
            // The ledger knows every key, whatever retention dropped.
            let rows = try await database.perform { session in
                try await session.query(
                    """
                    select l.job, $2::text, n.name, l.final_state from trunkline.ledger l
                    join trunkline.lanes n on n.number = l.lane
                    where l.scope = $3 and l.key_digest = $1 and l.final_state is not null
                    """,
                    [.bytes(key.digest), .text(key.value), scope.map { .int4($0) } ?? .null]
                )
            }
            try await add(rows)
            return
        }
        let end = ContinuousClock.now + Self.timeForEnded
        let days = try await database.perform { session in
            try await session.query(
                """
                select right(c.relname, 8) from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'trunkline.finished'::regclass and c.relname ~ '_[0-9]{8}$'
                  and right(c.relname, 8) <= to_char(now() at time zone 'UTC', 'YYYYMMDD')
                order by 1 desc
                """
            )
        }
        for part in (0..<days.count).compactMap({ days.text($0, 0) }) + ["rest"] {
            let left = end - ContinuousClock.now
            let room = Self.listedEnded - report.ended.values.reduce(0, +)
            guard left > .zero, room > 0 else {
                report.lookedAtAllEnded = false
                return
            }
            do {
                try await add(ended(in: part, scope, atMost: room, within: left))
            } catch let error as PostgresError where error.sqlState == "57014" {
                // It takes too long: the finished rows have no index on keys, which nothing but this would use.
                report.lookedAtAllEnded = false
                return
            } catch let error as PostgresError where error.sqlState == "42P01" {
                continue  // retention dropped the day
            }
        }
    }

    private func ended(in part: String, _ scope: Int32?, atMost limit: Int, within time: Duration) async throws
        -> PostgresRows
    {
        let session = try await database.session()
        return try await session.transaction { [pattern] session in
            let milliseconds = max(1, Int(time / .milliseconds(1)))
            try await session.query("set local statement_timeout = \(milliseconds)")
            return try await session.query(
                """
                select f.id, f.key, n.name, f.state from trunkline.finished_\(part) f
                join trunkline.lanes n on n.number = f.lane
                where f.key like $1 and ($2::int is null or f.scope = $2)
                order by f.id desc limit $3
                """,
                [.text(pattern.like), scope.map { .int4($0) } ?? .null, .int8(Int64(limit))]
            )
        }
    }

    private func add(_ rows: PostgresRows) async throws {
        var items: [Item] = []
        for row in 0..<rows.count {
            guard let id = rows.int8(row, 0), let key = rows.text(row, 1), let lane = rows.text(row, 2),
                let state = rows.text(row, 3), told.insert(JobID(id)).inserted
            else { continue }
            report.ended[state, default: 0] += 1
            items.append(Item(job: JobID(id), key: key, lane: LaneLabel(stored: lane), verdict: .ended(state)))
        }
        if !items.isEmpty { try await tell(items) }
    }
}

extension Operator {
    /// Cancels the notices that a pattern means. Throws a ``KeyScopeError`` before anything is changed, or a
    /// `PostgresError` when the database stays away: then what was told is done, and doing it again goes on.
    ///
    /// - Parameters:
    ///   - owner: whose keys are meant; nil when only one has such.
    ///   - isDryRun: says what would become of each job, and changes nothing.
    ///   - tell: gets the verdicts, chunk by chunk, once per job.
    package func cancel(
        _ pattern: KeyPattern,
        in owner: KeyOwner? = nil,
        isDryRun: Bool = false,
        tell: @escaping ([Cancellation.Item]) async throws -> Void
    ) async throws -> Cancellation.Report {
        try await patiently { database in
            try await Cancellation(pattern, owner, isDryRun: isDryRun, database, tell).run()
        }
    }
}
