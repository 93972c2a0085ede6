import Foundation
import TestKit
import Testing

/// `trunkline apply` and `trunkline rules show`.
@Suite struct ApplyCommandTests {
    private static let rules = """
        databaseURL: postgres://nobody:TOPSECRET@127.0.0.1:1/nothing
        # A comment.
        lines: {one: {timeZone: Europe/Madrid}}
        sources:
          shop:
            kind: custom
            country: ES
            language: es
            templates: {paid: {es: "Hola {{first_name}}", en: "Hello {{first_name}}"}}
            rules:
              - {when: order.paid, send: {line: one, template: paid}}
              - {when: order.ready, if: {country: ES}, send: {line: one, template: paid}}
        """

    private struct Install {
        let folder: URL
        let environment: [String: String]

        func run(_ arguments: [String], _ status: Int32 = 0) async throws -> Command.Outcome {
            let outcome = try await Program.run(arguments, environment: environment, folder: folder)
            #expect(outcome.status == status, "\(arguments): \(outcome.errors)\(outcome.output)")
            return outcome
        }

        func apply(_ rules: String, _ more: [String] = [], _ status: Int32 = 0) async throws -> Command.Outcome {
            try rules.write(to: folder.appending(path: "rules.yaml"), atomically: true, encoding: .utf8)
            return try await run(["apply", "-f", "rules.yaml"] + more, status)
        }

        func addLine(_ id: String, workspace: String = "acme") async throws {
            _ = try await run([
                "line", "add", id, "--workspace", workspace, "--token-env", "TOKEN", "--base-url",
                "https://127.0.0.1:1/api/v1",
                "--no-check",
            ])
        }

        func addSource(_ id: String, workspace: String = "acme") async throws {
            _ = try await run([
                "source", "add", id, "--kind", "custom", "--country", "ES", "--workspace", workspace, "--secret-env",
                "TOKEN",
            ])
        }
    }

    private static func withInstall(_ body: (Install) async throws -> Void) async throws {
        try await TestDatabase.with { url in
            try await Program.withFolder { folder in
                let install = Install(
                    folder: folder,
                    environment: [
                        "TRUNKLINE_DATABASE_URL": url, "TOKEN": "ezw_line_0123456789",
                        "TRUNKLINE_MASTER_KEY": Program.masterKey,
                    ]
                )
                _ = try await install.run(["migrate", "--shards", "4"])
                try await body(install)
            }
        }
    }

    @Test("apply: shows what changes, changes it once, and keeps nothing of the file but the rules")
    func apply() async throws {
        try await Self.withInstall { install in
            try await install.addLine("one")
            try await install.addSource("shop")
            #expect(try await install.run(["rules", "show"], 1).errors.contains("there are no rules"))

            let dry = try await install.apply(Self.rules, ["--dry-run"])
            #expect(dry.output.contains("+ sources.shop: 2 rules") && dry.output.contains("nothing was changed"))
            _ = try await install.run(["rules", "show"], 1)

            let first = try await install.apply(Self.rules)
            #expect(first.output.contains("none so far") && first.output.contains("+ lines.one"))
            #expect(first.output.contains("in force for workspace acme: revision 1"))
            // A comment and a password are none of it.
            let again = try await install.apply(Self.rules.replacing("# A comment.", with: "# Another one."))
            #expect(again.output == "nothing to change for workspace acme, revision 1 is in force\n")

            let shown = try await install.run(["rules", "show"]).output
            #expect(shown.contains("workspace acme, revision 1") && shown.contains("Hola {{first_name}}"))
            #expect(!shown.contains("TOPSECRET") && !shown.contains("databaseURL"))

            let changed = Self.rules.replacing("Hola ", with: "Buenos días ")
                .replacing("{country: ES}", with: "{country: [ES, PT]}")
            let second = try await install.apply(changed)
            #expect(second.output.contains("~ sources.shop.templates.paid"))
            #expect(
                second.output.contains(
                    "~ sources.shop.rules[1]: order.ready (country ES) sends paid on one becomes "
                        + "order.ready (country ES, PT) sends paid on one"
                )
            )
            #expect(!second.output.contains("rules[0]") && second.output.contains("revision 2"))
            #expect(try await install.run(["rules", "show", "--revision", "1"]).output.contains("Hola"))

            // Rules that move are the same rules.
            let one = changed.split(separator: "\n").filter { !$0.contains("order.paid") }.joined(separator: "\n")
            let json = try await install.apply(one, ["--json"])
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
            )
            #expect(document["revision"] as? Int == 3 && document["applied"] as? Bool == true)
            let changes = try #require(document["changes"] as? [[String: String]])
            #expect(changes.map { $0["change"] } == ["removed"])
            #expect(changes.first?["path"] == "sources.shop.rules[0]")
        }
    }

    @Test("apply: what the rules name must be there, of one workspace, and as the rules have it")
    func refusals() async throws {
        try await Self.withInstall { install in
            let nobody = try await install.apply(Self.rules, [], 3)
            #expect(nobody.errors.contains("rules.yaml: lines.one: there is no line one"))
            #expect(nobody.errors.contains("rules.yaml: sources.shop: there is no source shop"))
            try await install.addLine("one")
            try await install.addSource("shop", workspace: "other")
            let split = try await install.apply(Self.rules, [], 3).errors
            #expect(split.contains("sources.shop: the source shop is not of workspace acme"))
            #expect(try await install.apply(Self.rules, ["--workspace", "other"], 3).errors.contains("lines.one"))
            try await install.addSource("store")
            let mine = Self.rules.replacing("  shop:", with: "  store:")
            let kind = mine.replacing("kind: custom", with: "kind: shopify")
            #expect(try await install.apply(kind, [], 3).errors.contains("sources.store.kind"))
            _ = try await install.run(["source", "set", "store", "--country", "PT"])
            #expect(try await install.apply(mine, [], 3).errors.contains("sources.store.country"))
            _ = try await install.run(["source", "set", "store", "--country", "ES"])
            // What 'rules check' refuses is refused here, with its place.
            let bad = try await install.apply(mine.replacing("template: paid", with: "template: payed"), [], 3)
            #expect(bad.errors.contains("rules.yaml: sources.store.rules[0].send.template (line 11)"))
            #expect(try await install.apply("lines: {}", [], 3).errors.contains("--workspace"))
            _ = try await install.apply(mine)
            _ = try await install.run(["line", "remove", "one"])
            let removed = try await install.apply(mine.replacing("Hola", with: "Olé"), [], 3)
            #expect(removed.errors.contains("lines.one: the line one was removed"))
            // No rules at all are rules, too.
            #expect(
                try await install.apply("lines: {}", ["--workspace", "acme"]).output.contains(
                    "- sources.store: 2 rules"
                )
            )
        }
    }
}
