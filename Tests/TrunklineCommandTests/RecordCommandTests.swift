import Foundation
import PostgresDriver
import TestKit
import Testing

@Suite struct RecordCommandTests {
    @Test func aFileIsImportedAndShown() async throws {
        try await TestDatabase.with { url in
            let environment = ["TRUNKLINE_DATABASE_URL": url]
            func run(_ arguments: [String], _ status: Int32, input: String? = nil) async throws -> (String, String) {
                let run = try await Program.run(arguments, environment: environment, input: input)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return (run.output, run.errors)
            }
            _ = try await run(["migrate", "--shards", "4"], 0)
            let take = ["contacts", "import", "-", "--workspace", "acme"]
            let file =
                "phone,name,factAt\n+972501234567,Dana,2026-12-01T09:00:00Z\n+34600111222,Marta,2026-12-01T09:00:00Z\n"
            #expect(try await run(take, 0, input: file).0.contains("2 rows: 2 stored"))
            #expect(try await run(take, 0, input: file).0.contains("2 rows: 2 same"))
            let older = "phone,name,factAt\n+972501234567,D.,2026-11-01T09:00:00Z\n050,X,\n"
            let mixed = try await run(take, 3, input: older).0
            #expect(mixed.contains("row 2: older: newer facts stand against name"))
            #expect(mixed.contains("row 3, phone: refused") && mixed.contains("2 rows: 1 older, 1 refused"))
            let rows = try await run(take + ["--json"], 3, input: older).0.split(separator: "\n")
            #expect(rows.count == 3 && rows[0].contains(#""verdict":"older""#) && rows[1].contains(#""field":"phone""#))
            _ = try await run(take, 2, input: "phone,body\n")
            _ = try await run(["contacts", "import", "-"], 2, input: file)

            let shown = try await run(["contacts", "show", "+972501234567", "--workspace", "acme"], 0).0
            #expect(shown.contains("Dana  (2026-12-01") && shown.contains("orders"))
            let document = try #require(
                try JSONSerialization.jsonObject(
                    with: Data(
                        try await run(["contacts", "show", "+972501234567", "--workspace", "acme", "--json"], 0).0.utf8
                    )
                ) as? [String: Any]
            )
            #expect(document["name"] as? String == "Dana" && document["ordersCount"] as? Int == 0)
            #expect((document["times"] as? [String: String])?["name"] == "2026-12-01T09:00:00Z")
            // Another workspace knows nobody; what is said of that names no number.
            let nobody = try await run(["contacts", "show", "+972501234567", "--workspace", "other"], 1)
            #expect(nobody.1.contains("knows nobody") && !nobody.1.contains("1234567"))
            #expect(try await run(["orders", "show", "shop.1", "--workspace", "acme"], 1).1.contains("no order"))
        }
    }

    @Test func habitsOfCallersAreListed() async throws {
        try await TestDatabase.with { url in
            let environment = [
                "TRUNKLINE_DATABASE_URL": url,
                "TRUNKLINE_MASTER_KEY": Data((1...32).map { UInt8($0) }).base64EncodedString(),
                "EZW_TOKEN": "ezw_line_x",
            ]
            func run(_ arguments: [String], _ status: Int32, input: String? = nil) async throws -> String {
                let run = try await Program.run(arguments, environment: environment, input: input)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return run.output
            }
            _ = try await run(["migrate", "--shards", "4"], 0)
            _ = try await run(
                [
                    "line", "add", "il", "--workspace", "acme", "--base-url", "http://127.0.0.1:1/api/v1",
                    "--token-env",
                    "EZW_TOKEN", "--no-check",
                ],
                0
            )
            #expect(try await run(["lint", "list"], 0).contains("nothing was met"))
            func notice(_ key: String) -> String {
                #"{"schema":"trunkline.send.v1","line":"il","key":"\#(key)","to":"+972501234567","body":"Hello","purpose":"order"}"#
            }
            _ = try await run(
                [
                    "send", "--line", "il", "--to", "+972501234567", "--body", "Hello", "--purpose", "order", "--key",
                    "9f86d081884c7d65",
                ],
                0
            )
            _ = try await run(["enqueue", "-"], 0, input: notice("order:a.1:ready") + "\n" + notice("order:a.2:ready"))
            let list = try await run(["lint", "list", "--workspace", "acme"], 0)
            #expect(list.contains("9f86d081884c7d65") && list.contains("order:a.2:ready"))
            #expect(list.contains("same_text: the same text"))
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(try await run(["lint", "list", "--json"], 0).utf8))
                    as? [String: [[String: Any]]]
            )
            #expect(
                Set(document["findings"]?.compactMap { $0["rule"] as? String } ?? []) == ["key_is_random", "same_text"]
            )
            #expect(document["findings"]?.allSatisfy { $0["caller"] as? String == "cli" } == true)
            let texts = try await run(["lint", "list", "--texts"], 0)
            #expect(
                texts.contains("9f86d081884c7d65") && texts.contains("order:a.2:ready") && !texts.contains("1234567")
            )
            #expect(try await run(["lint", "list", "--workspace", "other"], 0).contains("nothing was met"))
        }
    }

    @Test func anOrderIsShown() async throws {
        try await TestDatabase.with { url in
            let environment = ["TRUNKLINE_DATABASE_URL": url]
            let migrated = try await Program.run(["migrate", "--shards", "4"], environment: environment)
            #expect(migrated.status == 0, "\(migrated.errors)")
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                try await session.script(
                    """
                    select trunkline.put_orders(array['acme'], array['shop.1'], array['{"phone":"+34600111222","number":"#1",
                        "total":{"amount":"84.50","currency":"EUR"},"links.status":"https://shop.example/o/1","state":"paid"}'],
                        array['2026-12-01T09:00:00Z'::timestamptz])
                    """
                )
            }
            let order = try await Program.run(
                ["orders", "show", "shop.1", "--workspace", "acme"],
                environment: environment
            )
            #expect(order.status == 0 && order.output.contains("84.50 EUR"), "\(order.output)\(order.errors)")
            let json = try await Program.run(
                ["orders", "show", "shop.1", "--workspace", "acme", "--json"],
                environment: environment
            )
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any],
                "\(json.output)\(json.errors)"
            )
            #expect((document["links"] as? [String: String])?["status"] == "https://shop.example/o/1")
            #expect((document["total"] as? [String: String])?["amount"] == "84.50")
            // Also of a person about whom nobody said anything else.
            let person = try await Program.run(
                ["contacts", "show", "+34600111222", "--workspace", "acme"],
                environment: environment
            )
            #expect(person.status == 0 && person.output.contains("shop.1"), "\(person.output)\(person.errors)")
        }
    }
}
