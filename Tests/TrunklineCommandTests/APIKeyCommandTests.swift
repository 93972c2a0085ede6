import Foundation
import TestKit
import Testing

@Suite struct APIKeyCommandTests {
    private static let masterKey = Data((1...32).map { UInt8($0) }).base64EncodedString()

    @Test func theWholeLifeOfAKey() async throws {
        try await TestDatabase.with { url in
            let environment = [
                "TRUNKLINE_DATABASE_URL": url, "TRUNKLINE_MASTER_KEY": Self.masterKey, "TOKEN": "ezw_line_test",
            ]
            func run(_ arguments: [String], _ status: Int32 = 0) async throws -> Command.Outcome {
                let run = try await Program.run(arguments, environment: environment)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return run
            }
            _ = try await run(["migrate", "--shards", "4"])
            let create = ["apikey", "create", "--workspace", "acme"]
            #expect(try await run(["apikey", "list"]).errors.contains("no API keys"))
            _ = try await run(create, 2)
            #expect(try await run(create + ["--scope", "send,everything"], 3).errors.contains("a scope is one of"))
            _ = try await run(create + ["--scope", "send", "--line", "line-01"], 2)
            let unbound = create + ["--scope", "send", "--line", "line-01", "--purpose", "order"]
            #expect(try await run(unbound, 3).errors.contains("there is no line line-01"))
            let add = ["line", "add", "line-01", "--workspace", "acme", "--token-env", "TOKEN", "--no-check"]
            _ = try await run(add + ["--base-url", "https://api.example/api/v1"])

            // Standard output is the secret alone, so that a script can put it where it belongs.
            let made = try await run(unbound + ["--requests-per-minute", "600", "--label", "shop backend"])
            let secret = made.output.trimmingCharacters(in: .newlines)
            #expect(secret.hasPrefix("trk_") && secret.count == 47 && !made.errors.contains(secret))
            let list = try await run(["apikey", "list", "--json"]).output
            let keys = try #require(
                try JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: [[String: Any]]]
            )
            let key = try #require(keys["apiKeys"]?.first)
            let id = try #require(key["id"] as? String)
            #expect(key["line"] as? String == "line-01" && key["purpose"] as? String == "order")
            #expect(key["requestsPerMinute"] as? Int == 600 && key["scopes"] as? [String] == ["send"])
            #expect(key["hint"] as? String == "…" + secret.suffix(4) && key["label"] as? String == "shop backend")
            let table = try await run(["apikey", "list"]).output
            #expect(table.contains(id) && !table.contains(secret) && !list.contains(secret))

            _ = try await run(["apikey", "revoke", "key_none"], 3)
            #expect(try await run(["apikey", "revoke", id]).output.contains("revoked \(id)"))
            #expect(try await run(["apikey", "list"]).errors.contains("no API keys"))
            #expect(try await run(["apikey", "list", "--all", "--workspace", "acme"]).output.contains(id))
        }
    }
}
