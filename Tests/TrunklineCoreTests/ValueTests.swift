import Testing

@testable import TrunklineCore

@Suite struct ValueTests {
    @Test(arguments: ["+12345678", "+972501234567", "+123456789012345"])
    func acceptsPhoneNumbers(_ text: String) throws {
        #expect(try PhoneNumber(text).value == text)
    }

    @Test(arguments: [
        "", "+", "972501234567", "+0123456789", "+1234567", "+1234567890123456", "+97250 1234567", "+97250-1234567",
        " +972501234567", "+972501234567 ", "++97250123456", "+٩٧٢٥٠١٢٣٤٥٦٧", "+9725o1234567", "+972501234567\n",
        "-972501234567",
    ])
    func refusesPhoneNumbers(_ text: String) {
        let refusal = refusal(text) { _ = try PhoneNumber(text) }
        #expect(refusal?.kind == .invalid)
        #expect(refusal?.field == "to")
        #expect(text.count < 5 || refusal?.reason.contains(text) == false)
    }

    @Test(arguments: ["120363025@g.us", "news@newsletter", "34600111222@s.whatsapp.net", "@", "+972501234567@"])
    func groupsAreRefusedByPolicy(_ text: String) {
        #expect(refusal { _ = try PhoneNumber(text) }?.kind == .policy)
    }

    @Test(arguments: [
        ("+972501234567", "+97250•••4567"), ("+12345678", "+123•••78"), ("+123456789", "+123•••789"),
        ("+1234567890", "+1234•••890"), ("+12345678901", "+1234•••8901"), ("+123456789012345", "+12345•••2345"),
    ])
    func masks(_ text: String, _ masked: String) throws {
        let number = try PhoneNumber(text)
        #expect(number.masked == masked)
        #expect("\(number)" == masked)
        #expect(!String(reflecting: [Optional(number)]).contains(text))
    }

    @Test func identifiers() throws {
        let alphabet = "abcxyzABCXYZ0123456789._-"
        #expect(try LineID(alphabet).value == alphabet)
        #expect(try IdempotencyKey(alphabet + ":").value == alphabet + ":")
        #expect(try LineID(String(repeating: "a", count: 64)).laneName == "line:" + String(repeating: "a", count: 64))
        #expect(try SourceID("shop").laneName == "source:shop")
        for bad in ["", " a", "a b", "a/b", "é", "a\u{0}", "a:b", String(repeating: "a", count: 65)] {
            #expect(refusal(bad) { _ = try LineID(bad) }?.field == "line")
            #expect(refusal(bad) { _ = try SourceID(bad) }?.field == "source")
            #expect(refusal(bad) { _ = try WorkspaceID(bad) }?.field == "workspace")
        }
        #expect(try IdempotencyKey(String(repeating: "k", count: 128)).value.count == 128)
        for bad in ["", "a b", "a/b", "order#1", "é", "k\n", String(repeating: "k", count: 129)] {
            let refusal = refusal(bad) { _ = try IdempotencyKey(bad) }
            #expect(refusal?.kind == .invalid && refusal?.field == "key")
        }
    }

    @Test func jobNumbers() {
        #expect(JobID(text: "1")?.value == 1)
        #expect(JobID(text: "9223372036854775807")?.description == "9223372036854775807")
        for bad in ["", "0", "-1", "+1", "01", "1 ", "1.0", "9223372036854775808", "job_1"] {
            #expect(JobID(text: bad) == nil, "\(bad)")
        }
    }

    @Test func purposes() throws {
        #expect(
            Purpose.allCases.map(\.rawValue) == [
                "order", "pickup", "invoice", "delivery", "appointment", "reminder", "first_touch", "account",
            ]
        )
        for purpose in Purpose.allCases { #expect(try Purpose(word: purpose.rawValue) == purpose) }
        for word in ["marketing", "campaign", "cold", "Cold-Outbound", "newsletter", "bot", "broadcast", "group"] {
            #expect(refusal(word) { _ = try Purpose(word: word) }?.kind == .policy)
        }
        for word in ["", "Order", "orders", "other", "pickup "] {
            let refusal = refusal(word) { _ = try Purpose(word: word) }
            #expect(refusal?.kind == .invalid && refusal?.field == "purpose")
        }
    }

    @Test func digests() throws {
        #expect(hex(try IdempotencyKey("order:acme.1042:ready").digest) == "461e4fcfc7b4714d42260dd48610fd7c")
        let button = try Button(text: "See order", url: "https://shop.example/o/1042")
        #expect(hex(try Sample.job(button: button).contentDigest) == "cdcec1eea0e9d5c35c12299a50612b84")
        #expect(hex(try Sample.job().contentDigest) == "162b6af19f159d88469fc3f347eba5c0")
        let other = try SendJob(
            line: LineID("x"),
            key: IdempotencyKey("k"),
            to: PhoneNumber("+34600111222"),
            body: "שלום 👋\ncafé",
            purpose: .order,
            tags: ["a": "b"]
        )
        #expect(hex(other.contentDigest) == "11609753c6a9afdd09879216ddf01920")
    }

    @Test func digestCountsContentOnly() throws {
        let plain = try Sample.job()
        let tagged = try SendJob.decode(json: Sample.json(["tags": #"{"a":"b"}"#, "purpose": #""order""#]))
        #expect(plain.contentDigest == tagged.contentDigest)
        // Two spellings of one letter look the same and compare equal as Swift strings, but are other bytes.
        let composed = try Sample.job(body: "caf\u{E9}")
        let decomposed = try Sample.job(body: "cafe\u{301}")
        #expect(composed.contentDigest != decomposed.contentDigest)
        #expect(plain.contentDigest.count == 16)
    }

    @Test func shards() {
        #expect(CRC32.checksum("123456789".utf8) == 0xCBF4_3926)
        #expect(CRC32.checksum("".utf8) == 0)
        #expect(CRC32.checksum("line:acme-il".utf8) == 0xBE96_5680)
        #expect(shard(ofLane: "line:line-01", of: 16) == 2)
        #expect(shard(ofLane: "line:line-01", of: 64) == 34)
        #expect(shard(ofLane: "source:acme-shop", of: 64) == 44)
        #expect(shard(ofLane: "anything", of: 1) == 0)
        #expect([0, 7, 10, 63, 100].map(Route.shard) == ["shard.00", "shard.07", "shard.10", "shard.63", "shard.100"])
    }

    @Test func base64() {
        for (text, encoded) in [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            var out: [UInt8] = []
            Base64.encode(Array(text.utf8), into: &out)
            #expect(String(decoding: out, as: UTF8.self) == encoded)
            #expect(Base64.decode(encoded.utf8) == Array(text.utf8))
        }
        for bad in ["Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-v", "=Zm9", "Zg==Zg=="]
        {
            #expect(Base64.decode(bad.utf8) == nil, "\(bad)")
        }
        withSeeds { seed, generator in
            for _ in 0..<500 {
                let bytes = (0..<Int.random(in: 0...200, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                var out: [UInt8] = []
                Base64.encode(bytes, into: &out)
                #expect(Base64.decode(out) == bytes, "seed \(seed)")
            }
        }
    }

    @Test func wordsAreStable() {
        #expect(
            Reason.allCases.map(\.code) == [
                "message_refused", "conflict", "credential_refused", "line_refused", "endpoint_missing",
                "endpoint_gone", "line_locked",
                "slow_down", "line_not_sendable", "line_needs_person", "line_unusable", "unclear_answer", "redirected",
                "unexpected_status",
                "server_error", "server_timeout", "too_early", "timed_out", "connection_lost", "unreachable",
                "withdrawn", "local_shortage",
                "tries_spent", "worker_lost", "poison", "unknown_horizon", "claim_reply_lost",
                "event_unreadable", "event_needs_fetch", "event_failed", "dead_lettered", "late",
                "send_before_passed", "send_before_passed_unknown", "newer_fact", "superseded_unknown", "cancelled",
                "discarded", "said_sent", "said_not_sent",
            ]
        )
        #expect(
            Refusal.Kind.allCases.map(\.rawValue) == [
                "malformed", "invalid", "policy", "conflict", "unknown_line", "unknown_destination", "too_large",
                "unknown_schema", "late",
                "poison",
            ]
        )
        for reason in Reason.allCases { #expect(!reason.sentence.isEmpty) }
    }

    @Test func outcomesKnowWhatTheyMean() {
        #expect(!Outcome.sent(remoteID: nil, note: nil).mayHaveSent)
        #expect(!Outcome.sent(remoteID: nil, note: nil).dropsHealth)
        #expect(Outcome.unknown(reason: .timedOut).mayHaveSent)
        #expect(!Outcome.retry(after: nil, reason: .unreachable, cause: .notSent).mayHaveSent)
        #expect(!Outcome.park(reason: .messageRefused).mayHaveSent)
        #expect(!Outcome.park(reason: .messageRefused).dropsHealth)
        #expect(Outcome.park(reason: .conflict).mayHaveSent)
        #expect(Outcome.park(reason: .redirected).laneTrouble == .hold(.human))
        #expect(Outcome.laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(30))).dropsHealth)
        #expect(!Outcome.retry(after: nil, reason: .withdrawn, cause: .notSent).dropsHealth)
        // A shortage of our own says nothing about the other side.
        let shortage = Outcome.retry(after: nil, reason: .localShortage, cause: .notSent)
        #expect(!shortage.dropsHealth && !shortage.isProviderFailure && !shortage.mayHaveSent)
        #expect(!HealthVerdict.keepLast(reason: .localShortage).isProviderFailure)
        #expect(HealthVerdict.keepLast(reason: .unreachable).isProviderFailure)
    }

    @Test func evidenceIsCappedAndStorable() {
        let evidence = Evidence(status: 500, body: [UInt8](repeating: 0x61, count: 5_000))
        #expect(evidence.body.count == 2_048)
        #expect(!"\(evidence)".contains("aaaa"))
        let odd = Evidence(status: nil, body: [0x61, 0, 0xFF, 0x62] as [UInt8], failure: "timed out")
        #expect(odd.bodyText == "a \u{FFFD}b")
        #expect("\(odd)" == "no answer: timed out")
    }

    @Test func descriptionsHoldNoCustomersData() throws {
        let button = try Button(text: "SECRETBTN", url: "https://secret.example/x")
        let job = try Sample.job(body: "SECRETTEXT", button: button)
        let webhook = try WebhookJob(
            source: SourceID("shop"),
            headers: [("X-Secret", "SECRETHEADER")],
            body: Array("SECRETBODY".utf8),
            receivedAt: Timestamp(rfc3339: "2026-01-01T00:00:00Z")!
        )
        for text in [
            "\(job)", String(reflecting: job), "\([Optional(job)])", "\(button)", "\(webhook)",
            "\(QueueMessage.send(job))", "\([QueueMessage.webhook(webhook)])",
        ] {
            for secret in ["SECRET", "secret.example", "1234567"] { #expect(!text.contains(secret), "\(text)") }
        }
    }
}
