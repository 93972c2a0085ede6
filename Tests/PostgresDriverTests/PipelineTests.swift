import EventLoop
import PostgresDriver
import TestKit
import Testing

@Suite("Pipeline", .timeLimit(.minutes(2)))
struct PipelineTests {
    private static let insert = PostgresStatement(
        name: "insert",
        sql: "INSERT INTO things (id, amount) VALUES ($1, $2) RETURNING id",
        parameterTypes: [.int8, .int4]
    )
    private static let table = """
        CREATE TABLE things (id bigint CONSTRAINT things_key PRIMARY KEY,
                             amount int CONSTRAINT things_amount_positive CHECK (amount > 0));
        """

    @Test("of 1,000 statements at once the bad ones fail, each with its reason, and the others are committed, in order")
    func errorsStayWithTheirStatement() async throws {
        try await TestDatabase.with { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") {
                try await $0.script(Self.table)
            }
            try await withClient(
                PostgresConnection.Configuration(url: url, applicationName: "tests", statements: [Self.insert])
            ) { client in
                _ = try await client.connect()
                await client.submit(
                    (0..<1_000).map { number in
                        switch number % 10 {
                        case 3: (Self.insert, [.int8(Int64(number - 1)), .int4(1)])  // taken by its neighbour
                        case 7: (Self.insert, [.int8(Int64(number)), .int4(0)])
                        default: (Self.insert, [.int8(Int64(number)), .int4(1)])
                        }
                    }
                )
                try await eventually("1,000 answers") { client.answers.count == 1_000 }
                for (number, answer) in client.answers.enumerated() {
                    switch number % 10 {
                    case 3, 7:
                        let error = try #require(answer.error)
                        #expect(error.code == .server)
                        #expect(error.sqlState == (number % 10 == 3 ? "23505" : "23514"))
                        #expect(error.constraint == (number % 10 == 3 ? "things_key" : "things_amount_positive"))
                        #expect(!error.outcomeUnknown && !error.isRetriable && !error.isConnectionLost)
                    default:
                        #expect(try answer.get().int8(0, 0) == Int64(number))
                        #expect(try answer.get().affectedRows == 1)
                    }
                }
                let count = try await client.execute(PostgresStatement(name: "", sql: "SELECT count(*) FROM things"))
                    .get()
                #expect(count.int8(0, 0) == 800)
                #expect(client.losses.isEmpty)
            }
        }
    }

    @Test("success means committed: an error that comes with the Sync, after the result, is the statement's error")
    func errorAtCommit() async throws {
        try await TestDatabase.with { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                try await session.script(
                    "CREATE TABLE things (id bigint CONSTRAINT late PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, amount int)"
                )
            }
            try await withClient(
                PostgresConnection.Configuration(url: url, applicationName: "tests", statements: [Self.insert])
            ) { client in
                _ = try await client.connect()
                await client.submit([1, 1, 2, 2, 3].map { (Self.insert, [.int8($0), .int4(1)]) })
                try await eventually("five answers") { client.answers.count == 5 }
                #expect(client.answers.map { $0.error?.constraint } == [nil, "late", nil, "late", nil])
                #expect(client.answers.map { $0.error?.outcomeUnknown } == [nil, false, nil, false, nil])
                #expect(client.losses.isEmpty)
            }
        }
    }

    @Test("a completion may execute the next statement: 2,000 one after the other")
    func completionsMayExecute() async throws {
        try await withClient(
            PostgresConnection.Configuration(url: try serverURL(), applicationName: "tests")
        ) { client in
            _ = try await client.connect()
            let statement = PostgresStatement(name: "", sql: "SELECT $1", parameterTypes: [.int4])
            let last: Int32 = await withCheckedContinuation { continuation in
                client.loop.run {
                    @Sendable func step(_ number: Int32) {
                        client.connection.execute(statement, [.int4(number)]) { answer in
                            let value = (try? answer.get())?.int4(0, 0) ?? -1
                            if value < 0 || value == 2_000 {
                                continuation.resume(returning: value)
                            } else {
                                step(value + 1)
                            }
                        }
                    }
                    step(1)
                }
            }
            #expect(last == 2_000)
            #expect(await client.onLoop { $0.inFlight } == 0)
        }
    }

    @Test("large parameters and large results at once do not wait for each other for ever")
    func largeBothWays() async throws {
        try await withClient(
            PostgresConnection.Configuration(
                url: try serverURL(),
                applicationName: "tests",
                settings: [("statement_timeout", "60s")]
            )
        ) { client in
            _ = try await client.connect()
            let echo = PostgresStatement(name: "", sql: "SELECT $1", parameterTypes: [.bytea])
            let blobs = (0..<6).map { number in [UInt8](repeating: UInt8(number), count: 8 << 20) }
            await client.submit(blobs.map { (echo, [.bytes($0)]) })
            try await eventually("six answers", within: .seconds(60)) { client.answers.count == 6 }
            for (blob, answer) in zip(blobs, client.answers) { #expect(try answer.get().bytes(0, 0) == blob) }
        }
    }

    @Test("lock_timeout from the settings gives 55P03, which is worth another try")
    func lockTimeout() async throws {
        try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { holder in
            let key = Int64.random(in: 1 ... .max)
            try await holder.query("SELECT pg_advisory_lock($1)", [.int8(key)])
            try await withClient(
                PostgresConnection.Configuration(
                    url: try serverURL(),
                    applicationName: "tests",
                    settings: [("lock_timeout", "50ms")]
                )
            ) { client in
                _ = try await client.connect()
                let lock = PostgresStatement(name: "", sql: "SELECT pg_advisory_xact_lock($1)", parameterTypes: [.int8])
                let error = try #require(await client.execute(lock, [.int8(key)]).error)
                #expect(error.sqlState == "55P03")
                #expect(error.code == .server)
                #expect(error.isRetriable && !error.isConnectionLost && !error.outcomeUnknown)
            }
        }
    }

    @Test("a data error does not repeat the value")
    func noValuesInErrors() async throws {
        try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { session in
            let error = await #expect(throws: PostgresError.self) {
                try await session.query("SELECT $1::int4", [.text("12 Dana")])
            }
            #expect(error?.sqlState == "22P02")
            #expect(error.map { "\($0)".contains("Dana") } == false)
            #expect(error?.message.contains("integer") == true)
        }
    }
}
