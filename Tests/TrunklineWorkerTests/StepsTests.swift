import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Exchanges of several steps: a notebook is looked into before it is written into, and writes twice what it is asked twice.
/// Real broker, database, HTTP and worker processes.
@Suite struct StepsTests {
    /// A notebook as destination `book`, and a worker program that carries to it.
    struct Stage {
        let install: TestInstall
        let notebook: NotebookServer

        static func with(_ body: (Stage) async throws -> Void) async throws {
            try await TestInstall.with(shards: 1, lines: 0) { install in
                let notebook = NotebookServer()
                defer { notebook.stop() }
                try await install.addDestination(
                    "book",
                    of: NotebookCarrier(),
                    url: notebook.url,
                    secret: NotebookServer.secret
                )
                try await body(Stage(install: install, notebook: notebook))
            }
        }

        func startWorker(_ environment: [String: String] = [:]) throws -> TestInstall.WorkerHandle {
            try install.startWorker(environment, program: "notebook-worker")
        }

        func publish(_ count: Int) async throws {
            let jobs = try (1...count).map { number in
                try DeliverJob(
                    destination: DestinationID("book"),
                    key: IdempotencyKey("note.\(number)"),
                    type: "note.taken",
                    happenedAt: Timestamp(microseconds: 1_796_148_000_000_000),
                    data: .object([.init("number", .number("\(number)"))])
                )
            }
            try await install.publish(raw: jobs.map { ("shard.00", $0.encode()) })
        }

        /// Nothing lost, nothing twice, and the ledger adds up.
        func requireProof(_ count: Int) async throws {
            try await install.waitUntilSent(count, within: .seconds(180))
            #expect(notebook.notes == Dictionary(uniqueKeysWithValues: (1...count).map { ("note.\($0)", 1) }))
            try await install.trunkline(["check"]).requireSuccess()
        }

        func stamped() async throws -> Int64 {
            try await install.number("select count(*) from trunkline.finished where maybe_sent_since is not null")
        }
    }

    @Test func everyNoteIsLookedUpAndWrittenOnce() async throws {
        try await Stage.with { stage in
            _ = try stage.startWorker()
            try await stage.publish(20)
            try await stage.requireProof(20)
            #expect(stage.notebook.count(.lookUp) == 20 && stage.notebook.count(.write) == 20)
            #expect(try await stage.install.number("select count(*) from trunkline.attempts") == 0)
        }
    }

    /// The note is written, and the answer does not say so: the next attempt finds it.
    @Test func aLostAnswerIsFoundByTheNextLookUp() async throws {
        try await Stage.with { stage in
            stage.notebook.answerNext(.write, [500, 503])
            _ = try stage.startWorker()
            try await stage.publish(2)
            try await stage.requireProof(2)
            #expect(stage.notebook.count(.write) == 2 && stage.notebook.count(.lookUp) == 4)
            #expect(try await stage.stamped() == 2)
        }
    }

    /// A look-up that failed is a plain retry: no try is used, nothing is stamped.
    @Test func aLookUpThatFailsStampsNothing() async throws {
        try await Stage.with { stage in
            stage.notebook.answerNext(.lookUp, [500])
            _ = try stage.startWorker()
            try await stage.publish(1)
            try await stage.requireProof(1)
            #expect(stage.notebook.count(.lookUp) == 2 && stage.notebook.count(.write) == 1)
            #expect(try await stage.stamped() == 0)
            #expect(try await stage.install.number("select count(*) from trunkline.finished where tries = 1") == 1)
        }
    }

    /// What comes before the first call that may take effect is still time for a cancel.
    @Test func aCancelDuringTheLookUpIsInTime() async throws {
        try await Stage.with { stage in
            let lookUps = stage.notebook.hold(.lookUp)
            _ = try stage.startWorker()
            try await stage.publish(1)
            try await stage.install.wait(for: "the look-up") { stage.notebook.count(.lookUp) == 1 }
            try await stage.install.trunkline(["cancel", "note.1", "--destination", "book"])
            #expect(
                try await stage.install.number("select count(*) from trunkline.jobs where cancel_wanted and quiet") == 1
            )
            lookUps.give()
            try await stage.install.wait(for: "the end of the job") {
                try await stage.install.number("select count(*) from trunkline.finished where state = 'cancelled'") == 1
            }
            #expect(stage.notebook.count(.write) == 0)
        }
    }

    /// Steps at which a worker is killed, and whether an attempt that is lost there may have taken effect.
    static let crashes = [
        ("claimed:1", false), ("asked:1", false), ("refreshed:1", false), ("asked:2", false), ("answered:1", false),
        ("marked:1", true), ("carried:1", true), ("answered:2", true), ("settled:1", false),
    ]

    @Test(arguments: crashes)
    func aKilledWorkersNotesAreWrittenOnceByAnother(point: String, mayHaveSent: Bool) async throws {
        try await Stage.with { stage in
            let victim = try stage.startWorker(["TRUNKLINE_CRASH_AT": point])
            try await stage.publish(4)
            try await stage.install.wait(for: "the crash at \(point)") { !victim.isRunning }
            _ = try stage.startWorker()
            try await stage.requireProof(4)
            // Only an attempt that may have taken effect has stamped its job.
            #expect(try await stage.stamped() == (mayHaveSent ? 1 : 0))
            #expect(
                try await stage.install.number("select count(*) from trunkline.attempts where outcome = 'abandoned'")
                    == (point == "settled:1" ? 0 : 1)
            )
        }
    }

    /// A worker that froze at `carried` has looked a last time: what it does when it wakes is beyond any program, unless the
    /// other side knows a repeated call.
    @Test(arguments: [
        "claimed:1", "asked:1", "refreshed:1", "asked:2", "answered:1", "marked:1", "answered:2", "settled:1",
    ])
    func aFrozenWorkerThatWakesUpWritesNothingTwice(point: String) async throws {
        try await Stage.with { stage in
            let victim = try stage.startWorker(["TRUNKLINE_FREEZE_AT": point])
            try await stage.publish(4)
            try await stage.install.wait(for: "the freeze at \(point)") { victim.isFrozen }
            _ = try stage.startWorker()
            try await stage.requireProof(4)
            victim.thaw()
            // It says what it had on its mind, or that it is there again.
            try await stage.install.wait(for: "the woken worker's heartbeat") {
                try await stage.install.number(
                    "select count(*) from trunkline.workers where pid = \(victim.pid) and renewed_at > now() - interval '2 seconds'"
                ) == 1
            }
            try await stage.publish(5)
            try await stage.requireProof(5)
        }
    }
}
