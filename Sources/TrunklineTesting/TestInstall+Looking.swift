internal import FoundationEssentials
private import PostgresDriver
private import Synchronization
private import TestKit
private import TrunklineSimulator

extension TestInstall {
    /// Asks until `condition` holds; throws with `what` and the situation when the deadline passes first.
    package func wait(
        for what: String,
        within limit: Duration = .seconds(60),
        _ condition: () async throws -> Bool
    ) async throws {
        try await eventually(what, within: limit, every: .milliseconds(50), situation: situation, condition)
    }

    /// Waits until `count` keys were sent and nothing unfinished is left.
    package func waitUntilSent(_ count: Int, within limit: Duration = .seconds(90)) async throws {
        try await wait(for: "\(count) jobs sent, none unfinished", within: limit) {
            let sent = try await self.number("select count(*) from trunkline.finished where state = 'sent'")
            let unfinished = try await self.number("select count(*) from trunkline.jobs")
            return sent >= Int64(count) && unfinished == 0
        }
    }

    /// The one number that a query yields; 0 when it yields none.
    package func number(_ sql: String) async throws -> Int64 {
        try await asking { session in
            let rows = try await session.query(sql, [])
            return rows.count == 0 ? 0 : rows.int8(0, 0) ?? 0
        }
    }

    /// The one text that a query yields.
    package func text(_ sql: String) async throws -> String? {
        try await asking { try await $0.query(sql, []).text(0, 0) }
    }

    /// Asks on the session, or on a new one when a crash of the database has ended it.
    private func asking<Value: Sendable>(_ question: (PostgresSession) async throws -> Value) async throws -> Value {
        do {
            return try await question(database)
        } catch let error as PostgresError where error.isConnectionLost {
            await database.close()
            let new = try await PostgresSession.open(url: databaseURL, applicationName: "trunkline test")
            session.withLock { $0 = new }
            return try await question(new)
        }
    }

    /// What is unfinished, who owns what, and the ends of the logs: for the words of a failure.
    package func situation() async -> String {
        let jobs =
            (try? await text(
                "select string_agg(state || ':' || coalesce(reason, '-') || ':' || n, ', ') from (select state, reason, count(*) as n from trunkline.jobs group by 1, 2) s"
            )) ?? nil
        let finished =
            (try? await text(
                "select string_agg(state || ':' || n, ', ') from (select state, count(*) as n from trunkline.finished group by 1) s"
            )) ?? nil
        let shards =
            (try? await text(
                "select string_agg(shard || '=' || coalesce(left(owner::text, 4), '-'), ' ') from trunkline.shards"
            )) ?? nil
        let logs = workers.withLock { $0 }.map { "--- \($0.log.lastPathComponent)\n" + $0.logText.suffix(3_000) }
            .joined(separator: "\n")
        return "unfinished: \(jobs ?? "none"); finished: \(finished ?? "none"); owners: \(shards ?? "none")\n\(logs)"
    }

    /// The questions that every fault test ends with: nothing lost, nothing twice, and the ledger adds up. Nor was a key asked
    /// for again after its answer had left, which an API with a memory would hide, unless a worker was killed or frozen, or,
    /// as `mayLoseAnswers` says, the test takes answers away on the wire.
    package func requireProof(sent count: Int, mayLoseAnswers: Bool = false) async throws {
        let report = simulator.report()
        let mayAskAgain = mayLoseAnswers || workers.withLock { $0 }.contains(where: \.wasHarmed)
        guard report.askedAgainAfterAnswer == 0 || mayAskAgain else {
            throw Failure("asked again after an answer: \(report.askedAgainKeys.prefix(10))")
        }
        guard report.sentTwice == 0 else { throw Failure("sent twice: \(report.sentTwiceKeys.prefix(10))") }
        guard report.total.messages == count else {
            throw Failure("the simulator has \(report.total.messages) messages, not \(count)")
        }
        let check = try await trunkline(["check", "--json"])
        guard check.status == 0 else { throw Failure("trunkline check: \(check.output)\(check.errors)") }
    }
}
