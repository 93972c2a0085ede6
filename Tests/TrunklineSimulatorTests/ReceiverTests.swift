import Crypto
import Foundation
import TestKit
import Testing

@testable import TrunklineSimulator

/// The receivers of signed webhooks.
@Suite struct ReceiverTests {
    private static let body = #"{"type":"message.received","timestamp":"2026-11-01T12:26:40.000Z","data":{}}"#

    /// Signs as a sender does, without a word of the receiver's own code.
    private func signature(_ secret: String, id: String, timestamp: Int64, body: String) throws -> String {
        let key = try #require(Data(base64Encoded: String(secret.dropFirst("whsec_".count))))
        let code = HMAC<SHA256>.authenticationCode(
            for: Data("\(id).\(timestamp).\(body)".utf8),
            using: SymmetricKey(data: key)
        )
        return "v1," + Data(code).base64EncodedString()
    }

    private func now() -> Int64 { Int64(Date().timeIntervalSince1970) }

    private func headers(
        id: String?,
        timestamp: Int64,
        signature: String,
        deliveryID: String? = nil,
        contentType: String = "application/json"
    ) -> [(String, String)] {
        var headers = [
            ("webhook-timestamp", "\(timestamp)"), ("webhook-signature", signature), ("Content-Type", contentType),
        ]
        if let id { headers.append(("webhook-id", id)) }
        if let deliveryID = deliveryID ?? id { headers.append(("X-EZW-Delivery-Id", deliveryID)) }
        return headers
    }

    private func post(
        _ server: SimulatorServer,
        hook: String,
        headers: [(String, String)],
        body: String = body
    ) async throws -> RawAnswer? {
        var text = "POST /hooks/\(hook) HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(body.utf8.count)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        return try await server.exchange(text + "\r\n" + body)
    }

    @discardableResult
    private func deliver(
        _ server: SimulatorServer,
        id: String,
        hook: String = "crm",
        secret: String? = nil,
        body: String = body
    ) async throws -> RawAnswer? {
        let time = now()
        let signed = try signature(secret ?? server.hook(hook).secret, id: id, timestamp: time, body: body)
        return try await post(
            server,
            hook: hook,
            headers: headers(id: id, timestamp: time, signature: signed),
            body: body
        )
    }

    // MARK: Memory

    /// As the API forgets keys.
    @Test func aReceiverMayForget() async throws {
        try await withSimulator { server async throws in
            #expect(try await deliver(server, id: "one")?.text.contains(#""repeat":false"#) == true)
            #expect(try await deliver(server, id: "one")?.text.contains(#""repeat":true"#) == true)
            try server.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            #expect(try await deliver(server, id: "one")?.text.contains(#""repeat":false"#) == true)
            #expect(server.report().hooks["crm"]?.deliveries == 2)
            #expect(server.report().hooks["crm"]?.repeats == 1)
        }
    }

    // MARK: Signatures

    /// The vectors of the specification's repository and of our own contract sheet.
    @Test func theSignatureIsTheSpecifications() throws {
        func verify(_ signature: String, _ secrets: [String], id: String, _ timestamp: Int64, _ body: String) throws {
            let request = HookRequest(
                id: id,
                timestamp: "\(timestamp)",
                signature: signature,
                deliveryID: id,
                contentType: "application/json; charset=utf-8"
            )
            let verified = try request.verified(body: Array(body.utf8), secrets: secrets, now: timestamp + 299)
            #expect(verified.id == id && verified.sentAt == timestamp)
        }
        try verify(
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            #"{"test": 2432232314}"#
        )
        let body =
            #"{"type":"message.delivered","timestamp":"2026-11-01T12:26:40.000Z","data":{"id":"ezw_msg_1","#
            + #""line_id":"line_7","to":"+34600111222","status":"delivered"}}"#
        let a = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
        let b = "whsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="
        let both =
            "v1,7X5KrgLHiHc0lV19LQUjdN0gBHi2T3BgA6xzu+1d3Jc= v1,n2JNHypMfAj7WXs3nX8yEocAqxYF/+CAYLT1vJpAqCw="
        for secrets in [[a], [b], [a, b]] {
            try verify(both, secrets, id: "msg_01J9ZK3Q7V8W2X4Y6Z0A1B2C3D", 1_762_000_000, body)
        }
        #expect(throws: APIRefusal.self) {
            try verify(both, [Hook.usualSecret(of: "x")], id: "msg_01J9ZK3Q7V8W2X4Y6Z0A1B2C3D", 1_762_000_000, body)
        }
    }

    @Test func aSignedDeliveryIsTakenOnceAndItsRepeatIsKnown() async throws {
        try await withSimulator { server async throws in
            #expect(try await deliver(server, id: "evt:1")?.status == 200)
            #expect(try await deliver(server, id: "evt:2")?.status == 200)
            let again = try await deliver(server, id: "evt:1")
            #expect(again?.status == 200 && again?.json["repeat"] == .bool(true))
            // The same id with other bytes is a fault of the sender.
            #expect(try await deliver(server, id: "evt:1", body: "{}")?.status == 409)
            // Ids are a hook's own.
            #expect(try await deliver(server, id: "evt:1", hook: "sheet")?.json["repeat"] == .bool(false))
            let crm = try #require(server.report().hooks["crm"])
            #expect(crm.requests == 4 && crm.deliveries == 2 && crm.repeats == 1 && crm.conflicts == 1)
            #expect(crm.repeatsAfterAnswer == 1 && crm.refused == 0)
            #expect(server.report().hooks["sheet"]?.deliveries == 1)
            // Of the API's figures it is no part.
            #expect(server.report().total == SimulatorReport.Counts())
            let list = try await server.ask("GET", "/received?hook=crm").json
            guard case .array(let received)? = list["received"] else {
                Issue.record("no list")
                return
            }
            #expect(received.map { $0["id"]?.string } == ["evt:1", "evt:2", "evt:1"])
            #expect(received.map { $0["repeat"]?.bool } == [false, false, true])
            #expect(abs((received[0]["sentAt"]?.integer ?? 0) - now()) < 300)
        }
    }

    @Test func whatIsNotSignedByTheSpecificationIsRefused() async throws {
        try await withSimulator { server async throws in
            let secret = server.hook("crm").secret
            let time = now()
            func status(_ headers: [(String, String)], _ body: String = Self.body) async throws -> Int? {
                try await post(server, hook: "crm", headers: headers, body: body)?.status
            }
            let good = try signature(secret, id: "e", timestamp: time, body: Self.body)
            #expect(try await status(headers(id: nil, timestamp: time, signature: good)) == 400)
            #expect(try await status(headers(id: "f", timestamp: time, signature: good)) == 401)
            #expect(try await status(headers(id: "e", timestamp: time + 1, signature: good)) == 401)
            #expect(try await status(headers(id: "e", timestamp: time, signature: good), "{ }") == 401)
            #expect(try await status(headers(id: "e", timestamp: time, signature: "v2," + good.dropFirst(3))) == 401)
            #expect(try await status(headers(id: "e", timestamp: time, signature: good, deliveryID: "f")) == 400)
            #expect(
                try await status(headers(id: "e", timestamp: time, signature: good, contentType: "text/plain")) == 400
            )
            for away in [-301, 360] as [Int64] {
                let signed = try signature(secret, id: "e", timestamp: time + away, body: Self.body)
                #expect(try await status(headers(id: "e", timestamp: time + away, signature: signed)) == 400)
            }
            let dotted = try signature(secret, id: "e.1", timestamp: time, body: Self.body)
            #expect(try await status(headers(id: "e.1", timestamp: time, signature: dotted)) == 400)
            let crm = try #require(server.report().hooks["crm"])
            #expect(crm.deliveries == 0 && crm.refused == 10)
            #expect(try await status(headers(id: "e", timestamp: time, signature: "v1,AAAA " + good)) == 200)
        }
    }

    @Test func aHookCanHaveSecretsOfItsOwn() async throws {
        try await withSimulator { server async throws in
            let own = ["whsec_" + String(repeating: "A", count: 32), "whsec_" + String(repeating: "B", count: 32)]
            try server.control("PUT", "/__sim/hooks/crm", #"{"secrets":["\#(own[0])","\#(own[1])"]}"#)
            #expect(try await deliver(server, id: "1")?.status == 401)
            #expect(try await deliver(server, id: "1", secret: own[0])?.status == 200)
            #expect(try await deliver(server, id: "2", secret: own[1])?.status == 200)
            let shown = try await server.ask("GET", "/hooks").text
            #expect(shown.contains(#""name":"crm""#) && !shown.contains(own[0]) && !shown.contains(own[1]))
            try server.control("PUT", "/__sim/hooks/crm", "{}")
            #expect(try await deliver(server, id: "3")?.status == 200)
            #expect(try await server.ask("GET", "/hooks").text.contains(server.hook("crm").secret))
            for bad in [#"{"secrets":["x"]}"#, #"{"secrets":"x"}"#, #"{"secret":"x"}"#] {
                #expect(try await server.ask("PUT", "/hooks/crm", bad).status == 400)
            }
        }
    }

    // MARK: Faults

    private func add(_ server: SimulatorServer, _ fault: String) throws {
        try server.control("POST", "/__sim/faults", fault)
    }

    @Test func faultsHitOneHookAndLeaveTheAPIAlone() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"status","status":410,"hook":"crm"}"#)
            #expect(try await deliver(server, id: "1")?.status == 410)
            #expect(try await deliver(server, id: "1", hook: "sheet")?.status == 200)
            #expect(try await server.send(key: "k")?.status == 202)
            try server.control("DELETE", "/__sim/faults")
            // Neither does a fault of the whole API hit a hook.
            try add(server, #"{"kind":"status","status":500,"on":"any"}"#)
            #expect(try await deliver(server, id: "1")?.json["repeat"] == .bool(false))
            #expect(server.report().hooks["crm"]?.refused == 1)
            #expect(throws: SimulatorError.self) { try add(server, #"{"kind":"hang","hook":"crm","on":"health"}"#) }
            #expect(throws: SimulatorError.self) { try add(server, #"{"kind":"hang","line":"line-01","on":"hooks"}"#) }
        }
    }

    @Test func aThrottledHookSaysHowLong() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"status","status":429,"retryAfter":7,"on":"hooks","count":1}"#)
            let answer = try await deliver(server, id: "1")
            #expect(answer?.status == 429 && answer?.headers["retry-after"] == "7")
            #expect(try await deliver(server, id: "1")?.status == 200)
        }
    }

    /// The sender cannot know, and what it sends again is no new delivery.
    @Test func aHangUpBeforeTakesNothingAndOneAfterTakesIt() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"dropBefore","hook":"crm","count":1}"#)
            #expect(try await deliver(server, id: "1") == nil)
            #expect(server.report().hooks["crm"]?.deliveries == 0)
            try add(server, #"{"kind":"acceptThenDrop","hook":"crm","count":1}"#)
            #expect(try await deliver(server, id: "1") == nil)
            try await eventually("its end is on record") { server.report().hooks["crm"]?.noAnswers == 2 }
            #expect(try await deliver(server, id: "1")?.json["repeat"] == .bool(true))
            let crm = try #require(server.report().hooks["crm"])
            #expect(crm.deliveries == 1 && crm.repeats == 1 && crm.repeatsAfterAnswer == 0)
        }
    }

    @Test func heldAnswersOfHooksWait() async throws {
        try await withSimulator { server async throws in
            try server.control("POST", "/__sim/answers/hold", #"{"on":"hooks"}"#)
            async let answer = deliver(server, id: "1")
            try await eventually("the delivery waits") {
                let calls = try await server.ask("GET", "/inflight?waiting=hold").json
                guard case .array(let list)? = calls["calls"] else { return false }
                return list.map { $0["hook"]?.string } == ["crm"]
            }
            #expect(server.report().hooks["crm"]?.deliveries == 1)
            #expect(server.report().hooks["crm"]?.answers == 0)
            try server.control("POST", "/__sim/answers/release")
            #expect(try await answer?.status == 200)
        }
    }

    // MARK: The journal

    @Test func whatCameIsRebuiltFromTheJournal() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            try await withSimulator({ $0.journal = path }) { server async throws in
                try await deliver(server, id: "1")
                try await deliver(server, id: "2")
            }
            try await withSimulator({ $0.journal = path }) { server async throws in
                #expect(try await deliver(server, id: "1")?.json["repeat"] == .bool(true))
                #expect(server.report().hooks["crm"]?.deliveries == 2)
                #expect(server.report().hooks["crm"]?.repeatsAfterAnswer == 1)
                try server.control("POST", "/__sim/reset")
                #expect(try await deliver(server, id: "1")?.json["repeat"] == .bool(false))
            }
            let records = try records(path).filter { $0.hook == "crm" }
            #expect(records.filter { $0.kind == .delivery }.map(\.key) == ["1", "2", "1", "1"])
            #expect(records.filter { $0.kind == .answer }.count == 4)
            #expect(try SimulatorReport(journal: path).hooks["crm"]?.deliveries == 1)
        }
    }

    @Test func aPathThatNamesNoHookIsUnknown() async throws {
        try await withSimulator { server async throws in
            for name in ["", "a/b", "a%20b", String(repeating: "x", count: 65)] {
                #expect(try await deliver(server, id: "1", hook: name)?.status == 404)
            }
            let answer = try await server.exchange("GET /hooks/crm HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            #expect(answer?.status == 405)
            #expect(server.report().hooks["crm"]?.refused == 1)
        }
    }
}
