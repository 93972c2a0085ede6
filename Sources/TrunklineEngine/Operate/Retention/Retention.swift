internal import PostgresDriver
internal import TrunklineCore

/// Drops what is older than its age: a day per transaction, with short locks that are given up and asked for again rather than
/// queued for. Keys, event keys and tallies stay for ever.
package enum Retention {
    /// What was dropped, or would be.
    package struct Report: Sendable, Hashable {
        /// A day of `finished` or `attempts`.
        package struct Day: Sendable, Hashable {
            package let table: String
            package let day: String
            package let rows: Int64
        }

        package internal(set) var isDryRun = false
        package internal(set) var days: [Day] = []
        /// Rows of ended days that lay in the default partitions, by table.
        package internal(set) var strays: [String: Int64] = [:]
        package internal(set) var refusals: Int64 = 0
        /// Messages that a worker had begun to read and nobody read to the end.
        package internal(set) var suspects: Int64 = 0
        package internal(set) var inboxBodies: Int64 = 0
        /// Days that somebody was using all the time: they are dropped at the next run.
        package internal(set) var busy: [Day] = []

        package var isEmpty: Bool {
            days.isEmpty && busy.isEmpty && strays.isEmpty && refusals + suspects + inboxBodies == 0
        }

        /// For people and logs.
        package var sentence: String {
            var parts: [String] = []
            for table in ["finished", "attempts"] {
                let days = days.filter { $0.table == table }
                if !days.isEmpty {
                    parts.append(
                        "\(days.count) \(days.count == 1 ? "day" : "days") of \(table) with \(days.reduce(0) { $0 + $1.rows }) rows"
                    )
                }
                if let rows = strays[table] { parts.append("\(rows) rows of \(table) from the default partition") }
            }
            if refusals > 0 { parts.append("\(refusals) refusals") }
            if suspects > 0 { parts.append("\(suspects) messages that nobody read to the end") }
            if inboxBodies > 0 { parts.append("the bodies of \(inboxBodies) events") }
            for day in busy { parts.append("not \(day.table) of \(day.day), which was in use: at the next run") }
            return parts.isEmpty ? "nothing is that old" : parts.joined(separator: "; ")
        }
    }

    /// How many rows one transaction deletes or empties, where there is no partition to drop.
    private static let chunk = 2_000

    /// Drops once a day, by one of the fleet; nil when it is another one's, or done.
    static func runDaily(_ database: PatientDatabase, _ ages: RetentionAges, by worker: String) async throws -> Report?
    {
        guard !ages.isEmpty else { return nil }
        // Of the session: it goes with the worker. Two that run at once after all do no harm.
        let turn = try await database.perform {
            try await $0.query(
                """
                select pg_try_advisory_lock(hashtextextended('trunkline.retain', 0)),
                    exists (select from trunkline.upkeep where task = 'retain' and done_on >= (now() at time zone 'UTC')::date)
                """
            )
        }
        guard turn.bool(0, 0) == true, turn.bool(0, 1) == false else { return nil }
        let report = try await run(database, ages, isDryRun: false) { _ in }
        if report.busy.isEmpty {
            _ = try await database.perform {
                try await $0.query(
                    """
                    insert into trunkline.upkeep (task, done_on, done_by) values ('retain', (now() at time zone 'UTC')::date, $1)
                    on conflict (task) do update set done_on = excluded.done_on, done_by = excluded.done_by, done_at = now()
                    """,
                    [.text(worker)]
                )
            }
        }
        return report
    }

    // MARK: Inside

    fileprivate static func run(
        _ database: PatientDatabase,
        _ ages: RetentionAges,
        isDryRun: Bool,
        tell: (Report.Day) -> Void
    ) async throws -> Report {
        var report = Report()
        report.isDryRun = isDryRun
        // `finished` first, in the order in which everybody locks.
        for (table, age) in [("finished", ages.finished), ("attempts", ages.attempts)] {
            guard let age else { continue }
            try await dropDays(of: table, age, database, &report, tell)
            let strays = try await strays(of: table, age, database, isDryRun)
            if strays > 0 { report.strays[table] = strays }
        }
        if let age = ages.refusals {
            report.refusals = try await inChunks(database, isDryRun, .refusals, age)
            report.suspects = try await inChunks(database, isDryRun, .suspects, age)
        }
        if let age = ages.inboxBodies { report.inboxBodies = try await inChunks(database, isDryRun, .inbox, age) }
        return report
    }

    private static func dropDays(
        of table: String,
        _ age: Int,
        _ database: PatientDatabase,
        _ report: inout Report,
        _ tell: (Report.Day) -> Void
    ) async throws {
        let found = try await database.perform {
            try await $0.query(
                """
                select to_date(right(c.relname, 8), 'YYYYMMDD')::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = ('trunkline.' || $1)::regclass and c.relname ~ '_[0-9]{8}$'
                  and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date - $2::int
                order by 1
                """,
                [.text(table), .int4(Int32(age))]
            )
        }
        for day in (0..<found.count).compactMap({ found.text($0, 0) }) {
            try Task.checkCancellation()
            let rows: Int64?
            do {
                if report.isDryRun {
                    let part = "trunkline.\(table)_\(day.replacing("-", with: ""))"
                    rows = try await database.perform { try await $0.query("select count(*) from \(part)").int8(0, 0) }
                } else {
                    rows = try await database.perform {
                        try await $0.query("select trunkline.drop_day($1, $2)", [.text(table), .text(day)]).int8(0, 0)
                    }
                }
            } catch let error as PostgresError where error.sqlState == "55P03" {
                report.busy.append(Report.Day(table: table, day: day, rows: 0))
                continue
            } catch let error as PostgresError where error.sqlState == "42P01" {
                continue  // somebody else dropped it
            }
            guard let rows else { continue }
            let dropped = Report.Day(table: table, day: day, rows: rows)
            report.days.append(dropped)
            tell(dropped)
        }
    }

    private static func strays(
        of table: String,
        _ age: Int,
        _ database: PatientDatabase,
        _ isDryRun: Bool
    ) async throws -> Int64 {
        let column = table == "finished" ? "ended_on" : "started_on"
        if isDryRun {
            return try await database.perform {
                try await $0.query(
                    "select count(*) from trunkline.\(table)_rest where \(column) < (now() at time zone 'UTC')::date - $1::int",
                    [.int4(Int32(age))]
                ).int8(0, 0) ?? 0
            }
        }
        return try await repeated(database) {
            try await $0.query(
                "select trunkline.drop_strays($1, (now() at time zone 'UTC')::date - $2::int, \(chunk))",
                [.text(table), .int4(Int32(age))]
            )
        }
    }

    private enum Rows {
        case refusals, suspects, inbox

        var old: String {
            switch self {
            case .refusals, .suspects: "last_at < now() - make_interval(days => $1)"
            // Not of an event that is still to be run.
            case .inbox:
                "emptied_at is null and stored_at < now() - make_interval(days => $1) "
                    + "and not exists (select from trunkline.jobs j where j.id = job)"
            }
        }

        var count: String { "select count(*) from trunkline.\(self) where \(old)" }

        /// Yields how many rows it has dealt with.
        var chunk: String {
            switch self {
            case .refusals:
                """
                with gone as (
                    delete from trunkline.refusals where id in (
                        select id from trunkline.refusals where \(old) order by last_at limit \(Retention.chunk)
                        for update skip locked)
                    returning 1
                ) select count(*) from gone
                """
            case .suspects:
                """
                with gone as (
                    delete from trunkline.suspects where digest in (
                        select digest from trunkline.suspects where \(old) limit \(Retention.chunk) for update skip locked)
                    returning 1
                ) select count(*) from gone
                """
            case .inbox:
                """
                with emptied as (
                    update trunkline.inbox b set headers = '{}', body = '', emptied_at = now()
                    from (select source, event_key from trunkline.inbox where \(old)
                          order by stored_at limit \(Retention.chunk) for update skip locked) o
                    where b.source = o.source and b.event_key = o.event_key
                    returning 1
                ) select count(*) from emptied
                """
            }
        }
    }

    private static func inChunks(
        _ database: PatientDatabase,
        _ isDryRun: Bool,
        _ rows: Rows,
        _ age: Int
    ) async throws -> Int64 {
        let parameters: [PostgresParameter] = [.int4(Int32(age))]
        if isDryRun {
            return try await database.perform { try await $0.query(rows.count, parameters).int8(0, 0) ?? 0 }
        }
        return try await repeated(database) { try await $0.query(rows.chunk, parameters) }
    }

    /// A chunk per transaction until one finds nothing.
    private static func repeated(
        _ database: PatientDatabase,
        _ body: (PostgresSession) async throws -> PostgresRows
    ) async throws -> Int64 {
        var sum: Int64 = 0
        while true {
            try Task.checkCancellation()
            let count = try await database.perform { try await body($0) }.int8(0, 0) ?? 0
            guard count > 0 else { return sum }
            sum += count
        }
    }
}

extension Operator {
    /// Drops what is older than its age, or says what would be dropped. May be ended at any time and done again.
    ///
    /// - Parameter tell: gets each day as it is dropped.
    package func retain(
        _ ages: RetentionAges,
        isDryRun: Bool = false,
        tell: (Retention.Report.Day) -> Void = { _ in }
    ) async throws -> Retention.Report {
        try await patiently { try await Retention.run($0, ages, isDryRun: isDryRun, tell: tell) }
    }
}
