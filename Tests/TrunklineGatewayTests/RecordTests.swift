import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// What senders say about people and orders, and what is said to senders about themselves.
@Suite struct RecordTests {
    @Test func theNewestFactWins() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            func put(_ path: String, _ json: String) async throws -> HTTPAnswer {
                try await gateway.ask("PUT", path, key: key, json: json)
            }
            let contact = "/v1/contacts/+34600111222"
            let new = #"{"factAt":"2026-11-02T09:00:00Z","name":"Marta Soler","language":"es"}"#
            let old = #"{"factAt":"2026-11-01T09:00:00Z","name":"Marta","language":"es"}"#
            let first = try await put(contact, new)
            #expect(first.status == 200 && first.text == #"{"verdict":"stored","older":[]}"#)
            #expect(try await put("/v1/contacts/%2B34600111222", new).text == #"{"verdict":"same","older":[]}"#)
            #expect(try await put(contact, old).text == #"{"verdict":"older","older":["name"]}"#)
            let name = "select facts ->> 'name' from trunkline.contacts where workspace = 'acme'"
            #expect(try await install.text(name) == "Marta Soler")
            let order = #"{"phone":"+34600111222","state":"shipped","total":{"amount":"84.50","currency":"EUR"}}"#
            #expect(try await put("/v1/orders/shop%2F1042", order).member("verdict") == "stored")
            #expect(try await install.text("select id from trunkline.orders") == "shop/1042")

            let cases: [(String, String, Int, String?)] = [
                ("/v1/contacts/34600111222", new, 400, "phone"), ("/v1/contacts/1203@g.us", new, 422, "phone"),
                (contact, "{}", 400, nil), (contact, #"{"colour":"red"}"#, 400, "colour"), (contact, "[", 400, nil),
                (contact, #"{"name":"a","name":"b"}"#, 400, "name"), (contact, #"{"country":"Spain"}"#, 400, "country"),
                (contact, #"{"factAt":"2099-01-01T00:00:00Z","name":"a"}"#, 400, "factAt"),
                ("/v1/orders/" + String(repeating: "1", count: 129), order, 400, "id"),
                ("/v1/orders/1", #"{"total":{"amount":"84,5","currency":"EUR"}}"#, 400, "total"),
            ]
            for (path, json, status, field) in cases {
                let answer = try await put(path, json)
                #expect(answer.status == status, "\(path) \(json): \(answer.text)")
                if let field { #expect(answer.member("field") == field, "\(path) \(json): \(answer.text)") }
            }
            #expect(!gateway.logText.contains("600111222"))
        }
    }

    @Test func habitsThatMakeARetryAnotherMessageAreSaidOnceAndCounted() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (id, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            func post(_ name: String) async throws -> HTTPAnswer {
                try await gateway.ask("POST", "/v1/messages", key: key, json: notice(name))
            }
            let good = try await post("order:1")
            #expect(good.status == 202 && good["Trunkline-Warning"] == nil)
            let random = "order:1:7f3e9c1a-52d4-4e0b-9b0f-3c1d2e4f5a6b"
            let warned = try await post(random)
            #expect(warned.status == 202 && warned["Trunkline-Warning"] == "key_is_random, same_text")
            let again = try await post(random)
            #expect(again.body == warned.body && again["Trunkline-Warning"] == nil)
            let batch = try await gateway.ask(
                "POST",
                "/v1/messages/batch",
                key: key,
                json: #"{"messages":[\#(notice("order:2")),\#(notice("order:3", body: "Another text."))]}"#
            )
            #expect(results(batch).map { $0["warnings"] as? [String] } == [["same_text"], nil])
            try await install.wait(for: "the count") {
                let rows = "select count(*) from trunkline.lint_findings where caller = '\(id)' and rule = 'same_text'"
                return try await install.number(rows) == 1
            }
        }
    }
}
