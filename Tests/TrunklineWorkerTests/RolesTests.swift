import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// The roles that `trunkline roles` prints, on a real server: each can do its own commands and is refused the others.
@Suite struct RolesTests {
    @Test func eachRoleDoesItsOwnAndNothingElse() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let prefix = "r" + String(UInt64.random(in: 0 ... .max), radix: 36)
            let sql = try await install.trunkline(["roles", "--prefix", prefix]).requireSuccess().output
            let names = ["worker", "producer", "reader", "gateway"].map { prefix + "_" + $0 }
            func drop() async throws {
                for name in names { try await install.database.script("drop owned by \(name); drop role \(name)") }
            }
            // As after the next migration, too.
            for _ in 1...2 { try await install.database.script(sql) }
            do {
                for name in names { try await install.database.script("alter role \(name) password 'of-the-test'") }
                try await look(install, names)
            } catch {
                try await drop()
                throw error
            }
            try await drop()
        }
    }

    /// A gateway does what its routes do, and sees no secret of a line.
    private func lookAtGateway(
        _ install: TestInstall,
        _ url: String,
        isDenied: (String) async throws -> Void
    ) async throws {
        let gateway = try await install.startGateway(environment: ["TRUNKLINE_DATABASE_URL": url])
        let (_, key) = try await install.makeAPIKey()
        let path = "/v1/messages/order:g.1"
        let json = #"{"line":"line-01","key":"order:g.1","to":"+972501234567","body":"Hello","purpose":"order"}"#
        try await install.wait(for: "the gateway to accept") {
            try await gateway.ask("POST", "/v1/messages", key: key, json: json).status == 202
        }
        let conflict = try await gateway.ask(
            "POST",
            "/v1/messages",
            key: key,
            json: json.replacing("Hello", with: "Hi")
        )
        #expect(conflict.status == 422 && conflict.member("storedContent") != nil, "\(conflict.text)")
        #expect(try await gateway.ask("GET", path, key: key).status == 200)
        let time = #"{"notBefore":"2090-01-01T00:00:00Z"}"#
        #expect(try await gateway.ask("POST", path + "/reschedule", key: key, json: time).status == 200)
        #expect(try await gateway.ask("POST", path + "/cancel", key: key).status == 200)
        try await lookAtSource(install, gateway)
        #expect(!gateway.logText.contains("permission denied"), "\(gateway.logText)")
        for statement in [
            "select secret_sealed from trunkline.lanes", "select * from trunkline.lane_credentials",
            "insert into trunkline.api_keys select * from trunkline.api_keys",
            "update trunkline.api_keys set revoked_at = null",
            "update trunkline.lanes set address = 'https://evil.example'",
            "select trunkline.make_day('finished', current_date)",
            "delete from trunkline.ledger", "delete from trunkline.finished", "delete from trunkline.source_tokens",
            "update trunkline.inbox set outcome = null", "delete from trunkline.source_forgeries",
        ] {
            try await isDenied(statement)
        }
        gateway.kill()
        await gateway.end()
    }

    /// It opens what proves a sender, stores what it posts, and counts what others post.
    private func lookAtSource(_ install: TestInstall, _ gateway: TestInstall.GatewayHandle) async throws {
        let added = try await install.trunkline(
            [
                "source", "add", "shop", "--kind", "custom", "--workspace", "acme", "--secret-env", "TEST_SECRET",
                "--json",
            ],
            environment: ["TEST_SECRET": "a-bearer-token-0001"]
        ).requireSuccess().output
        let document = try JSONSerialization.jsonObject(with: Data(added.utf8)) as? [String: Any]
        let path = try #require(document?["intakePath"] as? String)
        let event =
            #"{"type":"order.paid","occurred_at":"2026-11-01T12:10:00Z","object":{"id":"1"},"customer":{"phone":"+34600111222"}}"#
        func post(_ secret: String, _ body: String) async throws -> Int {
            let headers = [("Authorization", "Bearer " + secret), ("Idempotency-Key", "e:1")]
            return try await gateway.ask("POST", path, headers: headers, json: body).status
        }
        try await install.wait(for: "the gateway to store an event") {
            try await post("a-bearer-token-0001", event) == 200
        }
        #expect(try await post("a-bearer-token-0001", event.replacing("1222", with: "1223")) == 422)
        #expect(try await post("a-bearer-token-0002", event) == 401)
        try await install.wait(for: "the forged one to be counted") {
            try await install.number("select count(*) from trunkline.source_forgeries") == 1
        }
        #expect(try await install.number("select count(*) from trunkline.refusals where kind = 'conflict'") == 2)
    }

    private func look(_ install: TestInstall, _ names: [String]) async throws {
        func url(_ role: String) throws -> String {
            var parts = try #require(URLComponents(string: install.databaseURL))
            parts.user = role
            parts.password = "of-the-test"
            return try #require(parts.string)
        }
        func run(_ role: String, _ arguments: [String], input: String? = nil) async throws -> TestInstall.Outcome {
            try await install.trunkline(
                arguments,
                input: input,
                environment: ["TRUNKLINE_DATABASE_URL": try url(role), "TEST_TOKEN": "ezw_line_x"]
            )
        }
        func isRefused(_ role: String, _ arguments: [String], input: String? = nil) async throws {
            let outcome = try await run(role, arguments, input: input)
            #expect(
                outcome.status != 0 && outcome.errors.contains("permission denied"),
                "\(role) \(arguments): \(outcome.status) \(outcome.errors)"
            )
        }
        func isDenied(_ role: String, _ statement: String) async throws {
            try await PostgresSession.withSession(url: try url(role), applicationName: "tests") { session in
                let error = await #expect(throws: PostgresError.self, "\(role): \(statement)") {
                    try await session.script(statement)
                }
                #expect(error?.sqlState == "42501", "\(role): \(statement)")
            }
        }
        let (worker, producer, reader) = (names[0], names[1], names[2])
        func notice(_ key: String, line: String = "line-01") throws -> String {
            String(decoding: try TestInstall.job(key, line: line).encode(), as: UTF8.self)
        }
        let send = [
            "send", "--line", "line-01", "--to", "+972501234567", "--purpose", "order", "--body", "Hello", "--key",
        ]

        // A producer accepts, also what is refused, and sees nothing.
        try await run(producer, ["enqueue", "-"], input: try notice("order:a.1")).requireSuccess()
        try await run(producer, send + ["order:a.2"]).requireSuccess()
        let mixed = try await run(
            producer,
            ["enqueue", "-"],
            input: try notice("order:a.1") + "\n" + notice("order:a.3", line: "nobody")
        )
        #expect(mixed.status == 3 && mixed.output.contains("1 repeat"), "\(mixed.output)\(mixed.errors)")
        #expect(try await install.number("select count(*) from trunkline.refusals") == 1)
        try await PostgresSession.withSession(url: try url(producer), applicationName: "tests") { session in
            let given = try await session.query(
                """
                select verdict from trunkline.enqueue(line => 'line-01', key => 'order:a.1', "to" => $1, body => $2, purpose => 'order')
                """,
                [.text(try TestInstall.job("order:a.1").to.value), .text(try TestInstall.job("order:a.1").body)]
            )
            #expect(given.text(0, 0) == "repeat")
        }
        for arguments in [
            ["status"], ["why", "order:a.1"], ["check"], ["line", "list"],
            ["line", "hold", "line-01", "--reason", "x"],
            ["cancel", "order:a.1"], ["refusals", "list"], ["parked", "list"],
        ] {
            try await isRefused(producer, arguments)
        }
        for statement in [
            "select * from trunkline.jobs", "select secret_sealed from trunkline.lanes",
            "select * from trunkline.lane_credentials",
            "select count(*) from trunkline.ledger",
            "update trunkline.lanes set address = 'https://evil.example'",
            "select trunkline.make_day('finished', current_date)",
            "delete from trunkline.jobs", "create table trunkline.mine (a int)",
            "select trunkline.keep_pace('{1}', '{1}')",
            "select * from trunkline.source_doors(0)", "select * from trunkline.source_tokens",
        ] {
            try await isDenied(producer, statement)
        }

        // A reader looks.
        for arguments in [
            ["status"], ["why", "order:a.1"], ["check"], ["line", "list"], ["line", "show", "line-01"],
            ["parked", "list"],
            ["refusals", "list"],
        ] {
            let outcome = try await run(reader, arguments)
            #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
        }
        try await isRefused(reader, send + ["order:a.4"])
        for arguments in [
            ["line", "hold", "line-01", "--reason", "x"], ["cancel", "order:a.1"], ["line", "preflight", "line-01"],
            ["reschedule", "order:a.1", "--not-before", "now"], ["worker"],
        ] {
            try await isRefused(reader, arguments)
        }
        for statement in [
            "select secret_sealed from trunkline.lanes", "select * from trunkline.lanes",
            "select * from trunkline.lane_credentials",
            "delete from trunkline.finished",
            "update trunkline.lane_state set gate = 'open'", "select nextval('trunkline.job_number')",
            "select * from trunkline.source_doors(0)", "select * from trunkline.source_tokens",
        ] {
            try await isDenied(reader, statement)
        }

        try await lookAtGateway(install, try url(names[3])) { try await isDenied(names[3], $0) }

        // A worker works, and changes no line.
        let process = try install.startWorker(["TRUNKLINE_DATABASE_URL": try url(worker)])
        try await install.waitUntilSent(2)
        try await install.publish(try TestInstall.jobs(20, lines: ["line-01"]))
        try await install.waitUntilSent(22)
        #expect(!process.logText.contains("permission denied"), "\(process.logText)")
        for arguments in [
            ["line", "set", "line-01", "--pace", "20/min"], ["cancel", "order:a.1"],
            [
                "line", "add", "other", "--workspace", "w", "--base-url", "http://127.0.0.1:1", "--token-env",
                "TEST_TOKEN",
            ],
        ] {
            try await isRefused(worker, arguments)
        }
        for statement in [
            "update trunkline.lanes set address = 'https://evil.example'", "drop table trunkline.jobs",
            "select trunkline.drop_day('finished', '2020-01-01')", "update trunkline.settings set value = '1'",
        ] {
            try await isDenied(worker, statement)
        }
        try await install.requireProof(sent: 22)
    }
}
