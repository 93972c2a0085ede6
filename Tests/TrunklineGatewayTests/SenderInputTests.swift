import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// What senders should not send, and what must not be told.
@Suite struct SenderInputTests {
    @Test func badRequestsGetAClearAnswerAndStoreNothing() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let shop = try await install.add(.shopify, as: "shop")
            let custom = try await install.add(.custom, as: "custom")
            for path in [shop, custom] { try await gateway.knows(path) }
            let headers = TestSender.custom.headers(path: custom)

            for path in [
                "/in/none-of-that-name-0001", "/in/short", "/in/%20", "/in/" + String(repeating: "a", count: 500),
            ] {
                let answer = try await gateway.post(.custom, path)
                #expect(answer.status == 404 && kind(answer) == "not-found", "\(answer.text)")
            }
            // An empty body that is signed proves nothing either.
            #expect(try await gateway.post(.shopify, shop, body: "").status == 401)
            let empty = try await gateway.post(custom, headers, "")
            #expect(empty.status == 422 && kind(empty) == "unreadable", "\(empty.text)")
            let zipped = try await gateway.post(custom, headers + [("Content-Encoding", "gzip")], TestSender.paid())
            #expect(zipped.status == 415)
            let field = try await gateway.post(custom, headers, #"{"type":"order.paid","colour":"red"}"#)
            #expect(field.status == 422 && field.text.contains("colour"), "\(field.text)")
            // No sender's headers are so long.
            let header = try await gateway.post(
                custom,
                headers + [("X-Long", String(repeating: "a", count: 9_000))],
                TestSender.paid()
            )
            #expect(header.status == 400 && header.member("field") == "headers", "\(header.text)")
            // The limit itself is taken, one more is not.
            let most = TestSender.order + String(repeating: " ", count: 1_048_576 - TestSender.order.utf8.count)
            #expect(try await gateway.post(.shopify, shop, body: most).status == 200)
            let more = try await gateway.post(.shopify, shop, body: most + " ")
            #expect(more.status == 413 && kind(more) == "too-large")
            #expect(try await install.events() == 1)
            #expect(try await gateway.ask("GET", "/healthz").status == 200)
        }
    }

    @Test func halfABodyIsNoEvent() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let path = try await install.add(.shopify, as: "shop")
            try await gateway.knows(path)
            let request = HTTPConnection.request(
                "POST",
                path,
                headers: TestSender.shopify.headers(path: path),
                body: Array(TestSender.order.utf8)
            )
            do {
                let connection = try #require(HTTPConnection(to: gateway.port))
                connection.write(Array(request.dropLast(7)))
            }
            try await install.wait(for: "the gateway to see it go") { gateway.logText.contains("status=gone") }
            #expect(try await install.events() == 0)
            #expect(try await gateway.post(.shopify, path).status == 200)
            #expect(try await install.events() == 1)
        }
    }

    /// Bytes that are signed and cannot be read are kept for a person: the shop would take another answer for our failure.
    @Test func whatIsSignedAndUnreadableIsStored() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let shop = try await install.add(.shopify, as: "shop")
            let custom = try await install.add(.custom, as: "custom")
            for path in [shop, custom] { try await gateway.knows(path) }
            let latin: [UInt8] = Array(#"{"name":"Jos"#.utf8) + [0xE9] + Array(#""}"#.utf8)
            let code = TestSender.base64(
                Digest.hmacSHA256(latin, key: Array((TestSender.shopify.secret ?? "").utf8))
            )
            let headers = TestSender.shopify.headers(path: shop).filter { $0.0 != "X-Shopify-Hmac-Sha256" }
            let answer = try await HTTPConnection.ask(
                "POST",
                shop,
                headers: headers + [("X-Shopify-Hmac-Sha256", code)],
                body: latin,
                of: gateway.port
            )
            #expect(answer.status == 200)
            let told = try await HTTPConnection.ask(
                "POST",
                custom,
                headers: TestSender.custom.headers(path: custom),
                body: latin,
                of: gateway.port
            )
            #expect(told.status == 422 && kind(told) == "unreadable" && !told.text.contains("Jos"), "\(told.text)")
            #expect(try await install.events("shop") == 1)
            #expect(try await install.events("custom") == 0)
            _ = try install.startWorker()
            try await install.wait(for: "the event to be put aside") {
                try await install.number(
                    "select count(*) from trunkline.jobs where parked_at is not null and reason = 'event_unreadable'"
                ) == 1
            }
        }
    }

    @Test func otherBytesUnderOneNameAreKeptAsARefusal() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let shop = try await install.add(.shopify, as: "shop")
            let custom = try await install.add(.custom, as: "custom")
            for path in [shop, custom] { try await gateway.knows(path) }
            let other = TestSender.order.replacing("59.90", with: "61.00")
            #expect(try await gateway.post(.shopify, shop).status == 200)
            for _ in 1...2 { #expect(try await gateway.post(.shopify, shop, body: other).status == 200) }
            #expect(try await install.events("shop") == 1)
            let digests = [TestSender.order, other].map { Digest.hex(Digest.sha256($0.utf8).prefix(16)) }
            let kept = try await install.number(
                """
                select count(*) from trunkline.refusals where kind = 'conflict' and lane = 'source:shop' and via = 'http'
                    and reason like '%\(digests[0])%\(digests[1])%'
                """
            )
            #expect(kept == 1)
            // Whoever writes its events for us is told.
            #expect(try await gateway.post(.custom, custom).status == 200)
            let told = try await gateway.post(.custom, custom, body: TestSender.paid("9"))
            #expect(told.status == 422 && kind(told) == "key-conflict", "\(told.text)")
            #expect(told.member("storedContent") != nil && told.member("givenContent") != nil)
        }
    }

    @Test func tokensBodiesAndHeadersAreToldNobody() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor(["TRUNKLINE_LOG_LEVEL": "trace"])
            let path = try await install.add(.custom, as: "custom")
            try await gateway.knows(path)
            let token = String(path.dropFirst(4))
            let headers =
                TestSender.custom.headers(path: path) + [
                    ("Referer", TestSender.publicURL + path), ("X-Original-URI", path),
                    ("X-Marker", "header-of-the-test"),
                ]
            #expect(try await gateway.post(path, headers, TestSender.paid()).status == 200)
            #expect(try await gateway.post(path + "?marker=query-of-the-test", [], TestSender.paid()).status == 401)
            let unreadable = try await gateway.post(path, headers, #"{"body-of-the-test":1}"#)
            let missing = try await gateway.post("/in/" + token.uppercased() + "X", headers, TestSender.paid())
            let method = try await gateway.ask("GET", path)
            for answer in [unreadable, missing, method] {
                #expect(
                    answer.status >= 400 && !answer.text.lowercased().contains(token.lowercased()),
                    "\(answer.text)"
                )
            }
            let stored = try await install.number(
                "select count(*) from trunkline.inbox where headers::text like '%\(token)%' or headers::text like '%a-bearer-token%'"
            )
            #expect(stored == 0)
            #expect(
                try await install.number(
                    "select count(*) from trunkline.inbox where headers::text like '%header-of-the-test%'"
                )
                    == 1
            )
            try await install.wait(for: "the log to say the forged one") {
                gateway.logText.contains("did not prove their sender")
            }
            let log = gateway.logText
            #expect(log.contains("route=/in/{token}"))
            for secret in [
                token, "header-of-the-test", "query-of-the-test", "body-of-the-test", "a-bearer-token", "34600111222",
            ] {
                #expect(!log.contains(secret), "\(secret)")
            }
        }
    }

    @Test func withoutTheMasterKeyASourceSaysSoAndTheRestWorks() async throws {
        try await TestInstall.with { install in
            let path = try await install.add(.shopify, as: "shop")
            let gateway = try await install.startDoor(["TRUNKLINE_MASTER_KEY_FILE": ""])
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            try await install.wait(for: "the log to say why") { gateway.logText.contains("it takes nothing") }
            let answer = try await gateway.post(.shopify, path)
            #expect(answer.status == 503 && answer["Retry-After"] != nil)
            #expect(try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1")).status == 202)
            #expect(try await install.events() == 0)
        }
    }
}
