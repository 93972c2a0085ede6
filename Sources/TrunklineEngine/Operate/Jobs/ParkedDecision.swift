internal import PostgresDriver
package import TrunklineCore

/// What a person decides about parked jobs. Who and why is kept, for `trunkline why`.
package enum ParkedAction: String, Sendable, Hashable {
    /// It was sent: it ends so.
    case sent
    /// It was not sent: it stays parked, and can be replayed now.
    case notSent = "not_sent"
    /// It ends as discarded.
    case discard
    /// It goes again, behind what waits.
    case replay
}

/// Which parked jobs are meant.
package enum ParkedChoice: Sendable, Hashable {
    /// By number or key.
    case named([String], owner: KeyOwner?)
    /// All that fit; nil fits all. `before`: parked before that time.
    case filter(lane: LaneName?, reason: String?, before: Timestamp?)
}

/// What became of a parked job about which somebody decided.
package enum ParkedVerdict: Sendable, Hashable {
    case done
    /// It may have been sent, and nobody has said yet whether it was.
    case inDoubt
    /// It was surely not sent: nothing is to be resolved.
    case notInDoubt
    /// Its sendBefore has passed.
    case tooLate
    /// A newer fact replaced it.
    case replaced
    /// A cancel had come for it: it ended as cancelled instead.
    case cancelled
    case notParked
    /// There is no such unfinished job.
    case gone
    /// A word of a later version.
    case unknown(String)

    /// Reads a word of `trunkline.parked`.
    init(word: String) {
        switch word {
        case "done": self = .done
        case "in_doubt": self = .inDoubt
        case "not_in_doubt": self = .notInDoubt
        case "too_late": self = .tooLate
        case "replaced": self = .replaced
        case "cancelled": self = .cancelled
        case "not_parked": self = .notParked
        case "gone": self = .gone
        default: self = .unknown(word)
        }
    }

    /// For programs, as the database has it.
    package var word: String {
        switch self {
        case .done: "done"
        case .inDoubt: "in_doubt"
        case .notInDoubt: "not_in_doubt"
        case .tooLate: "too_late"
        case .replaced: "replaced"
        case .cancelled: "cancelled"
        case .notParked: "not_parked"
        case .gone: "gone"
        case .unknown(let word): word
        }
    }

    /// Whether what was decided was not done, and nothing else took care of the job.
    package var isRefused: Bool { self != .done && self != .cancelled }
}

/// Does what a person decided, in chunks, each a transaction of its own. A call that is given again goes on.
package final class ParkedDecision {
    /// What became of one job.
    package struct Item: Sendable, Hashable {
        package let job: JobID
        package let verdict: ParkedVerdict
        /// The state it has or ended in, when it was not parked.
        package let state: String?
        /// Of a replayed job: jobs of the same person that were accepted after it and sent before it. Nil: unknown.
        package var overtakenBy: [JobID]?
        /// Of a replayed job: notices of the same person that go before it.
        package var behind: Int64 = 0
    }

    package struct Report: Sendable, Hashable {
        /// Jobs by verdict.
        package internal(set) var counts: [ParkedVerdict: Int] = [:]
        package var done: Int { counts[.done] ?? 0 }
        package var isEmpty: Bool { counts.isEmpty }
        /// Whether something was refused.
        package var isRefused: Bool { counts.keys.contains(where: \.isRefused) }
    }

    private static let chunk = 500

    private let database: PatientDatabase
    private let action: ParkedAction
    private let run: String
    private let by: String
    private let why: String?
    private var report = Report()
    /// Looking for what overtook takes long where much has ended; it is not tried again then.
    private var knowsOvertakers = true

    fileprivate init(_ database: PatientDatabase, _ action: ParkedAction, by: String, why: String?) {
        self.database = database
        self.action = action
        self.by = by
        self.why = why
        var random = SystemRandomNumberGenerator()
        run = UUIDText.string(Worker.newBoot(using: &random))
    }

    fileprivate func run(
        _ choice: ParkedChoice,
        isDryRun: Bool,
        tell: ([Item]) async throws -> Void
    ) async throws -> Report {
        switch choice {
        case .named(let names, let owner):
            var ids: [Int64] = []
            for name in names { ids.append(try await job(name, owner)) }
            if isDryRun { try await count(ids) } else { try await act(ids, tell) }
        case .filter(let lane, let reason, let before):
            try await walk(lane, reason, before, isDryRun: isDryRun, tell)
        }
        return report
    }

    // MARK: Inside

    private func job(_ name: String, _ owner: KeyOwner?) async throws -> Int64 {
        if let id = JobID(text: name) { return id.value }
        let key = try IdempotencyKey(name)
        let scope = try await database.perform {
            try await $0.scope(of: KeyPattern(key.value), owner: owner)
        }
        let found = try await database.perform {
            try await $0.query(
                "select job from trunkline.ledger where scope = $1 and key_digest = $2",
                [scope.map { .int4($0.number) } ?? .null, .bytes(key.digest)]
            )
        }
        guard let id = found.count == 1 ? found.int8(0, 0) : nil else { throw RescheduleError.unknownKey(key) }
        return id
    }

    private func count(_ ids: [Int64]) async throws {
        let rows = try await database.perform {
            try await $0.query(
                """
                select coalesce(trunkline.parked_verdict(j, $1), 'gone'), count(*)
                from unnest($2::bigint[]) w (id) left join trunkline.jobs j on j.id = w.id group by 1
                """,
                [.text(action.rawValue), .int8Array(ids)]
            )
        }
        add(rows)
    }

    private func add(_ rows: PostgresRows) {
        for row in 0..<rows.count {
            guard let word = rows.text(row, 0), let count = rows.int8(row, 1) else { continue }
            report.counts[ParkedVerdict(word: word), default: 0] += Int(count)
        }
    }

    private func walk(
        _ lane: LaneName?,
        _ reason: String?,
        _ before: Timestamp?,
        isDryRun: Bool,
        _ tell: ([Item]) async throws -> Void
    ) async throws {
        // What is parked meanwhile was not meant.
        let started = try await database.perform { try await $0.query("select now()") }.timestamp(0, 0) ?? 0
        let until = min(started, before?.microseconds ?? started)
        let fits = """
            j.parked_at is not null and j.parked_at <= $1 and ($2::text is null or j.reason = $2)
            and ($3::text is null or j.lane = (select n.number from trunkline.lanes n where n.name = $3))
            """
        func text(_ value: String?) -> PostgresParameter { value.map { .text($0) } ?? .null }
        let parameters: [PostgresParameter] = [.timestamp(microseconds: until), text(reason), text(lane?.value)]
        if isDryRun {
            let rows = try await database.perform {
                try await $0.query(
                    "select trunkline.parked_verdict(j, $4), count(*) from trunkline.jobs j where \(fits) group by 1",
                    parameters + [.text(action.rawValue)]
                )
            }
            return add(rows)
        }
        var after: Int64 = 0
        while true {
            let rows = try await database.perform {
                try await $0.query(
                    "select j.id from trunkline.jobs j where \(fits) and j.id > $4 order by j.id limit \(Self.chunk)",
                    parameters + [.int8(after)]
                )
            }
            let ids = (0..<rows.count).compactMap { rows.int8($0, 0) }
            guard let last = ids.last else { return }
            after = last
            try await act(ids, tell)
        }
    }

    private func act(_ ids: [Int64], _ tell: ([Item]) async throws -> Void) async throws {
        let overtakers = action == .replay ? try await overtakers(ids) : nil
        let rows = try await database.perform {
            try await $0.query(
                "select job, verdict, state from trunkline.parked($1, $2, $3::uuid, $4, $5) order by job",
                [
                    .text(action.rawValue), .int8Array(ids), .text(run), .text(by), why.map { .text($0) } ?? .null,
                ]
            )
        }
        let behind = action == .replay ? try await behind(ids) : [:]
        var items: [Item] = []
        for row in 0..<rows.count {
            guard let id = rows.int8(row, 0), let word = rows.text(row, 1) else { continue }
            let verdict = ParkedVerdict(word: word)
            report.counts[verdict, default: 0] += 1
            var item = Item(job: JobID(id), verdict: verdict, state: rows.text(row, 2))
            if action == .replay, verdict == .done {
                item.overtakenBy = overtakers.map { $0[id] ?? [] }
                item.behind = behind[id] ?? 0
            }
            items.append(item)
        }
        if !items.isEmpty { try await tell(items) }
    }

    /// Nil when it would take too long to tell.
    private func overtakers(_ ids: [Int64]) async throws -> [Int64: [JobID]]? {
        guard knowsOvertakers else { return nil }
        let session = try await database.session()
        do {
            let rows = try await session.transaction { session in
                try await session.query("set local statement_timeout = '5s'")
                return try await session.query(
                    """
                    select j.id, f.id from trunkline.jobs j
                    join trunkline.finished f on f.lane = j.lane and f.person = j.person and f.id > j.id and f.state = 'sent'
                    where j.id = any ($1) and f.ended_on >= (
                        select min((o.accepted_at at time zone 'UTC')::date) from trunkline.jobs o where o.id = any ($1))
                    order by 1, 2
                    """,
                    [.int8Array(ids)]
                )
            }
            var found: [Int64: [JobID]] = [:]
            for row in 0..<rows.count {
                if let job = rows.int8(row, 0), let other = rows.int8(row, 1) {
                    found[job, default: []].append(JobID(other))
                }
            }
            return found
        } catch let error as PostgresError where error.sqlState == "57014" {
            knowsOvertakers = false
            return nil
        }
    }

    private func behind(_ ids: [Int64]) async throws -> [Int64: Int64] {
        let rows = try await database.perform {
            try await $0.query(
                """
                select j.id, (select count(*) from trunkline.jobs o
                              where o.lane = j.lane and o.person = j.person and o.parked_at is null and o.id <> j.id
                                and (o.place > 0 and (j.place = 0 or o.place < j.place) or o.place = 0 and o.arrival < j.arrival))
                from trunkline.jobs j where j.id = any ($1)
                """,
                [.int8Array(ids)]
            )
        }
        var found: [Int64: Int64] = [:]
        for row in 0..<rows.count { if let id = rows.int8(row, 0) { found[id] = rows.int8(row, 1) } }
        return found
    }
}

extension Operator {
    /// Says what would become of parked jobs, and changes nothing; or does it.
    ///
    /// - Parameters:
    ///   - by: who decides. Kept, like `why`.
    ///   - tell: gets what became of each job, chunk by chunk; nothing when `isDryRun`.
    package func decide(
        _ action: ParkedAction,
        _ choice: ParkedChoice,
        by: String,
        why: String?,
        isDryRun: Bool,
        tell: ([ParkedDecision.Item]) async throws -> Void
    ) async throws -> ParkedDecision.Report {
        try await patiently { database in
            try await ParkedDecision(database, action, by: by, why: why)
                .run(choice, isDryRun: isDryRun, tell: tell)
        }
    }
}
