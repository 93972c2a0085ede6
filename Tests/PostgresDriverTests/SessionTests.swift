import PostgresDriver
import TestKit
import Testing

@Suite("Session", .timeLimit(.minutes(2)))
struct SessionTests {
    private struct Oops: Error {}

    private func withSession(_ body: (PostgresSession) async throws -> Void) async throws {
        try await TestDatabase.with { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                try await session.script("CREATE TABLE notes (id bigint CONSTRAINT notes_key PRIMARY KEY DEFERRABLE)")
                try await body(session)
            }
        }
    }

    private func ids(_ session: PostgresSession) async throws -> [Int64] {
        let rows = try await session.query("SELECT id FROM notes ORDER BY id")
        return (0..<rows.count).compactMap { rows.int8($0, 0) }
    }

    @Test("a script is one transaction; its error has code, constraint and position, and the session goes on")
    func scripts() async throws {
        try await withSession { session in
            try await session.script("INSERT INTO notes VALUES (1); INSERT INTO notes VALUES (2); SELECT * FROM notes;")
            try await session.script("")
            try await session.script("-- nothing\n;;")
            try await session.script("DO $$ BEGIN RAISE NOTICE 'not printed'; END $$")
            let duplicate = await #expect(throws: PostgresError.self) {
                try await session.script("INSERT INTO notes VALUES (3); INSERT INTO notes VALUES (1)")
            }
            #expect(duplicate?.sqlState == "23505")
            #expect(duplicate?.constraint == "notes_key")
            let typing = await #expect(throws: PostgresError.self) {
                try await session.script("SELECT 1;\nSELEKT 2")
            }
            #expect(typing?.sqlState == "42601")
            #expect(typing?.position == 11)
            #expect(try await ids(session) == [1, 2])
        }
    }

    @Test("COPY in a script ends the session instead of hanging")
    func copyInScript() async throws {
        try await withSession { session in
            let error = await #expect(throws: PostgresError.self) {
                try await session.script("COPY notes FROM STDIN")
            }
            #expect(error?.code == .connectionLost)
            let next = await #expect(throws: PostgresError.self) { try await session.query("SELECT 1") }
            #expect(next?.code == .notConnected)
        }
    }

    @Test("a transaction commits, or rolls back when its body throws")
    func transactions() async throws {
        try await withSession { session in
            let value = try await session.transaction { session in
                try await session.query("INSERT INTO notes VALUES (1)")
                try await session.script("INSERT INTO notes VALUES (2); INSERT INTO notes VALUES (3)")
                return try await session.query("SELECT count(*) FROM notes").int8(0, 0)
            }
            #expect(value == 3)
            await #expect(throws: Oops.self) {
                try await session.transaction { session in
                    try await session.query("INSERT INTO notes VALUES (4)")
                    throw Oops()
                }
            }
            let duplicate = await #expect(throws: PostgresError.self) {
                try await session.transaction { session in
                    try await session.query("INSERT INTO notes VALUES (5)")
                    try await session.query("INSERT INTO notes VALUES ($1)", [.int8(1)])
                }
            }
            #expect(duplicate?.constraint == "notes_key")
            // A swallowed error must not look like a commit.
            let swallowed = await #expect(throws: PostgresError.self) {
                try await session.transaction { session in
                    try await session.query("INSERT INTO notes VALUES (6)")
                    _ = try? await session.query("INSERT INTO notes VALUES (1)")
                }
            }
            #expect(swallowed?.sqlState == "40000")
            // The commit itself fails.
            let deferred = await #expect(throws: PostgresError.self) {
                try await session.transaction { session in
                    try await session.query("SET CONSTRAINTS ALL DEFERRED")
                    try await session.query("INSERT INTO notes VALUES (1)")
                }
            }
            #expect(deferred?.sqlState == "23505")
            #expect(try await ids(session) == [1, 2, 3])
        }
    }

    @Test("other tasks' statements stay outside a transaction")
    func transactionsExclude() async throws {
        try await withSession { session in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in Int64(0)..<40 {
                    group.addTask {
                        if number % 2 == 0 {
                            try? await session.transaction { session in
                                try await session.query("INSERT INTO notes VALUES ($1)", [.int8(number)])
                                await Task.yield()
                                throw Oops()
                            }
                        } else {
                            try await session.query("INSERT INTO notes VALUES ($1)", [.int8(number)])
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await ids(session) == (0..<40).filter { $0 % 2 == 1 })
        }
    }

    @Test("a cancelled task rolls back, and closes")
    func cancellation() async throws {
        try await TestDatabase.with { url in
            let session = try await PostgresSession.open(url: url, applicationName: "tests")
            try await session.query("CREATE TABLE notes (id bigint)")
            let task = Task {
                try await session.transaction { session in
                    try await session.query("INSERT INTO notes VALUES (1)")
                    withUnsafeCurrentTask { $0?.cancel() }
                    try Task.checkCancellation()
                }
            }
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await session.query("SELECT * FROM notes").count == 0)
            let closing = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                await session.close()
            }
            await closing.value
            await session.close()
            let error = await #expect(throws: PostgresError.self) { try await session.query("SELECT 1") }
            #expect(error?.code == .notConnected)
        }
    }

    @Test("close() while others wait: everyone gets an answer")
    func closeWhileWaiting() async throws {
        let session = try await PostgresSession.open(url: try serverURL(), applicationName: "tests")
        let answers = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do {
                        try await session.query("SELECT pg_sleep(0.01)")
                        return true
                    } catch {
                        return (error as? PostgresError)?.isConnectionLost == true
                    }
                }
            }
            group.addTask {
                await session.close()
                return true
            }
            return await group.reduce(into: [Bool]()) { $0.append($1) }
        }
        #expect(answers.count == 21 && answers.allSatisfy { $0 })
    }

    @Test("a session that is let go without close() ends its connection")
    func letGo() async throws {
        try await withSession { watcher in
            let backend: PostgresBackend
            do {
                let url = try serverURL()
                backend = try await PostgresSession.open(url: url, applicationName: "forgotten").backend
            }
            try await eventually("the backend is gone") {
                try await watcher.query(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2",
                    [.int4(backend.pid), .timestamp(microseconds: backend.start)]
                ).count == 0
            }
        }
    }
}
