import PostgresDriver
import Synchronization
import TestKit
import Testing

@Suite("Lost connections", .timeLimit(.minutes(3)))
struct LossTests {
    private static let note = PostgresStatement(
        name: "note",
        sql: "INSERT INTO notes (id) VALUES ($1)",
        parameterTypes: [.int8]
    )
    private static let lock = PostgresStatement(
        name: "lock",
        sql: "SELECT pg_advisory_xact_lock($1)",
        parameterTypes: [.int8]
    )
    private static let blob = PostgresStatement(
        name: "blob",
        sql: "SELECT length($1)",
        parameterTypes: [.bytea]
    )

    private static func configuration(_ url: String) -> PostgresConnection.Configuration {
        PostgresConnection.Configuration(
            url: url,
            applicationName: "tests",
            statements: [note, lock, blob],
            settings: [("statement_timeout", "60s")]
        )
    }

    private static func prepare(_ url: String) async throws {
        try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
            try await session.script("CREATE TABLE notes (id bigint PRIMARY KEY)")
        }
    }

    /// Whether the backend waits for the advisory lock: its statement has surely arrived.
    private static func isWaiting(_ backend: PostgresBackend, _ session: PostgresSession) async throws -> Bool {
        let rows = try await session.query(
            "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'",
            [.int4(backend.pid)]
        )
        return rows.count == 1
    }

    @Test("terminated backend: what was sent is unknown, what was not is surely not, and the next connection works")
    func terminatedBackend() async throws {
        try await TestDatabase.with { url in
            try await Self.prepare(url)
            try await PostgresSession.withSession(url: url, applicationName: "tests") { other in
                try await other.query("SELECT pg_advisory_lock(1)")
                try await withClient(Self.configuration(url)) { client in
                    let afterwards = Mutex<[Answer]>([])
                    await client.onLoop { connection in
                        let recorded = connection.onDisconnect
                        connection.onDisconnect = { error in
                            recorded?(error)
                            connection.execute(Self.note, [.int8(99)]) { answer in
                                afterwards.withLock { $0.append(answer) }
                            }
                        }
                    }
                    let first = try await client.connect()
                    await client.submit([
                        (Self.note, [.int8(1)]),
                        (Self.lock, [.int8(1)]),
                        (Self.note, [.int8(2)]),
                        // More than the sockets hold while the server waits for the lock, so the rest stays with us.
                        (Self.blob, [.bytes([UInt8](repeating: 7, count: 64 << 20))]),
                        (Self.note, [.int8(3)]),
                    ])
                    try await eventually("the lock is waited for") { try await Self.isWaiting(first, other) }
                    try await eventually("the first has ended") { client.answers.count == 1 }
                    try await other.query("SELECT pg_terminate_backend($1)", [.int4(first.pid)])

                    try await eventually("five answers") { client.answers.count == 5 }
                    #expect(client.answers[0].error == nil)
                    let failed = client.answers.dropFirst().compactMap(\.error)
                    #expect(failed.map(\.code) == [.connectionLost, .connectionLost, .connectionLost, .connectionLost])
                    #expect(failed.map(\.outcomeUnknown) == [true, true, true, false])
                    #expect(failed.allSatisfy { $0.isConnectionLost && $0.isRetriable })
                    #expect(failed[0].sqlState == "57P01")

                    try await eventually("connected again") { client.backends.count == 2 }
                    #expect(client.losses.count == 1)
                    #expect(afterwards.withLock { $0.map { $0.error?.code } } == [.notConnected])
                    #expect(afterwards.withLock { $0.first?.error?.outcomeUnknown } == false)
                    #expect(client.backends[1].pid != first.pid)
                    // Prepared anew.
                    #expect(await client.execute(Self.note, [.int8(4)]).error == nil)
                }
                let rows = try await other.query("SELECT id FROM notes ORDER BY id")
                #expect((0..<rows.count).map { rows.int8($0, 0) } == [1, 4])
            }
        }
    }

    @Test("an idle connection that is ended says why, once, and comes back again and again")
    func idleLoss() async throws {
        try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { other in
            try await withClient(
                PostgresConnection.Configuration(url: try serverURL(), applicationName: "tests")
            ) { client in
                _ = try await client.connect()
                for round in 1...3 {
                    let backend = client.backends[round - 1]
                    let rows = try await other.query(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE pid = $1 AND backend_start = $2 AND application_name = 'tests'
                        """,
                        [.int4(backend.pid), .timestamp(microseconds: backend.start)]
                    )
                    #expect(rows.count == 1)
                    try await eventually("connected again") { client.backends.count == round + 1 }
                    #expect(client.losses.count == round)
                    #expect(client.losses.last?.sqlState == "57P01")
                }
            }
        }
    }

    @Test("the COMMIT's reply is lost: the outcome is unknown, and the row is there")
    func lostCommitReply() async throws {
        try await TestDatabase.with { url in
            try await Self.prepare(url)
            try await FaultProxy.with(to: try port(of: url), speech: .postgres) { proxy in
                try await withClient(Self.configuration(change(url, port: proxy.port))) { client in
                    _ = try await client.connect()
                    #expect(await client.execute(Self.note, [.int8(1)]).error == nil)
                    proxy.silence(after: 0)
                    await client.submit([(Self.note, [.int8(2)])])
                    try await eventually("the server has answered") { await proxy.swallowedBytes() > 0 }
                    proxy.heal()
                    await proxy.cut(.close)
                    try await eventually("an answer") { client.answers.count == 1 }
                    let error = try #require(client.answers[0].error)
                    #expect(error.code == .connectionLost)
                    #expect(error.outcomeUnknown)
                    try await eventually("connected again") { client.backends.count == 2 }
                    let reread = PostgresStatement(
                        name: "",
                        sql: "SELECT id FROM notes WHERE id = $1",
                        parameterTypes: [.int8]
                    )
                    #expect(try await client.execute(reread, [.int8(2)]).get().count == 1)
                }
            }
        }
    }

    @Test("answers that arrived whole before the end of the connection count")
    func answersBeforeTheEnd() async throws {
        try await TestDatabase.with { url in
            try await Self.prepare(url)
            try await withClient(Self.configuration(url)) { client in
                _ = try await client.connect()
                // The last one ends its own backend, so the neighbours' answers and the end come together.
                let suicide = PostgresStatement(name: "", sql: "SELECT pg_terminate_backend(pg_backend_pid())")
                await client.submit((1...200).map { (Self.note, [.int8($0)]) } + [(suicide, [])])
                try await eventually("201 answers") { client.answers.count == 201 }
                #expect(client.answers.dropLast().allSatisfy { $0.error == nil })
                #expect(client.answers.last?.error?.outcomeUnknown == true)
            }
        }
    }

    @Test("drop() ends a connection that hangs, and the next one works")
    func dropped() async throws {
        try await FaultProxy.with(to: try port(of: try serverURL()), speech: .postgres) { proxy in
            let url = try change(try serverURL(), port: proxy.port)
            try await withClient(PostgresConnection.Configuration(url: url, applicationName: "tests")) { client in
                _ = try await client.connect()
                proxy.silence(after: 0)
                await client.submit([(PostgresStatement(name: "", sql: "SELECT 1"), [])])
                try await eventually("the server has answered") { await proxy.swallowedBytes() > 0 }
                proxy.heal()
                await client.onLoop { $0.drop("no answer to the renewal") }
                #expect(client.answers.first?.error?.outcomeUnknown == true)
                #expect(client.losses.map(\.message) == ["no answer to the renewal"])
                try await eventually("connected again") { client.backends.count == 2 }
            }
        }
    }

    @Test("a session gives up a server that falls silent, where that was asked for")
    func silence() async throws {
        try await FaultProxy.with(to: try port(of: try serverURL()), speech: .postgres) { proxy in
            let session = try await PostgresSession.open(
                url: try change(try serverURL(), port: proxy.port),
                applicationName: "tests",
                silenceLimit: .seconds(4)
            )
            // At rest it owes no answer.
            try await session.query("SELECT 1")
            try await Task.sleep(for: .seconds(5))
            try await session.query("SELECT 1")
            proxy.silence(after: 0)
            let error = await #expect(throws: PostgresError.self) { try await session.query("SELECT 1") }
            #expect(error?.isConnectionLost == true && error?.outcomeUnknown == true)
            await session.close()
            proxy.heal()
        }
    }

    @Test("a database that crashes and comes back")
    func crashAndRestart() async throws {
        try await PrivateDatabase.with { instance in
            try await Self.prepare(instance.url)
            try await PostgresSession.withSession(url: instance.url, applicationName: "tests") { other in
                try await other.query("SELECT pg_advisory_lock(1)")
                try await withClient(Self.configuration(instance.url)) { client in
                    let backend = try await client.connect()
                    await client.submit([(Self.note, [.int8(1)]), (Self.lock, [.int8(1)]), (Self.note, [.int8(2)])])
                    try await eventually("the lock is waited for") { try await Self.isWaiting(backend, other) }
                    try await instance.crash()
                    try await eventually("three answers") { client.answers.count == 3 }
                    #expect(client.answers[0].error == nil)
                    #expect(client.answers.dropFirst().map { $0.error?.outcomeUnknown } == [true, true])
                    try await eventually("a refused try") { !client.connectFailures.isEmpty }
                    #expect(client.connectFailures.allSatisfy { $0.code == .cannotConnect && $0.isRetriable })
                    try await instance.start()
                    try await eventually("connected again", within: .seconds(60)) { client.backends.count == 2 }
                    let rows = try await client.execute(PostgresStatement(name: "", sql: "SELECT id FROM notes")).get()
                    #expect((0..<rows.count).map { rows.int8($0, 0) } == [1])
                    #expect(client.losses.count == 1)
                    #expect(await client.execute(Self.note, [.int8(3)]).error == nil)
                }
            }
        }
    }
}
