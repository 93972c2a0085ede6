import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("Status, why, parked, refusals")
struct StatusTests {
    @Test("status counts each line's backlog by state and names its hold, gate and owner")
    func status() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let empty = try await FleetStatus.read(session)
            #expect(empty.lines.map(\.id) == ["acme-1", "acme-2", "other-1"])
            #expect(empty.lines.allSatisfy { $0.unfinished == 0 && !$0.isOwned && $0.oldestWaiting == nil })
            #expect(empty.workers.isEmpty && empty.shards == 16 && empty.shardsWithoutOwner == 16)

            let later = Timestamp(microseconds: empty.readAt.microseconds) + .seconds(86_400)
            let jobs = try (0..<5).map { try notice($0) } + [notice(5, notBefore: later), notice(6, line: "acme-2")]
            let ids = try await database.accept(jobs).compactMap(\.job)
            _ = try await database.accept([notice(0, body: "Other")])
            try await database.run([ids[0]])
            try await database.run([ids[1]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            try await database.run([ids[2]], outcome: "park", reason: "message_refused")
            try await database.run([ids[3]], outcome: "none")
            // One live worker with every shard, and one that is silent.
            try await session.query(
                "insert into trunkline.workers (boot, host, pid, version, broker_connected, renewed_at) values ($1, 'alpha', 17, '0.1.0', true, now() + interval '1 hour')",
                [.uuid(Array(repeating: 7, count: 16))]
            )
            try await session.query(
                "insert into trunkline.workers (boot, host, pid, version, renewed_at) values ($1, 'beta', 18, '0.1.0', now() - interval '1 minute')",
                [.uuid(Array(repeating: 8, count: 16))]
            )
            try await session.script(
                """
                update trunkline.lanes set hold_reason = 'the shop asked', held_at = now() where name = 'line:acme-2';
                update trunkline.lane_state set gate = 'held_human', gate_reason = 'line_needs_person'
                where lane = (select lane from trunkline.lines where id = 'acme-1');
                """
            )
            let status = try await FleetStatus.read(session)
            let first = try #require(status.lines.first { $0.id == "acme-1" })
            #expect(first.backlog == ["waiting": 2, "unknown": 1, "parked": 1, "sending": 1])
            #expect(first.scheduled == 1)
            #expect(first.sentToday == 1)
            #expect(first.gate == "held_human" && first.gateReason == "line_needs_person" && first.holdReason == nil)
            #expect(first.isOwned && first.oldestWaiting != nil)
            #expect(first.pace == Pace.standard)
            let second = try #require(status.lines.first { $0.id == "acme-2" })
            #expect(second.holdReason == "the shop asked" && second.heldSince != nil && second.heldUntil == nil)
            #expect(second.unfinished == 1)
            #expect(status.workers.map(\.host).sorted() == ["alpha", "beta"])
            let alpha = try #require(status.workers.first { $0.host == "alpha" })
            #expect(alpha.isAlive && alpha.isBrokerConnected && alpha.shards == 16)
            #expect(status.workers.first { $0.host == "beta" }?.isAlive == false)
            #expect(status.shardsWithoutOwner == 0)
            #expect(status.refusalsToday == 1)
            #expect(status.backlog.values.reduce(0, +) == 6)
            #expect(status.sentToday == 1)
        }
    }

    @Test("why says state, since when, why, and what releases it, by id and by key, without the customer's data")
    func why() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let now = Timestamp(microseconds: try await session.query("select now()").timestamp(0, 0) ?? 0)
            let jobs =
                try (0..<8).map { try notice($0) } + [
                    notice(8, notBefore: now + .seconds(7_200)), notice(9, line: "acme-2"),
                ]
            let ids = try await database.accept(jobs).compactMap(\.job)

            func sentence(_ id: JobID) async throws -> String {
                let stories = try await database.install.stories(id.description)
                #expect(stories.count == 1)
                let text = stories.first?.sentence ?? ""
                #expect(!text.contains("97250") && !text.contains("ready."), "\(text)")
                return text
            }
            #expect(try await sentence(ids[0]).contains("no live worker owns shard"))
            try await session.query(
                "insert into trunkline.workers (boot, host, pid, version, renewed_at) values ($1, 'alpha', 17, '0.1.0', now() + interval '1 hour')",
                [.uuid(Array(repeating: 7, count: 16))]
            )
            try await database.run([ids[0]])
            #expect(try await sentence(ids[0]).hasPrefix("It was sent at "))
            try await database.run([ids[1]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            let unknown = try await sentence(ids[1])
            #expect(unknown.contains("may have been sent since") && unknown.contains("12 h"))
            try await database.run([ids[2]], outcome: "park", reason: "message_refused")
            let parked = try await sentence(ids[2])
            #expect(parked.contains("surely not sent") && parked.contains("trunkline parked show \(ids[2])"))
            try await database.run([ids[3]], outcome: "none")
            #expect(try await sentence(ids[3]).contains("runs since"))
            #expect(try await sentence(ids[3]).contains("alpha (process 17)"))
            #expect(try await sentence(ids[8]).contains("is scheduled for"))
            #expect(try await sentence(ids[4]).contains("whether the line acme-1 is well"))
            try await session.script("update trunkline.lane_state set gate = 'open'")
            #expect(try await sentence(ids[4]).contains("pace of the line acme-1 (one send per 3 s)"))
            try await session.script("update trunkline.lane_state set paused_until = now() + interval '1 minute'")
            #expect(try await sentence(ids[4]).contains("asked the line acme-1 to slow down"))
            try await session.script(
                "update trunkline.lane_state set gate = 'held_human', gate_reason = 'line_needs_person'"
            )
            #expect(try await sentence(ids[4]).contains("somebody must mend the line"))
            try await session.script("update trunkline.lanes set hold_reason = 'the shop asked', held_at = now()")
            let held = try await sentence(ids[4])
            #expect(
                held.contains("held by hand") && held.contains("trunkline line resume acme-1")
                    && held.contains("the shop asked")
            )
            try await session.script(
                "update trunkline.lanes set hold_reason = null, held_at = null; update trunkline.lane_state set gate = 'open', paused_until = '-infinity'"
            )
            try await session.query(
                "update trunkline.jobs set person = (select person from trunkline.jobs where id = $1) where id = $2",
                [.int8(ids[3].value), .int8(ids[5].value)]
            )
            #expect(try await sentence(ids[5]).contains("behind job \(ids[3]) of the same person, which is sending"))
            try await session.query(
                "select trunkline.finish($1, 'expired', 'send_before_passed')",
                [.int8Array([ids[6].value])]
            )
            #expect(try await sentence(ids[6]).contains("its sendBefore had passed; nothing was sent"))

            let byKey = try await database.install.stories("order:acme.1:ready")
            #expect(byKey.map(\.id) == [ids[1]])
            #expect(byKey.first?.recipient?.contains("•••") == true)
            #expect(byKey.first?.attempts.map(\.outcome) == ["unknown"])
            #expect(try await database.install.stories("order:nobody").isEmpty)
            #expect(try await database.install.stories("99999999").isEmpty)

            // Dropped by retention: the key still tells the end.
            try await session.query("delete from trunkline.finished where id = $1", [.int8(ids[0].value)])
            let dropped = try await database.install.stories("order:acme.0:ready")
            #expect(dropped.first?.sentence.contains("dropped by retention") == true)
        }
    }

    @Test("parked jobs are listed with reason and masked number, and found by line and reason")
    func parked() async throws {
        try await AdminDatabase.with { database in
            let ids = try await database.accept([notice(0), notice(1, line: "acme-2"), notice(2)]).compactMap(\.job)
            try await database.run([ids[0]], outcome: "park", reason: "message_refused")
            try await database.run([ids[1]], outcome: "park", reason: "credential_refused")
            let all = try await database.install.parkedJobs(limit: 10)
            #expect(all.map(\.id) == [ids[0], ids[1]])
            #expect(
                all.allSatisfy { $0.recipient?.contains("•••") == true && $0.maybeSentSince == nil && $0.attempt == 1 }
            )
            #expect(
                try await database.install.parkedJobs(lane: .line(LineID("acme-2")), limit: 10).map(\.id) == [ids[1]]
            )
            #expect(try await database.install.parkedJobs(reason: "message_refused", limit: 10).map(\.id) == [ids[0]])
            #expect(try await database.install.parkedJobs(limit: 1).count == 1)
            #expect(try await database.install.parkedJob(ids[2]) == nil)
            #expect(try await database.install.parkedJob(ids[0])?.reason == "message_refused")
            #expect(try await database.install.attempts(of: ids[0]).map(\.outcome) == ["parked"])
        }
    }

    @Test("every stored reason has words")
    func words() {
        for reason in Reason.allCases { #expect(JobStory.words(forReason: reason.code) == reason.sentence) }
        #expect(JobStory.words(forReason: "worker_lost") != "worker_lost")
        #expect(JobStory.words(forReason: "something new") == "something new")
        #expect(JobStory.masked("+972501234567") == "+97250•••4567")
        #expect(JobStory.masked("rubbish") == "•••")
    }
}
