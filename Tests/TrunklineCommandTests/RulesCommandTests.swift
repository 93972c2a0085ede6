import Foundation
import TestKit
import Testing

/// `trunkline rules`, without a server around it.
@Suite struct RulesCommandTests {
    private static let rules = """
        logLevel: warning
        lines: {one: {timeZone: Europe/Madrid}}
        sources:
          shop:
            kind: custom
            country: ES
            language: es
            templates: {paid: {es: "Hola {{first_name}}", en: "Hello {{first_name}}"}}
            rules:
              - {when: order.paid, send: {line: one, template: paid}}
              - {when: order.ready, send: {line: one, template: paid}}
        """

    private static func payload(name: String = "Ana Ruiz") -> String {
        """
        {"type": "order.paid", "occurred_at": "2026-11-30T11:00:00Z", "object": {"id": "1042"},
         "customer": {"phone": "600 111 222", "name": "\(name)"}}
        """
    }

    private static func run(_ arguments: [String], rules: String = rules, payload: String = payload()) async throws
        -> Command.Outcome
    {
        try await Program.withFolder { folder in
            try rules.write(to: folder.appending(path: "trunkline.yaml"), atomically: true, encoding: .utf8)
            try "Content-Type: application/json\n"
                .write(to: folder.appending(path: "headers"), atomically: true, encoding: .utf8)
            return try await Program.run(["rules"] + arguments, input: payload, folder: folder)
        }
    }

    private static let test = [
        "test", "--source", "shop", "--payload", "-", "--headers", "headers", "--at", "2026-11-30T12:00:00Z",
    ]

    @Test("rules check: 0 and a count, or 3 and everything that is wrong, with places")
    func check() async throws {
        let good = try await Self.run(["check"])
        #expect(good.status == 0)
        #expect(good.output.contains("1 sources, 2 rules, nothing wrong"))

        let bad = Self.rules.replacing("template: paid}}\n", with: "template: payed}}\n") + "\ncolour: red\n"
        let refused = try await Self.run(["check"], rules: bad)
        #expect(refused.status == 3)
        #expect(refused.errors.contains("trunkline.yaml: sources.shop.rules[0].send.template (line 10): "))
        #expect(refused.errors.contains("colour (line 12)"))

        let json = try await Self.run(["check", "--json"], rules: bad)
        #expect(json.status == 3)
        let document = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect((document?["problems"] as? [[String: Any]])?.count == 2)
        #expect(document?["ok"] as? Bool == false)

        let none = try await Self.run(["check", "--file", "nowhere.yaml"])
        #expect(none.status == 2)
    }

    @Test("rules test: shows the notice with a masked number, and why the other rule is silent")
    func test() async throws {
        let text = try await Self.run(Self.test)
        #expect(text.status == 0, "\(text.errors)")
        #expect(text.errors.contains("The signature is not verified, and nothing is sent."))
        #expect(text.output.contains("order:shop.1042:paid"))
        #expect(text.output.contains("| Hola Ana"))
        #expect(text.output.contains("2026-12-01 11:00:00Z"))
        #expect(text.output.contains("sources.shop.rules[1]: this is order.paid, and the rule is for order.ready"))
        #expect(!text.output.contains("600111222"))

        let revealed = try await Self.run(Self.test + ["--reveal"])
        #expect(revealed.output.contains("+34600111222"))

        let json = try await Self.run(Self.test + ["--json"])
        #expect(json.status == 0)
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        )
        let notices = try #require(document["notices"] as? [[String: Any]])
        #expect(notices.map { $0["key"] as? String } == ["order:shop.1042:paid"])
        #expect(notices.first?["sendBefore"] as? String == "2026-12-01T11:00:00Z")
        #expect(document["signatureVerified"] as? Bool == false)
        #expect(!json.output.contains("600111222"))
    }

    @Test("rules test: 3 for a notice that cannot be made, and for what is no event; 2 for what was asked wrongly")
    func refusals() async throws {
        let nameless = try await Self.run(Self.test, payload: Self.payload(name: " "))
        #expect(nameless.status == 3)
        #expect(nameless.output.contains("sources.shop.rules[0] fails: the template paid needs first_name"))

        #expect(try await Self.run(Self.test, payload: "{").status == 3)
        let campaign = try await Self.run(Self.test, payload: "{\"type\": \"campaign.sent\"}")
        #expect(campaign.status == 3)
        #expect(campaign.output.contains("refused by policy (campaign)"))

        var other = Self.test
        other[2] = "nobody"
        let unknown = try await Self.run(other)
        #expect(unknown.status == 2)
        #expect(unknown.errors.contains("has no source nobody; it has shop"))
        #expect(try await Self.run(["test", "--source", "shop"]).status == 2)
        #expect(try await Self.run(Self.test + ["--at", "today"]).status == 3)
    }

    @Test("a configuration with rules in it serves all other commands as before, and unknown keys stay refused")
    func settings() async throws {
        try await Program.withFolder { folder in
            let file = folder.appending(path: "trunkline.yaml")
            try Self.rules.write(to: file, atomically: true, encoding: .utf8)
            // No database is named: that the command asks for one shows that the file was read.
            let good = try await Program.run(["status"], folder: folder)
            #expect(good.status == 2 && good.errors.contains("TRUNKLINE_DATABASE_URL"))
            try (Self.rules + "\nrules: []\n").write(to: file, atomically: true, encoding: .utf8)
            let bad = try await Program.run(["status"], folder: folder)
            #expect(bad.status == 2 && bad.errors.contains("the key 'rules' is not known"))
        }
    }
}
