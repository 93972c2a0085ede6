import Foundation
import PostgresDriver
import TestKit
import Testing

@Suite struct DecisionCommandTests {
    @Test("decision list and show: what was refused, by whom it was asked for, and why")
    func listAndShow() async throws {
        try await TestDatabase.with { url in
            func run(_ arguments: [String], _ status: Int32 = 0) async throws -> Command.Outcome {
                let run = try await Program.run(arguments, environment: ["TRUNKLINE_DATABASE_URL": url])
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return run
            }
            _ = try await run(["migrate", "--shards", "4"])
            #expect(try await run(["decision", "list"]).output == "nothing was refused by policy\n")
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                try await session.query(
                    """
                    insert into trunkline.policy_decisions (workspace, source, event_key, ask, rule) values
                        ('acme', 'shop', 'e1', 'cold_outbound', 'sources.shop.rules[0]'), ('acme', 'shop', 'e2', 'group', null),
                        ('other', 'form', 'e3', 'bot', null)
                    """
                )
            }
            let all = try await run(["decision", "list"]).output
            #expect(all.contains("cold_outbound") && all.contains("sources.shop.rules[0]") && all.contains("e3"))
            let acme = try await run(["decision", "list", "--workspace", "acme", "--ask", "group", "--json"]).output
            let document = try #require(try JSONSerialization.jsonObject(with: Data(acme.utf8)) as? [String: Any])
            let decisions = try #require(document["decisions"] as? [[String: Any]])
            #expect(decisions.map { $0["event"] as? String } == ["e2"])
            let number = try #require(decisions.first?["number"] as? Int)
            let shown = try await run(["decision", "show", "\(number)"]).output
            #expect(shown.contains("only single phone numbers get notices") && shown.contains("the event itself"))
            #expect(try await run(["decision", "list", "--source", "form"]).output.contains("bot"))
            _ = try await run(["decision", "list", "--ask", "everything"], 2)
            _ = try await run(["decision", "show", "999"], 1)
        }
    }
}
