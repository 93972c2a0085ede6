import EventLoop
import Foundation
import PostgresDriver
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// PostgreSQL as a ledger beside the model: a database with the install of ``ConformanceSequence``, whose clock stands still
/// unless it is moved. Each sequence is one transaction that is rolled back. For one thread, which waits.
///
/// `now()` is the clock's: the functions are made and run under a search path in which a schema of the test comes before
/// PostgreSQL's own.
final class PostgresUnderTest: @unchecked Sendable {
    // Unchecked: everything is touched on the loop only, while the one thread that uses it waits.
    private let loop = EventLoop(name: "conformance")
    private var connection: PostgresConnection?
    private var ledger: PostgresLedger?
    let lanes: [LedgerModel.Lane]

    private static let settings =
        [("search_path", "fake, pg_catalog"), ("fake.now", moment(ConformanceSequence.start))] + Statements.hotSettings
        // Nothing of it outlives the test.
        + [("synchronous_commit", "off")]

    private static func moment(_ time: Int64) -> String { Timestamp(microseconds: time).rfc3339 }

    /// Makes the install. `url`: an empty database.
    init(url: String) async throws {
        lanes = try await PostgresSession.withSession(url: url, applicationName: "tests", settings: Self.settings) {
            session in
            try await session.script(
                """
                create schema fake;
                create function fake.now() returns timestamptz language sql stable as
                    $$ select pg_catalog.current_setting('fake.now')::timestamptz $$;
                create function fake.clock_timestamp() returns timestamptz language sql volatile as
                    $$ select pg_catalog.current_setting('fake.now')::timestamptz $$;
                create function fake.at(p timestamptz) returns text language sql stable as
                    $$ select case when isfinite(p) then (extract(epoch from p) * 1000000)::bigint::text else '' end $$;
                """
            )
            _ = try await Migrations.migrate(session, shards: Int(ConformanceSequence.shardCount))
            return try await Self.addLanes(session)
        }
        let configuration = PostgresConnection.Configuration(
            url: url,
            applicationName: "tests",
            statements: Statements.ofFleet + Statements.ofJobs + Statements.ofOutcomes + Outside.all,
            settings: Self.settings
        )
        loop.start()
        wait { [self] done in
            let connection = PostgresConnection(loop: loop, configuration: configuration)
            self.connection = connection
            let ledger = PostgresLedger(connection)
            ledger.onConnect = { _ in done("") }
            ledger.connect()
            self.ledger = ledger
        }
    }

    func close() {
        wait { [self] done in
            ledger?.close()
            ledger = nil
            connection = nil
            done("")
        }
        loop.stop()
        loop.join()
    }

    private static func addLanes(_ session: PostgresSession) async throws -> [LedgerModel.Lane] {
        var lanes = ConformanceSequence.lanes
        for scope in ConformanceSequence.scopes {
            try await session.query("insert into trunkline.scopes (name) values ($1)", [.text(scope)])
        }
        for (index, lane) in lanes.enumerated() {
            let row = try await session.query(
                """
                with lane as (
                    insert into trunkline.lanes (name, shard_hash, carrier, scope, workspace, address, private_network,
                        secret_sealed, secret_key_version, secret_hint, pace_interval_ms, concurrency, recipient_gap_ms, daily_cap,
                        time_zone, unknown_horizon_ms, begins_quietly)
                    values ($1, $2, $3, $4, 'workspace', $5, true, '', 1, '', $6, $7, $8, $9, $10, $11, $12)
                    returning number, revision
                ), state as (insert into trunkline.lane_state (lane) select number from lane)
                select number, revision from lane
                """,
                [
                    .text(lane.name.value), .int8(lane.hash), .text(lane.carrier), .int4(lane.scope),
                    .text(lane.address),
                    .int4(lane.interval), .int4(lane.concurrency), .int4(lane.gap),
                    lane.dailyCap.map { .int4($0) } ?? .null, .text(ConformanceSequence.zones[index]),
                    .int4(Int32(lane.horizon / 1_000)), .bool(lane.beginsQuietly),
                ]
            )
            precondition(row.int4(0, 0) == lane.number, "lanes are counted from 1")
            lanes[index].revision = row.int8(0, 1) ?? 0
        }
        return lanes
    }

    // MARK: Asking

    /// Statements of what the ledger's port has no call for.
    private enum Outside {
        static let begin = PostgresStatement(name: "begin", sql: "begin")
        static let rollback = PostgresStatement(name: "rollback", sql: "rollback")
        static let counters = PostgresStatement(
            name: "counters",
            sql: "select setval('trunkline.job_number', $1, false), setval('trunkline.lane_revision', $2, false)",
            parameterTypes: [.int8, .int8]
        )
        static let clock = PostgresStatement(
            name: "clock",
            sql: "select set_config('fake.now', $1, false)",
            parameterTypes: [.text]
        )
        static let hold = PostgresStatement(
            name: "hold",
            sql: """
                update trunkline.lanes set hold_reason = case when $2 then 'test' end, held_at = case when $2 then now() end,
                    hold_until = $3 where name = $1
                """,
            parameterTypes: [.text, .bool, .timestamptz]
        )
        static let cap = PostgresStatement(
            name: "set_cap",
            sql: "update trunkline.lanes set daily_cap = $2 where name = $1",
            parameterTypes: [.text, .int4]
        )
        static let remove = PostgresStatement(
            name: "remove",
            sql: "update trunkline.lanes set removed_at = now() where name = $1",
            parameterTypes: [.text]
        )
        static let cancel = PostgresStatement(
            name: "cancel",
            sql: "select count(*) from trunkline.cancel($1, null, 0, 500)",
            parameterTypes: [.text]
        )
        static let reschedule = PostgresStatement(
            name: "reschedule",
            sql: "select count(*) from trunkline.reschedule($1, $2)",
            parameterTypes: [.int8, .timestamptz]
        )
        static let replay = PostgresStatement(
            name: "replay",
            sql: "select count(*) from trunkline.parked('replay', array[$1::bigint], gen_random_uuid(), 'test', null)",
            parameterTypes: [.int8]
        )
        static let rows = PostgresStatement(name: "rows", sql: LedgerRowsSQL.query(at: "fake.at"))
        static let all = [begin, rollback, counters, clock, hold, cap, remove, cancel, reschedule, replay, rows]
    }

    /// Runs `body` on the loop and waits until it says that it is done.
    @discardableResult
    private func wait(_ body: @escaping (@escaping (String) -> Void) -> Void) -> String {
        let box = Box(body)
        let isDone = DispatchSemaphore(value: 0)
        loop.run {
            box.body { text in
                box.text = text
                isDone.signal()
            }
        }
        isDone.wait()
        return box.text
    }

    private final class Box: @unchecked Sendable {
        // Unchecked: written on the loop before the semaphore, read after it.
        let body: (@escaping (String) -> Void) -> Void
        var text = ""
        init(_ body: @escaping (@escaping (String) -> Void) -> Void) { self.body = body }
    }

    private func execute(
        _ statement: PostgresStatement,
        _ parameters: [PostgresParameter],
        _ done: @escaping (String) -> Void
    ) {
        connection?.execute(statement, parameters) { result in
            if case .failure(let error) = result { done("\(statement.name) failed: \(error)") } else { done("done") }
        }
    }

    func begin() {
        wait { [self] done in
            execute(Outside.begin, []) { _ in }
            execute(
                Outside.counters,
                [.int8(ConformanceSequence.firstNumber), .int8(ConformanceSequence.firstRevision)]
            ) { _ in }
            execute(Outside.clock, [.text(Self.moment(ConformanceSequence.start))], done)
        }
    }

    func rollback() { wait { [self] done in execute(Outside.rollback, [], done) } }

    /// Does a step, and yields its answer and all rows after it. `now`: the clock's time after the step.
    func run(_ step: ConformanceStep, now: Int64) -> (answer: String, rows: [String]) {
        var answer = ""
        let rows = wait { [self] done in
            if case .outside(let outside) = step {
                run(outside, now: now) { answer = $0 }
            } else if let ledger {
                step.ask(ledger, shardCount: ConformanceSequence.shardCount) { answer = $0 }
            }
            connection?.execute(Outside.rows, []) { result in
                switch result {
                case .failure(let error): done("failed: \(error)")
                case .success(let rows):
                    done((0..<rows.count).compactMap { rows.text($0, 0) }.sorted().joined(separator: "\n"))
                }
            }
        }
        return (answer, rows.isEmpty ? [] : rows.components(separatedBy: "\n"))
    }

    private func run(_ outside: ConformanceStep.Outside, now: Int64, _ done: @escaping (String) -> Void) {
        func name(_ lane: Int) -> PostgresParameter { .text(lanes[lane].name.value) }
        switch outside {
        case .timePasses: execute(Outside.clock, [.text(Self.moment(now))], done)
        case .hold(let lane, let until):
            execute(
                Outside.hold,
                [name(lane), .bool(true), until.map { .timestamp(microseconds: $0) } ?? .null],
                done
            )
        case .resume(let lane): execute(Outside.hold, [name(lane), .bool(false), .null], done)
        case .cap(let lane, let cap): execute(Outside.cap, [name(lane), cap.map { .int4($0) } ?? .null], done)
        case .remove(let lane): execute(Outside.remove, [name(lane)], done)
        case .cancel(let key): execute(Outside.cancel, [.text(key)], done)
        case .reschedule(let job, let time):
            execute(Outside.reschedule, [.int8(job), .timestamp(microseconds: time)], done)
        case .replay(let job): execute(Outside.replay, [.int8(job)], done)
        }
    }
}
