import PostgresDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Habits of callers: said at once, counted a little later, and never in the way.
@Suite("The linter for callers")
struct LintTests {
    private static func send(_ key: String, body: String = "Hello", line: String = "acme-1") throws -> SendJob {
        try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumber("+972501234567"),
            body: body,
            purpose: .order
        )
    }

    private static func notebook(_ url: String, warn: @escaping @Sendable (String) -> Void = { Issue.record("\($0)") })
        -> LintNotebook
    {
        LintNotebook(databaseURL: url, name: "tests", warn: warn)
    }

    @Test("what is met is counted by workspace, rule and caller, with the latest example")
    func counts() async throws {
        try await AdminDatabase.with { database in
            let notebook = Self.notebook(database.url)
            let now = Timestamp.now
            func note(_ key: String, _ caller: String, body: String, line: String = "acme-1") throws -> [CallerLint
                .Rule]
            {
                notebook.note(.send(try Self.send(key, body: body, line: line)), caller: caller, now: now)
            }
            let second = now.microseconds / 1_000_000
            #expect(try note("order:a.1:ready", "key_1", body: "a") == [])
            #expect(try note("order:a.1:ready:\(second)", "key_1", body: "b") == [.keyHoldsTime])
            #expect(try note("order:a.1:ready:\(second - 1)", "key_1", body: "c") == [.keyHoldsTime])
            #expect(try note("order:a.2:ready", "key_2", body: "a") == [.sameText])
            #expect(try note("order:a.2:ready", "key_2", body: "a", line: "other-1") == [])
            #expect(try note("9f86d081884c7d65", "key_2", body: "a", line: "other-1") == [.keyIsRandom, .sameText])
            _ = notebook.note(.send(try Self.send("9f86d081884c7d66", line: "nobody")), caller: "cli", now: now)
            await notebook.flush()
            let install = database.install
            let acme = try await install.lintFindings(workspace: WorkspaceID("acme"), limit: 10)
            #expect(acme.count == 2)
            let time = try #require(acme.first { $0.rule == "key_holds_time" })
            #expect(time.caller == "key_1" && time.times == 2 && time.key == "order:a.1:ready:\(second - 1)")
            #expect(time.sentence == CallerLint.Rule.keyHoldsTime.sentence)
            #expect(acme.first { $0.rule == "same_text" }?.caller == "key_2")
            // Again: counted on, and only what is new is written.
            _ = try note("order:a.1:ready:\(second + 1)", "key_1", body: "d")
            await notebook.close()
            await notebook.flush()
            let all = try await install.lintFindings(limit: 10)
            #expect(all.count == 4 && all.filter { $0.workspace.value == "other" }.count == 2)
            #expect(all.first { $0.rule == "key_holds_time" }?.times == 3)
            #expect(notebook.counts == [.keyHoldsTime: 3, .sameText: 2, .keyIsRandom: 2])
            await install.close()
        }
    }

    @Test("what cannot be written is said once, waits, and stands in nobody's way")
    func databaseAway() async throws {
        try await AdminDatabase.with { database in
            let said = Mutex<[String]>([])
            let away = Self.notebook("postgresql://nobody@127.0.0.1:\(refusingPort)/none") { sentence in
                said.withLock { $0.append(sentence) }
            }
            let job = CarriedWork.send(try Self.send("9f86d081884c7d65"))
            #expect(away.note(job, caller: "cli", now: .now) == [.keyIsRandom])
            await away.flush()
            await away.flush()
            #expect(said.withLock { $0.count } == 1)
            #expect(!said.withLock { $0.joined() }.contains("9f86d081884c7d65"))
            // The function is missing for a while: the accepts go on, and later the count is whole.
            try await database.session.script("alter function trunkline.note_lint rename to away")
            let notebook = Self.notebook(database.url) { sentence in said.withLock { $0.append(sentence) } }
            let desk = try await AcceptDesk.open(
                .rowFirst(databaseURL: database.url, amqpURL: nil, .single),
                name: "tests",
                carriers: .standard,
                lint: notebook
            ) { Issue.record("a warning: \($0)") }
            let jobs = try [
                Self.send("order:a.1:x:9f86d081884c7d65"), Self.send("order:a.1:x:9f86d081884c7d66", body: "Other"),
            ]
            #expect(try await desk.accept(jobs).map(\.word) == ["new", "new"])
            // A repeat has the same key: nothing is wrong with that.
            #expect(try await desk.accept(jobs).map(\.word) == ["repeat", "repeat"])
            await notebook.flush()
            try await database.session.script("alter function trunkline.away rename to note_lint")
            await desk.close()
            let findings = try await database.install.lintFindings(limit: 10)
            #expect(findings.map(\.times) == [2] && findings.map(\.caller) == ["cli"])
        }
    }

    @Test("what waits to be written is bounded")
    func bounded() throws {
        let notebook = Self.notebook("postgresql://nobody@127.0.0.1:\(refusingPort)/none")
        for number in 0..<3_000 {
            let job = try Self.send("9f86d081884c7d65", line: "line-\(number)")
            #expect(notebook.note(.send(job), caller: "cli", now: .now) == [.keyIsRandom])
        }
        #expect(notebook.counts[.keyIsRandom] == 3_000 && notebook.waiting == 1_000)
    }

    @Test("texts of one person under several keys are found whatever way they came in")
    func texts() async throws {
        try await AdminDatabase.with { database in
            let jobs = try [
                Self.send("k1"), Self.send("k2"), Self.send("k3", body: "Other"), Self.send("k4", line: "acme-2"),
                Self.send("k5", line: "other-1"),
            ]
            let ids = try await database.accept(jobs).compactMap(\.job)
            try await database.session.query(
                """
                select trunkline.enqueue(line => 'acme-1', key => 'k6', "to" => '+972501234567', body => 'Hello', purpose => 'order')
                """
            )
            // One of them is finished by now, one is of the day before yesterday.
            try await database.run([ids[0]])
            try await database.session.query(
                "update trunkline.jobs set accepted_at = now() - interval '2 days' where key = 'k2'"
            )
            let install = database.install
            let texts = try await install.repeatedTexts(limit: 10)
            #expect(texts.count == 1 && texts.first?.keys == 2)
            #expect(texts.first?.firstKey == "k1" && texts.first?.lastKey == "k6")
            #expect(texts.first?.lane.line == "acme-1")
            #expect(try await install.repeatedTexts(workspace: WorkspaceID("other"), limit: 10).isEmpty)
            // What never went may be given again under another key.
            try await database.session.query("update trunkline.finished set state = 'cancelled' where key = 'k1'")
            #expect(try await install.repeatedTexts(limit: 10).isEmpty)
            await install.close()
        }
    }
}
