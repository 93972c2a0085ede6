import Foundation
import TestKit
import Testing

@Suite struct SourceCommandTests {
    private static let secret = "TOPSECRET-of-the-shop-wxyz"

    private static let add = ["source", "add", "shop", "--kind", "shopify", "--workspace", "acme", "--country", "il"]

    @Test func theWholeLifeOfASource() async throws {
        try await Program.withInstall(["SECRET": Self.secret]) { run in
            var all = ""
            func say(_ arguments: [String], _ status: Int32 = 0, input: String? = nil) async throws -> String {
                let said = try await run(arguments, status, input)
                all += said
                return said
            }
            #expect(try await say(["source", "list"]).contains("no sources"))
            // A shop must prove itself.
            _ = try await say(Self.add, 3)
            _ = try await say(Self.add + ["--secret-stdin"], 3, input: "short")
            _ = try await say(Self.add + ["--secret-env", "SECRET", "--setting", "nonsense=1"], 3)
            _ = try await say(Self.add + ["--secret-env", "SECRET", "--setting", "nonsense"], 2)
            let added = try await run(Self.add + ["--secret-env", "SECRET"], 0, nil)
            #expect(added.contains("added source shop of workspace acme, shopify, country IL"))
            let path = try #require(added.firstMatch(of: /\/in\/[0-9a-f]{40}/)).output
            #expect(try await say(Self.add + ["--secret-env", "SECRET"], 3).contains("exists"))
            #expect(try await say(["source", "list"]).contains("shopify"))
            _ = try await say(["source", "hold", "shop", "--reason", "they move", "--until", "1h"])
            #expect(try await say(["source", "show", "shop"]).contains("they move"))
            let status = try await say(["status"])
            #expect(status.contains("held: they move") && status.contains("SOURCE") && !status.contains("DESTINATION"))
            #expect(status.contains("0 lines, 1 sources, 0 sent today, 0 events run today, unfinished: none"))
            _ = try await say(["source", "resume", "shop"])
            _ = try await say(["source", "set", "shop"], 2)
            #expect(try await say(["source", "set", "shop", "--country", "es"]).contains("country ES"))
            _ = try await say(["source", "rotate", "shop"], 2)
            _ = try await say(["source", "rotate", "shop", "--finish"], 3)
            let rotated = try await run(
                ["source", "rotate", "shop", "--token", "--secret-stdin"],
                0,
                "another-secret-of-the-shop"
            )
            let second = try #require(rotated.firstMatch(of: /\/in\/[0-9a-f]{40}/)).output
            #expect(second != path)
            #expect(try await say(["source", "show", "shop"]).contains("2, the old one and the new one"))
            _ = try await say(["source", "rotate", "shop", "--token"], 3)
            #expect(try await say(["source", "rotate", "shop", "--finish"]).contains("one token and one secret"))
            _ = try await say(["source", "remove", "shop"])
            #expect(try await say(["source", "list", "--all"]).contains("removed"))
            for hidden in [
                Self.secret, "another-secret-of-the-shop", String(path.dropFirst(4)), String(second.dropFirst(4)),
            ] {
                #expect(!all.contains(hidden), "nobody is told a secret")
            }
        }
    }

    /// What its kind would only find out at the next request is found when it is set.
    @Test func aSettingThatItsKindCannotUseIsRefused() async throws {
        try await Program.withInstall(["SECRET": Self.secret]) { run in
            let organization = "organization_id=00D300000000aBcEAI"
            _ = try await run(
                ["source", "add", "sf", "--kind", "salesforce", "--workspace", "acme", "--setting", organization],
                0,
                nil
            )
            for setting in ["organization_id=", "organization_id=00D"] {
                #expect(
                    try await run(["source", "set", "sf", "--setting", setting], 3, nil).contains("organization_id")
                )
            }
            #expect(try await run(["source", "show", "sf"], 0, nil).contains("00D300000000aBcEAI"))
            _ = try await run(["source", "set", "sf", "--setting", "organization_id=00D300000000aBd"], 0, nil)
        }
    }

    @Test func aTokenOfOnesOwnIsNotSaidAgain() async throws {
        try await Program.withInstall(["SECRET": Self.secret]) { run in
            let file = FileManager.default.temporaryDirectory.appending(path: "token-\(UInt64.random(in: 0 ... .max))")
            defer { try? FileManager.default.removeItem(at: file) }
            let token = "my-own-token_0123456789"
            try (token + "\n").write(to: file, atomically: true, encoding: .utf8)
            let form = ["source", "add", "form", "--kind", "form", "--workspace", "acme", "--token-file", file.path]
            // A form may do without a secret.
            let added = try await run(form + ["--json"], 0, nil)
            #expect(!added.contains(token) && !added.contains("intakePath"))
            let taken = try await run(
                ["source", "add", "two", "--kind", "form", "--workspace", "acme", "--token-file", file.path],
                3,
                nil
            )
            #expect(taken.contains("in use already"))
            try "too short".write(to: file, atomically: true, encoding: .utf8)
            _ = try await run(
                ["source", "add", "two", "--kind", "form", "--workspace", "acme", "--token-file", file.path],
                3,
                nil
            )
            _ = try await run(["source", "add", "two", "--kind", "nobody", "--workspace", "acme"], 2, nil)
        }
    }
}
