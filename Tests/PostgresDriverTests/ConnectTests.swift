import Foundation
import Glibc
import TestKit
import Testing

@testable import PostgresDriver

@Suite("Connecting", .timeLimit(.minutes(3)))
struct ConnectTests {
    private static func failure(_ url: String, timeout: Duration = .seconds(5)) async throws -> PostgresError {
        do {
            let session = try await PostgresSession.open(url: url, applicationName: "tests", connectTimeout: timeout)
            await session.close()
        } catch {
            return error
        }
        Issue.record("connected")
        throw CancellationError()
    }

    @Test("a closed port")
    func closedPort() async throws {
        let error = try await Self.failure(change(try serverURL(), port: refusingPort))
        #expect(error.code == .cannotConnect)
        #expect(error.isRetriable)
        #expect(error.message.contains("refused") && error.message.contains("\(refusingPort)"))
    }

    @Test(
        "the private servers of the tests are open to nobody else: what a user of the machine can reach asks for a password"
    )
    func privateServers() async throws {
        let url = try serverURL()
        for user in ["postgres", "nobody"] {
            let error = try await Self.failure("host=127.0.0.1 port=\(try port(of: url)) user=\(user) dbname=postgres")
            #expect(error.message.contains("password"), "\(error)")
        }
        let dev = URL(fileURLWithPath: try TestEnvironment.variable("TRUNKLINE_TEST_DEV")).deletingLastPathComponent()
        for file in [".dev/password", ".dev/test/env", ".dev/test/broker/rabbitmq.conf"] {
            let path = dev.appending(path: file).path
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600, "\(file)")
        }
    }

    @Test("a database that does not exist")
    func wrongDatabase() async throws {
        let error = try await Self.failure(change(try serverURL(), database: "no_such_database"))
        #expect(error.code == .cannotConnect)
        #expect(error.sqlState == "3D000")
        #expect(!error.isRetriable)
        #expect(error.message.hasSuffix(#"database "no_such_database" does not exist"#))
    }

    @Test("right and wrong passwords (SCRAM), and none of them in an error")
    func passwords() async throws {
        try await PrivateDatabase.with { instance in
            try await PostgresSession.withSession(url: instance.url, applicationName: "tests") { session in
                try await session.query("SET password_encryption = 'scram-sha-256'")
                try await session.query("CREATE ROLE dana LOGIN PASSWORD 'open sesame'")
                let file = try #require(try await session.query("SHOW hba_file").text(0, 0))
                try await session.query(
                    """
                    COPY (VALUES ('host all dana 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust'))
                    TO '\(file)'
                    """
                )
                try await session.query("SELECT pg_reload_conf()")
            }
            let url = try change(instance.url, user: "dana", database: "postgres")
            let port = try port(of: url)
            // The server reads its file when it gets the signal, so the first tries may meet the old rules.
            try await eventually("the password is asked for") {
                do {
                    let session = try await PostgresSession.open(url: url, applicationName: "tests")
                    await session.close()
                    return false
                } catch {
                    return true
                }
            }
            let good = "host=127.0.0.1 port=\(port) user=dana dbname=postgres password='open sesame'"
            try await PostgresSession.withSession(url: good, applicationName: "tests") { session in
                let rows = try await session.query("SELECT current_user::text")
                #expect(rows.text(0, 0) == "dana")
            }
            let wrong = try await Self.failure(
                "host=127.0.0.1 port=\(port) user=dana dbname=postgres password=opensaysme"
            )
            #expect(wrong.code == .cannotConnect)
            #expect(wrong.sqlState == "28P01")
            #expect(!wrong.isRetriable)
            #expect(wrong.message.contains(#"password authentication failed for user "dana""#))
            #expect(!"\(wrong)".contains("opensaysme"))
        }
    }

    @Test(
        "a URL that cannot be read is never repeated",
        arguments: [
            "postgresql://dana:hunter2@host:port/db?sslmode=hunter2", "hunter2", "postgresql://u@h/db?hunter2=1",
            "postgresql://dana:hunter2/x@127.0.0.1/db", "host=a,b port=1,2,3 password=hunter2",
        ]
    )
    func unreadableURL(url: String) async throws {
        let error = try await Self.failure(url)
        #expect(error.code == .invalidURL && !error.isRetriable)
        #expect(!"\(error)".contains("hunter2"))
    }

    @Test("a server that accepts and says nothing is given up after the time-out")
    func silentServer() async throws {
        let listener = Listener()
        let url = try change(try serverURL(), port: listener.port)
        let error = try await Self.failure(url, timeout: .milliseconds(200))
        #expect(error.code == .cannotConnect)
        #expect(error.isRetriable)
        #expect(error.message.contains("within"))
    }

    @Test("a host that nobody routes to is given up after the time-out")
    func unreachableHost() async throws {
        // TEST-NET-1: where the network answers at once that it is unreachable, that answer is as good.
        let error = try await Self.failure("postgresql://u@192.0.2.1:5432/db", timeout: .milliseconds(300))
        #expect(error.code == .cannotConnect)
        #expect(error.isRetriable)
    }

    @Test("names are looked up beside the loop")
    func names() async throws {
        let url = try serverURL()
        let login = "user=postgres dbname=postgres password=\(try password(of: url))"
        let named = "host=localhost port=\(try port(of: url)) \(login)"
        try await PostgresSession.withSession(url: named, applicationName: "tests") { session in
            let rows = try await session.query("SELECT 1")
            #expect(rows.int4(0, 0) == 1)
        }
        let unknown = try await Self.failure("postgresql://u@no-such-host.invalid/db")
        #expect(unknown.code == .cannotConnect)
        #expect(unknown.message.contains("address") || unknown.message.contains("within"))
        // The first server is down, the second is there.
        let list = "host=127.0.0.1,localhost port=\(refusingPort),\(try port(of: url)) \(login)"
        try await PostgresSession.withSession(url: list, applicationName: "tests") { session in
            let rows = try await session.query("SELECT 1")
            #expect(rows.int4(0, 0) == 1)
        }
    }

    @Test("a server that answers nothing does not keep the next one of the list from its turn")
    func silentFirstServer() async throws {
        let listener = Listener()
        let url = try serverURL()
        let login = "user=postgres dbname=postgres password=\(try password(of: url))"
        let list = "host=127.0.0.1,127.0.0.1 port=\(listener.port),\(try port(of: url)) \(login)"
        try await withClient(
            PostgresConnection.Configuration(
                url: list,
                applicationName: "tests",
                connectTimeout: .milliseconds(500)
            )
        ) { client in
            _ = try await client.connect()
            #expect(client.connectFailures.count == 1)
        }
    }

    @Test("of several servers the one that can be written to is taken, unless the URL says otherwise")
    func severalServers() throws {
        func attributes(_ url: String) throws -> [String] {
            try ConnectionParameters(url: url).keywords(applicationName: "tests").filter {
                $0.keyword == "target_session_attrs"
            }.map(\.value)
        }
        #expect(try attributes("postgresql://u@127.0.0.1/db") == [])
        #expect(try attributes("postgresql://u@127.0.0.1:1,127.0.0.1:2/db") == ["read-write"])
        #expect(try attributes("postgresql://u@127.0.0.1:1,127.0.0.1:2/db?target_session_attrs=any") == ["any"])
        let three = try ConnectionParameters(url: "host=a,b,c port=1,2,3")
        #expect(three.rotated(by: 4).hosts.map(\.name) == ["b", "c", "a"])
        #expect(three.rotated(by: 4).hosts.map(\.port) == ["2", "3", "1"])
    }

    @Test("the parameters that reach the server, and the backend's identity")
    func parameters() async throws {
        let settings = [("lock_timeout", "1234ms"), ("work_mem", "5MB")]
        let name = "worker'; -- \\ ü"
        let configuration = PostgresConnection.Configuration(
            url: try serverURL() + "?application_name=other&client_encoding=LATIN1",
            applicationName: name,
            settings: settings
        )
        try await withClient(configuration) { client in
            let backend = try await client.connect()
            let rows = try await client.execute(
                PostgresStatement(
                    name: "",
                    sql: """
                        SELECT current_setting('lock_timeout'), current_setting('work_mem'), current_setting('client_encoding'),
                               pg_backend_pid(), 'ü'
                        """
                )
            ).get()
            #expect((0..<3).map { rows.text(0, $0) } == ["1234ms", "5MB", "UTF8"])
            #expect(rows.int4(0, 3) == backend.pid)
            #expect(rows.text(0, 4) == "ü")
        }
    }

    @Test("a statement that cannot be prepared is named, and tried again until it can be")
    func unpreparable() async throws {
        try await TestDatabase.with { url in
            let statement = PostgresStatement(name: "count_boats", sql: "SELECT count(*) FROM boats")
            try await withClient(
                PostgresConnection.Configuration(url: url, applicationName: "tests", statements: [statement])
            ) { client in
                await client.onLoop { $0.connect() }
                try await eventually("a failed try") { !client.connectFailures.isEmpty }
                let error = try #require(client.connectFailures.first)
                #expect(error.code == .cannotConnect)
                #expect(error.sqlState == "42P01")
                #expect(error.message.contains("count_boats") && error.message.contains("boats"))
                #expect(client.losses.isEmpty)
                #expect(await client.execute(statement).error?.code == .notConnected)
                try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                    try await session.query("CREATE TABLE boats ()")
                }
                try await eventually("connected") { !client.backends.isEmpty }
                #expect(try await client.execute(statement).get().int8(0, 0) == 0)
            }
        }
    }

    @Test("a setting that the server does not know is named")
    func unknownSetting() async throws {
        let configuration = PostgresConnection.Configuration(
            url: try serverURL(),
            applicationName: "tests",
            settings: [("no_such_setting", "1")],
            reconnects: false
        )
        try await withClient(configuration) { client in
            await client.onLoop { $0.connect() }
            try await eventually("a failed try") { client.connectFailures.count == 1 }
            #expect(client.connectFailures[0].message.contains("no_such_setting"))
            #expect(await client.onLoop { $0.isClosed })
        }
    }

    @Test("close() while connecting, looking up a name, waiting to try again: silence")
    func closeWhileConnecting() async throws {
        let listener = Listener()
        let urls = [
            try change(try serverURL(), port: listener.port), "postgresql://u@no-such-host.invalid/db",
            try change(try serverURL(), port: refusingPort),
        ]
        for url in urls {
            let configuration = PostgresConnection.Configuration(
                url: url,
                applicationName: "tests",
                // On a busy machine the usual one may be over before anybody closes.
                connectTimeout: .seconds(120)
            )
            try await withClient(configuration) { client in
                let isRefused = url == urls[2]
                await client.onLoop { $0.connect() }
                if isRefused { try await eventually("refused") { !client.connectFailures.isEmpty } }
                let before = client.events.count
                await client.onLoop { $0.close() }
                let after = client.events.count
                // Turns pass; what was under way would be told in one of them.
                for _ in 0..<3 {
                    #expect(await client.execute(PostgresStatement(name: "", sql: "SELECT 1")).error != nil)
                }
                #expect(client.events.count == after)
                #expect(url != urls[0] || before == 0)
                #expect(await client.onLoop { $0.isClosed && !$0.isConnected })
                await client.onLoop {
                    $0.connect()
                    $0.close()
                }
                #expect(client.backends.isEmpty)
            }
        }
    }

    @Test("close() with statements in flight fails them before it returns, and nobody hears of a disconnection")
    func closeInFlight() async throws {
        try await withClient(
            PostgresConnection.Configuration(url: try serverURL(), applicationName: "tests")
        ) { client in
            _ = try await client.connect()
            let sleep = PostgresStatement(name: "", sql: "SELECT pg_sleep(3)")
            await client.submit([(sleep, []), (sleep, [])])
            let open = await client.onLoop { connection in
                let before = connection.inFlight
                connection.close()
                return (before, connection.inFlight)
            }
            #expect(open == (2, 0))
            #expect(client.answers.map { $0.error?.code } == [.connectionLost, .connectionLost])
            #expect(client.answers.map { $0.error?.outcomeUnknown } == [true, true])
            #expect(client.losses.isEmpty)
            #expect(await client.execute(sleep).error?.code == .notConnected)
        }
    }

    @Test("close() from within a completion")
    func closeInCompletion() async throws {
        try await withClient(
            PostgresConnection.Configuration(url: try serverURL(), applicationName: "tests")
        ) { client in
            _ = try await client.connect()
            let one = PostgresStatement(name: "", sql: "SELECT 1")
            await client.onLoop { connection in
                connection.execute(one, []) { _ in connection.close() }
            }
            await client.submit([(one, []), (one, [])])
            try await eventually("two answers") { client.answers.count == 2 }
            #expect(client.answers.allSatisfy { $0.error?.isConnectionLost == true })
        }
    }

    @Test("the waits between tries: bounded, growing bound, repeatable from a seed")
    func backoff() {
        for seed in UInt64(0)..<200 {
            var first = Backoff()
            var second = Backoff()
            var generator: any RandomNumberGenerator = SeededGenerator(seed: seed)
            var same: any RandomNumberGenerator = SeededGenerator(seed: seed)
            for failure in 1...40 {
                let wait = first.next(using: &generator)
                #expect(wait == second.next(using: &same))
                #expect(wait >= .milliseconds(100))
                #expect(wait <= min(.seconds(3), .milliseconds(100 << min(failure, 20))))
            }
            first.reset()
            #expect(first.next(using: &generator) <= .milliseconds(200))
        }
    }

    @Test("libpq's words for a refused connection: code and message, one line per server")
    func refusals() {
        let text = """
            connection to server at "127.0.0.1", port 1 failed: Connection refused
            \tIs the server running on that host and accepting TCP/IP connections?
            connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed for user "u"
            DETAIL:  Role "u" has a secret.
            LOCATION:  auth_failed, auth.c:338

            """
        let error = PostgresConnector.error(from: text)
        #expect(error.sqlState == "28P01")
        #expect(error.message.hasSuffix(#"port 5432 failed: FATAL: password authentication failed for user "u""#))
        #expect(!error.message.contains("secret") && !error.message.contains("LOCATION"))
        #expect(PostgresConnector.error(from: "").message == "no reason was given")
    }

    @Test("quoted values are blotted out of data errors only")
    func blotting() {
        let value = #"invalid input syntax for type integer: "+97250 "Dana"""#
        #expect(safeMessage(value, sqlState: "22P02") == #"invalid input syntax for type integer: "…""#)
        #expect(safeMessage("division by zero", sqlState: "22012") == "division by zero")
        #expect(
            safeMessage(#"relation "boats" does not exist"#, sqlState: "42P01") == #"relation "boats" does not exist"#
        )
        #expect(safeMessage(#"value "12 is"#, sqlState: "22003") == #"value "…""#)
    }
}
