import PostgresDriver
import TrunklineCore
import TrunklineEngine
import TrunklineIntegrations

/// A migrated database of its own for tests of accept, check and status: two lines of one workspace, one of another.
struct AdminDatabase {
    let url: String
    let session: PostgresSession

    static func with<R>(_ body: (AdminDatabase) async throws -> R) async throws -> R {
        try await TestServers.withMigratedDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                let database = AdminDatabase(url: url, session: session)
                try await database.addLine("acme-1", workspace: "acme")
                try await database.addLine("acme-2", workspace: "acme")
                try await database.addLine("other-1", workspace: "other")
                return try await body(database)
            }
        }
    }

    /// A new one with each call, so that tests may operate from several tasks at once; its connection goes with it.
    var install: Operator { Operator(databaseURL: url, name: "tests") }

    /// Straight into the tables: these tests are not about making lines.
    func addLine(_ id: String, workspace: String) async throws {
        let hash = Int64(shard(ofLane: "line:" + id, of: 1 << 32))
        try await session.query(
            """
            with scope as (
                insert into trunkline.scopes (name) values ('workspace:' || $2)
                on conflict (name) do update set name = excluded.name returning number
            ), lane as (
                insert into trunkline.lanes (name, shard_hash, carrier, scope, workspace, address, secret_sealed, secret_key_version,
                    secret_hint, unknown_horizon_ms)
                select 'line:' || $1, $3, 'ezwhatsapp', scope.number, $2, 'http://127.0.0.1:1', '', 1, '', 43200000 from scope
                returning number
            ), state as (insert into trunkline.lane_state (lane) select number from lane)
            insert into trunkline.lines (id, lane) select $1, number from lane
            """,
            [.text(id), .text(workspace), .int8(hash)]
        )
    }

    /// Straight into the tables: a destination of kind `webhook`.
    func addDestination(_ id: String, workspace: String) async throws {
        let hash = Int64(shard(ofLane: "destination:" + id, of: 1 << 32))
        try await session.query(
            """
            with scope as (
                insert into trunkline.scopes (name) values ('destination:' || $1)
                on conflict (name) do update set name = excluded.name returning number
            ), lane as (
                insert into trunkline.lanes (name, shard_hash, carrier, scope, workspace, address, secret_sealed, secret_key_version,
                    secret_hint, pace_interval_ms, concurrency, recipient_gap_ms, unknown_horizon_ms)
                select 'destination:' || $1, $3, 'webhook', scope.number, $2, 'http://127.0.0.1:1/hook', '', 1, '', 0, 8, 0, 86400000
                from scope returning number
            ), state as (insert into trunkline.lane_state (lane) select number from lane)
            insert into trunkline.destinations (id, lane) select $1, number from lane
            """,
            [.text(id), .text(workspace), .int8(hash)]
        )
    }

    func acceptor(wakes: WakeSender? = nil) -> Acceptor {
        Acceptor(
            configuration: .init(databaseURL: url, applicationName: "tests", carriers: .standard),
            wakes: wakes
        )
    }

    func accept(_ jobs: [SendJob]) async throws -> [AcceptVerdict] {
        let acceptor = acceptor()
        let verdicts = try await acceptor.accept(jobs)
        await acceptor.close()
        return verdicts
    }

    func count(_ table: String) async throws -> Int64 {
        try await session.query("select count(*) from trunkline.\(table)").int8(0, 0) ?? -1
    }

    /// Does what an owner does, with a worker that owns every shard: adopt, claim, settle.
    func run(_ jobs: [JobID], outcome: String = "sent", reason: String? = nil, mayHaveLeft: Bool = false) async throws {
        let boot = Array(repeating: UInt8(7), count: 16)
        try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
        let shards: [Int32?] = (0..<16).map { $0 }
        let fences = [Int64?](repeating: 1, count: 16)
        let owner: [PostgresParameter] = [.uuid(boot), .int4(16), .int4Array(shards), .int8Array(fences)]
        try await session.query("select * from trunkline.adopt($1, $2, $3, $4, 0, 100000, 0)", owner)
        // Locked in the order of ids, as everybody does: others may work on the same rows meanwhile.
        try await session.query(
            """
            with mine as materialized (select id from trunkline.jobs where id = any ($1) order by id for no key update)
            update trunkline.jobs j set due_at = now() from mine where j.id = mine.id
            """,
            [.int8Array(jobs.map(\.value))]
        )
        try await session.query(
            "select * from trunkline.place_due($1, $2, $3, $4, $5)",
            owner + [.int8Array(jobs.map(\.value))]
        )
        let claimed = try await session.query(
            "select job, verdict, attempt from trunkline.claim($1, $2, $3, $4, 30000, $5, '{}', '{}')",
            owner + [.int8Array(jobs.map(\.value))]
        )
        var ids: [Int64?] = []
        var attempts: [Int32?] = []
        for row in 0..<claimed.count where claimed.text(row, 1) == "claimed" {
            ids.append(claimed.int8(row, 0))
            attempts.append(claimed.int4(row, 2))
        }
        let none = [String?](repeating: nil, count: ids.count)
        guard outcome != "none" else { return }
        try await session.query(
            "select * from trunkline.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            [
                .uuid(boot), .int8Array(ids), .int4Array(attempts), .textArray(ids.map { _ in outcome }),
                .textArray(ids.map { _ in reason }), .int4Array(ids.map { _ in 0 }),
                .boolArray(ids.map { _ in mayHaveLeft }),
                .textArray(none), .int4Array(ids.map { _ in 200 }), .textArray(none),
            ]
        )
    }
}

extension Check {
    /// With every carrier that there is.
    static func run(_ session: PostgresSession) async throws -> CheckReport {
        try await run(session, carriers: .standard)
    }
}

/// A notice for tests; the number makes it unlike others.
func notice(
    _ number: Int,
    line: String = "acme-1",
    body: String = "Your order is ready.",
    button: Button? = nil,
    sendBefore: Timestamp? = nil,
    notBefore: Timestamp? = nil
) throws -> SendJob {
    let digits = String(1_000_000 + number)
    return try SendJob(
        line: LineID(line),
        key: IdempotencyKey("order:acme.\(number):ready"),
        to: PhoneNumber("+97250" + digits),
        body: body,
        button: button,
        purpose: .order,
        notBefore: notBefore,
        sendBefore: sendBefore,
        tags: ["order": String(number)]
    )
}

extension AcceptVerdict {
    var job: JobID? {
        switch self {
        case .new(let id), .repeat(let id, _, _), .conflict(let id, _, _): id
        case .unknownLane, .removedLane, .refused, .confirmed, .unroutable, .rejected, .notSent, .unknown: nil
        }
    }
    var isNew: Bool {
        if case .new = self { return true }
        return false
    }
    var isRepeat: Bool {
        if case .repeat = self { return true }
        return false
    }
}
