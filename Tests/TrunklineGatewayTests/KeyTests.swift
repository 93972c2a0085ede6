import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Who is let in.
@Suite struct KeyTests {
    @Test func withoutAValidKeyNobodyIsLetIn() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (id, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            let cases: [([(String, String)], String)] = [
                ([], "Bearer realm"), ([("Authorization", "Basic eDp5")], "invalid_request"),
                ([("Authorization", key)], "invalid_request"),
                ([("Authorization", "Bearer \(key) \(key)")], "invalid_request"),
                ([("Authorization", "Bearer \(key.dropLast())")], "invalid_request"),
                ([("Authorization", "Bearer trk_" + String(repeating: "A", count: 43))], "invalid_token"),
            ]
            for (headers, words) in cases {
                let answer = try await gateway.ask("POST", "/v1/messages", headers: headers, json: notice("order:1"))
                #expect(answer.status == 401 && kind(answer) == "unauthenticated", "\(headers)")
                #expect(answer["WWW-Authenticate"]?.contains(words) == true, "\(headers)")
            }
            let lowered = try await gateway.ask(
                "POST",
                "/v1/messages",
                headers: [("Authorization", "bearer \(key)")],
                json: notice("order:1")
            )
            #expect(lowered.status == 202)
            try await install.trunkline(["apikey", "revoke", id.value]).requireSuccess()
            try await install.wait(for: "the key to be refused") {
                try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1")).status == 401
            }
            #expect(!gateway.logText.contains(key) && gateway.logText.contains(id.value))
        }
    }

    @Test func aScopeThatIsMissingIsNamed() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, reader) = try await install.makeAPIKey([.read])
            let (_, sender) = try await install.makeAPIKey([.send])
            let (_, all) = try await install.makeAPIKey([.admin])
            for key in [reader, sender, all] { try await known(key, gateway) }
            let cases = [
                ("POST", "/v1/messages", "send", reader), ("POST", "/v1/messages/batch", "send", reader),
                ("POST", "/v1/deliveries", "send", reader), ("PUT", "/v1/contacts/+34600111222", "send", reader),
                ("PUT", "/v1/orders/1", "send", reader), ("GET", "/v1/messages/1", "read", sender),
                ("POST", "/v1/messages/1/cancel", "operate", sender),
                ("POST", "/v1/messages/1/reschedule", "operate", reader),
                ("POST", "/api/v1/messages/text", "send", reader),
            ]
            for (method, path, scope, key) in cases {
                let answer = try await gateway.ask(method, path, key: key, json: "{}")
                #expect(answer.status == 403 && answer.text.contains("the scope \(scope)"), "\(method) \(path)")
                let admin = try await gateway.ask(method, path, key: all, json: "{}")
                // It has every scope, and is bound to no line.
                #expect(admin.status != 403 || path.hasPrefix("/api/"), "\(method) \(path)")
            }
        }
    }

    @Test func aKeyMayAskSoOftenOnly() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, unlimited) = try await install.makeAPIKey([.read])
            try await known(unlimited, gateway)
            let (_, key) = try await install.makeAPIKey([.read], requestsPerMinute: 2)
            try await known(key, gateway)
            var last: HTTPAnswer?
            // The bucket fills while the machine is busy with something else: never faster than the limit says.
            try await install.wait(for: "the limit") {
                last = try await gateway.ask("GET", "/v1/messages/none", key: key)
                return last?.status == 429
            }
            let answer = try #require(last)
            #expect(kind(answer) == "rate-limited")
            #expect(answer["Retry-After"].flatMap { Int($0) }.map { (1...30).contains($0) } == true)
            #expect(answer["RateLimit-Policy"] == #""key";q=2;w=60"#)
            #expect(answer["RateLimit"]?.hasPrefix(#""key";r=0;t="#) == true)
            let other = try await gateway.ask("GET", "/v1/messages/none", key: unlimited)
            #expect(other.status == 404 && other["RateLimit"] == nil)
        }
    }

    @Test func aBoundKeyIsForItsLineAndPurpose() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send], line: "line-02", purpose: .pickup)
            try await known(key, gateway)
            let other = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            #expect(other.status == 403 && other.member("field") == "line")
            let purpose = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                json: notice("order:1", line: "line-02").replacing("pickup", with: "order")
            )
            #expect(purpose.status == 403 && purpose.member("field") == "purpose")
            let own = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1", line: "line-02"))
            #expect(own.status == 202)
        }
    }
}
