internal import PostgresDriver
public import TrunklineCore

/// Which notices a person means: a key, or a key with `*` for any run of characters.
public struct KeyPattern: Sendable, Hashable, CustomStringConvertible {
    public let text: String

    /// Throws a refusal for what can be no key's pattern.
    public init(_ text: String) throws(Refusal) {
        let isGood =
            (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x61...0x7A, 0x41...0x5A, 0x30...0x3A, 0x2A, 0x2E, 0x5F, 0x2D: true
                default: false
                }
            }
        guard isGood else {
            throw Refusal(
                kind: .invalid,
                field: "key",
                reason:
                    "a pattern is a key with * for any run of characters: 1 to 128 letters, digits and . _ : - * (ASCII)"
            )
        }
        self.text = text
    }

    /// The key, when there is no `*` in it.
    public var key: IdempotencyKey? { try? IdempotencyKey(text) }
    /// Nothing but `*`.
    public var isEverything: Bool { text.allSatisfy { $0 == "*" } }
    /// As SQL's `LIKE` reads it.
    var like: String { text.replacing("_", with: "\\_").replacing("*", with: "%") }

    public var description: String { text }
}

/// Cancels notices by key or pattern, in PostgreSQL, in chunks, until none is left.
///
/// Each chunk is a transaction of its own. A deadlock or a lock that is not granted costs the chunk, which is given again: a
/// cancel and the claims of a fleet at full rate never stop each other.
public final class Cancellation {
    /// What became of one job.
    public enum Verdict: Sendable, Hashable {
        case cancelled
        /// Attempt `attempt` has begun. If it comes back and cannot have been sent, the job ends as cancelled.
        case inTheAir(attempt: Int32)
        /// An attempt ended without telling whether it was sent.
        case mayHaveBeenSent
        /// It had ended before, in this state.
        case ended(String)

        /// Whether a notice that should not go out may go out.
        public var isTooLate: Bool {
            switch self {
            case .inTheAir, .mayHaveBeenSent: true
            case .cancelled, .ended: false
            }
        }
    }

    public struct Item: Sendable, Hashable {
        public let job: JobID
        public let key: String
        public let line: String
        public let verdict: Verdict
    }

    public struct Report: Sendable, Hashable {
        public internal(set) var cancelled = 0
        public internal(set) var inTheAir = 0
        public internal(set) var mayHaveBeenSent = 0
        /// Jobs that had ended before, by state.
        public internal(set) var ended: [String: Int] = [:]
        /// False when not every job that has ended was looked at: there are many, or it would have taken long.
        public internal(set) var lookedAtAllEnded = true
        public internal(set) var workspace: String?

        public var tooLate: Int { inTheAir + mayHaveBeenSent }
        public var isEmpty: Bool { cancelled + tooLate == 0 && ended.isEmpty }
    }

    private static let chunk: Int64 = 500
    /// Jobs that have ended are told of as a help; a pattern that means millions of them is no reason to list them.
    private static let listedEnded = 1_000
    private static let timeForEnded: Duration = .seconds(5)

    private let pattern: KeyPattern
    private let workspace: WorkspaceID?
    private let isDryRun: Bool
    private let database: PatientDatabase
    private let tell: ([Item]) async throws -> Void
    private var told: Set<JobID> = []
    private var report = Report()

    private init(
        _ pattern: KeyPattern,
        _ workspace: WorkspaceID?,
        isDryRun: Bool,
        _ database: PatientDatabase,
        _ tell: @escaping ([Item]) async throws -> Void
    ) {
        self.pattern = pattern
        self.workspace = workspace
        self.isDryRun = isDryRun
        self.database = database
        self.tell = tell
    }

    /// Cancels. Throws ``CancellationError`` before anything is changed, or a `PostgresError` when the database stays away:
    /// then what was told is done, and doing it again goes on.
    ///
    /// - Parameters:
    ///   - workspace: nil when the keys are of one workspace only.
    ///   - isDryRun: says what would become of each job, and changes nothing.
    ///   - tell: gets the verdicts, chunk by chunk, once per job.
    public static func run(
        databaseURL: String,
        _ pattern: KeyPattern,
        workspace: WorkspaceID? = nil,
        isDryRun: Bool = false,
        tell: @escaping ([Item]) async throws -> Void
    ) async throws -> Report {
        let database = PatientDatabase(url: databaseURL, applicationName: "trunkline cancel")
        do {
            let run = Cancellation(pattern, workspace, isDryRun: isDryRun, database, tell)
            try await run.run()
            await database.close()
            return run.report
        } catch {
            await database.close()
            throw error
        }
    }

    private func run() async throws {
        try await database.perform { try await Migrations.requireCurrent($0) }
        let scope = try await database.perform { [pattern, workspace] in
            try await $0.scope(of: pattern, workspace: workspace)
        }
        report.workspace = scope?.workspace
        if let scope {
            // Again from the beginning until nothing new is found: what was accepted meanwhile is meant too.
            var found = true
            while found {
                found = try await pass(scope.number)
                if isDryRun { break }
            }
        }
        try await tellEnded(scope?.number)
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
                    select c.job, c.key, coalesce(l.id, n.name), c.verdict, c.attempt
                    from trunkline.cancel($1, $2, $3, $4, $5) c
                    join trunkline.lanes n on n.number = c.lane
                    left join trunkline.lines l on l.lane = c.lane
                    order by c.job
                    """,
                    parameters
                )
            }
            guard rows.count > 0 else { return found }
            var items: [Item] = []
            for row in 0..<rows.count {
                guard let id = rows.int8(row, 0), let key = rows.text(row, 1), let line = rows.text(row, 2) else {
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
                items.append(Item(job: JobID(id), key: key, line: line, verdict: verdict))
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
                    select l.job, $2::text, coalesce(li.id, n.name), l.final_state from trunkline.ledger l
                    join trunkline.lanes n on n.number = l.lane left join trunkline.lines li on li.lane = l.lane
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
                select f.id, f.key, coalesce(l.id, n.name), f.state from trunkline.finished_\(part) f
                join trunkline.lanes n on n.number = f.lane left join trunkline.lines l on l.lane = f.lane
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
            guard let id = rows.int8(row, 0), let key = rows.text(row, 1), let line = rows.text(row, 2),
                let state = rows.text(row, 3), told.insert(JobID(id)).inserted
            else { continue }
            report.ended[state, default: 0] += 1
            items.append(Item(job: JobID(id), key: key, line: line, verdict: .ended(state)))
        }
        if !items.isEmpty { try await tell(items) }
    }
}

/// Why nothing was looked for: it is not clear what is meant.
public enum KeyScopeError: ExplainedError, Hashable {
    case unknownWorkspace(WorkspaceID)
    case severalWorkspaces([String])

    public var isRefusal: Bool { true }

    public var description: String {
        switch self {
        case .unknownWorkspace(let id): "there is no workspace \(id)"
        case .severalWorkspaces(let names):
            "workspaces \(names.sorted().joined(separator: ", ")) have such keys: say which one with --workspace"
        }
    }
}

/// Within what keys are meant.
struct KeyScope: Sendable, Hashable {
    let number: Int32
    let workspace: String
}

extension PostgresSession {
    /// The one scope in which a pattern means unfinished jobs, or a key any; nil when there is none. Throws
    /// ``KeyScopeError`` when there are several: a key of one client must not cancel another one's notices.
    func scope(of pattern: KeyPattern, workspace: WorkspaceID?) async throws -> KeyScope? {
        let rows: PostgresRows
        if let workspace {
            rows = try await query(
                "select number, name from trunkline.scopes where name = $1",
                [.text("workspace:" + workspace.value)]
            )
            if rows.count == 0 { throw KeyScopeError.unknownWorkspace(workspace) }
        } else if let key = pattern.key {
            rows = try await query(
                """
                select number, name from trunkline.scopes s where name like 'workspace:%'
                  and exists (select from trunkline.ledger l where l.scope = s.number and l.key_digest = $1)
                """,
                [.bytes(key.digest)]
            )
        } else {
            rows = try await query(
                """
                select number, name from trunkline.scopes s where name like 'workspace:%'
                  and number in (select scope from trunkline.jobs where key like $1)
                """,
                [.text(pattern.like)]
            )
        }
        let scopes = (0..<rows.count).compactMap { row -> KeyScope? in
            guard let number = rows.int4(row, 0), let name = rows.text(row, 1) else { return nil }
            return KeyScope(number: number, workspace: String(name.dropFirst("workspace:".count)))
        }
        guard scopes.count <= 1 else { throw KeyScopeError.severalWorkspaces(scopes.map(\.workspace)) }
        return scopes.first
    }
}

/// A connection that is made again when it is lost, and statements that are given again when they may succeed: after
/// deadlocks, locks that were not granted, restarts. For statements that may be repeated. For one task at a time.
final class PatientDatabase {
    private static let patience: Duration = .seconds(30)

    private let url: String
    private let applicationName: String
    private let clock = ContinuousClock()
    private var open: PostgresSession?

    init(url: String, applicationName: String) {
        self.url = url
        self.applicationName = applicationName
    }

    func close() async {
        await open?.close()
        open = nil
    }

    func session() async throws -> PostgresSession {
        if let open { return open }
        // People's patterns may take longer than a server's limit for the statements of the job path.
        let session = try await PostgresSession.open(
            url: url,
            applicationName: applicationName,
            settings: [("statement_timeout", "0")]
        )
        open = session
        return session
    }

    func perform<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        var deadline: ContinuousClock.Instant?
        var tries = 0
        var wasConnected = false
        while true {
            do {
                let session = try await session()
                wasConnected = true
                return try await body(session)
            } catch let error as PostgresError where error.isRetriable && (wasConnected || error.code != .cannotConnect)
            {
                if error.isConnectionLost { await close() }
                let limit = deadline ?? clock.now + Self.patience
                deadline = limit
                tries += 1
                // Full jitter: two that deadlocked must not meet again at the same moment.
                let pause = Duration.milliseconds(Int.random(in: 1...min(1_000, 20 << min(tries, 6))))
                guard clock.now + pause < limit else { throw error }
                try await clock.sleep(for: pause)
            }
        }
    }
}

extension BrokerSession {
    /// Messages that wait in the queues from which jobs are taken. Wake-ups among them name rows that PostgreSQL has.
    public func waitingMessages(shards: Int) async throws -> Int {
        var sum = 0
        let queues =
            [Topology.intakeQueue, Topology.bulkQueue, Topology.unroutedQueue, Topology.deadQueue]
            + (0..<shards).map(Topology.shardQueue)
        for queue in queues { sum += try await messages(in: queue) ?? 0 }
        return sum
    }
}
