import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// One key, one message, whoever asks how often and where.
@Suite struct IdempotencyTests {
    @Test func theSameRequestIsAnsweredAlikeForEver() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            let first = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            #expect(first.status == 202 && first["Idempotency-Replayed"] == nil)
            let id = try #require(first.member("id"))
            #expect(first.text == #"{"id":"\#(id)","key":"order:1","line":"line-01","state":"accepted"}"#)
            #expect(first["Location"] == "/v1/messages/\(id)")

            // By the header, with a schema, with other times and tags: the same content.
            let again = [
                notice("order:1"), notice("order:1", more: #","schema":"trunkline.send.v1","tags":{"a":"b"}"#),
                notice("order:1", more: #","schema":null,"notBefore":"2027-01-01T00:00:00Z""#),
                // What would be too late for a new one.
                notice("order:1", more: #","sendBefore":"2020-01-01T00:00:00Z""#),
            ]
            for json in again {
                let answer = try await gateway.ask("POST", "/v1/messages", key: key, json: json)
                #expect(answer.status == 202 && answer.body == first.body && answer["Location"] == first["Location"])
                #expect(answer["Idempotency-Replayed"] == "true")
            }
            let byHeader = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                headers: [("Idempotency-Key", "order:1")],
                json: notice(nil)
            )
            #expect(byHeader.body == first.body && byHeader["Idempotency-Replayed"] == "true")
            // On another line it is where it was; and so it is when it has ended, and when its line has gone.
            let moved = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                json: notice("order:1", line: "line-02")
            )
            #expect(moved.body == first.body)
            let late = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                json: notice("order:2", more: #","sendBefore":"2020-01-01T00:00:00Z""#)
            )
            #expect(late.status == 422 && kind(late) == "late" && late.member("field") == "sendBefore")
            _ = try install.startWorker()
            try await install.waitUntilSent(1)
            try await install.trunkline(["line", "remove", "line-01"]).requireSuccess()
            try await install.wait(for: "the gateway to know that the line has gone") {
                try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:3")).status == 404
            }
            let afterAll = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            #expect(afterAll.status == 202 && afterAll.body == first.body)
            #expect(afterAll["Idempotency-Replayed"] == "true")
            #expect(try await install.number("select count(*) from trunkline.ledger") == 1)
        }
    }

    @Test func otherContentUnderAKeyIsRefusedWithBothHashes() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            let first = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            let other = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1", body: "Other."))
            #expect(other.status == 422 && kind(other) == "key-conflict" && other.member("field") == "key")
            #expect(other.member("job") == first.member("id") && other.member("line") == "line-01")
            let given = try #require(other.member("givenContent"))
            let stored = try #require(other.member("storedContent"))
            #expect(given.count == 32 && stored.count == 32 && given != stored)
            let ledger = try await install.text("select encode(content_digest, 'hex') from trunkline.ledger")
            #expect(stored == ledger)
            // Too late and other: still a conflict.
            let late = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                json: notice("order:1", body: "Other.", more: #","sendBefore":"2020-01-01T00:00:00Z""#)
            )
            #expect(late.status == 422 && kind(late) == "key-conflict")
            let both = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                headers: [("Idempotency-Key", "order:2")],
                json: notice("order:1")
            )
            #expect(both.status == 400 && both.member("field") == "key")
            for bad in ["with space", "", String(repeating: "k", count: 129), "ключ"] {
                let answer = try await gateway.ask(
                    "POST",
                    "/v1/messages",
                    key: key,
                    headers: [("Idempotency-Key", bad)],
                    json: notice(nil)
                )
                #expect(answer.status == 400 && answer.member("field") == "key", "'\(bad)'")
            }
            #expect(try await install.jobs() == 1)
        }
    }

    @Test func aHundredAtOnceAtTwoGatewaysAreOneMessage() async throws {
        try await TestInstall.with { install in
            let gateways = [try await install.startGateway(), try await install.startGateway()]
            let (_, key) = try await install.makeAPIKey()
            for gateway in gateways { try await known(key, gateway) }
            let answers = try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        try await gateways[number % 2].ask("POST", "/v1/messages", key: key, json: notice("order:1"))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count == 100 && answers.allSatisfy { $0.status == 202 })
            #expect(Set(answers.map(\.text)).count == 1)
            #expect(answers.count { $0["Idempotency-Replayed"] == nil } == 1)
            #expect(try await install.jobs() == 1)
            _ = try install.startWorker()
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
        }
    }
}

/// Waits until a gateway knows an API key.
func known(_ key: String, _ gateway: TestInstall.GatewayHandle) async throws {
    try await eventually("a gateway that knows the key") {
        try await gateway.ask("GET", "/v1/messages/none", key: key).status != 401
    }
}
