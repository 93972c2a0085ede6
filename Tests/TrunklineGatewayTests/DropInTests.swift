import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

@testable import TrunklineGateway

/// A module that was built for EZWhatsApp, with another host and another token.
@Suite struct DropInTests {
    private func text(_ body: String = "Hi Marta.", more: String = "") -> String {
        #"{"to":"+34600111222","body":"\#(body)"\#(more)}"#
    }

    @Test func aTextIsQueuedInEZWhatsAppsShapes() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send], line: "line-02", purpose: .pickup)
            try await known(key, gateway)
            func post(_ json: String, key name: String?, bearer: String? = nil) async throws -> HTTPAnswer {
                let headers = name.map { [("Idempotency-Key", $0)] } ?? []
                let path = "/api/v1/messages/text"
                return try await gateway.ask("POST", path, key: bearer ?? key, headers: headers, json: json)
            }
            let button = #","ctaUrlButton":{"displayText":"See order","url":"https://shop.example.net/o/1"}"#
            let first = try await post(text(more: button), key: "order:1")
            #expect(first.status == 202 && first.member("status") == "queued" && first.member("lineId") == "line-02")
            #expect(first.member("attemptId").flatMap { Int($0) } != nil)
            let again = try await post(text(more: button), key: "order:1")
            #expect(again.body == first.body && again["Idempotency-Replayed"] == "true")

            // A key that is none of ours is known by its hash.
            let foreign = "Bestellung 7 / Größe 38"
            let hashed = try await post(text(), key: "order 7/fertig")
            let hash = "3c73b2911839b318a317c1673495d0877128293d793cd3423a1888f7bb2d57e9"
            #expect(hashed.status == 202)
            #expect(try await install.number("select count(*) from trunkline.jobs where key = 'h:\(hash)'") == 1)
            #expect(try DropIn.key(foreign).value.count == 66 && DropIn.key("order:1").value == "order:1")

            let (_, unbound) = try await install.makeAPIKey([.send])
            try await known(unbound, gateway)
            let cases: [(String, String?, String, Int, String)] = [
                (text("Other."), "order:1", key, 409, "idempotency_conflict"), (text(), nil, key, 400, "invalid_field"),
                ("{", "order:2", key, 400, "malformed"),
                (text(more: #","to":"+34600111222""#), "order:2", key, 400, "malformed"),
                (text(more: #","conversationId":"cv_1""#), "order:2", key, 400, "invalid_field"),
                (text(more: #","colour":"red""#), "order:2", key, 400, "invalid_field"),
                (#"{"to":"034600","body":"a"}"#, "order:2", key, 400, "invalid_field"),
                (#"{"to":"1203@g.us","body":"a"}"#, "order:2", key, 422, "policy"),
                (text(), "order:2", unbound, 403, "forbidden"), (text(), "order:2", "trk_no", 401, "unauthenticated"),
            ]
            for (json, name, bearer, status, code) in cases {
                let answer = try await post(json, key: name, bearer: bearer)
                #expect(
                    answer.status == status && answer.text.contains(#""code":"\#(code)""#),
                    "\(json): \(answer.text)"
                )
                #expect(answer.text.hasPrefix(#"{"error":{"#) && answer["Content-Type"] == "application/json")
            }
            _ = try install.startWorker()
            try await install.waitUntilSent(2)
            let purposes = try await install.text("select string_agg(distinct purpose, ',') from trunkline.finished")
            #expect(purposes == "pickup")
        }
    }

    @Test func healthIsWhatTheWorkersKnowOfTheLine() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send], line: "line-01")
            try await known(key, gateway)
            func health() async throws -> HTTPAnswer {
                try await gateway.ask("GET", "/api/v1/health?wakeup=false&channel_type=web", key: key)
            }
            let unasked = try await health()
            #expect(unasked.status == 200 && unasked.text.contains(#""sendable":true"#))
            try await install.trunkline(["line", "hold", "line-01", "--reason", "new phone"]).requireSuccess()
            let held = try await health()
            #expect(held.text.contains(#""effectiveSendState":"disabled","sendable":false"#))
        }
    }

    @Test(
        arguments: [
            ("unknown", "sendable"), ("open", "sendable"), ("ramping", "sendable"),
            ("probing", "temporarily_unavailable"),
            ("held_transient", "temporarily_unavailable"), ("held_human", "qr_required"),
        ]
    )
    func everyGateHasItsWord(_ gate: String, _ word: String) {
        #expect(DropIn.LineWords(gate: gate, isHeld: false).effective == word)
        #expect(DropIn.LineWords(gate: gate, isHeld: true).effective == "disabled")
    }
}
