import Testing
import TrunklineCore
import TrunklineIntegrations

@Suite struct StandardWebhooksTests {
    private static let secretA = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
    private static let secretB = "whsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="
    private static let now = Timestamp(rfc3339: "2026-12-01T18:00:00Z")!
    private let carrier = StandardWebhooksCarrier()

    private func secrets(_ text: String) throws -> [StandardWebhooks.Secret] {
        try StandardWebhooks.secrets(Array(text.utf8))
    }

    private func account(_ secret: String = secretA, url: String = "https://hooks.example.com/x/abc") throws
        -> any CarrierAccount
    {
        try carrier.account(at: carrier.address(url, mayBePrivate: false), secret: Array(secret.utf8))
    }

    // MARK: Signature

    @Test func theSignatureIsTheSpecifications() throws {
        // The test of the specification's repository.
        let published = StandardWebhooks.signature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: 1_614_265_330,
            body: Array(#"{"test": 2432232314}"#.utf8),
            secrets: try secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        )
        #expect(published == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func duringARotationItIsSignedWithBothSecrets() throws {
        let body =
            #"{"type":"message.delivered","timestamp":"2026-11-01T12:26:40.000Z","data":{"id":"ezw_msg_1","#
            + #""line_id":"line_7","to":"+34600111222","status":"delivered"}}"#
        func signature(_ text: String) throws -> String {
            StandardWebhooks.signature(
                id: "msg_01J9ZK3Q7V8W2X4Y6Z0A1B2C3D",
                timestamp: 1_762_000_000,
                body: Array(body.utf8),
                secrets: try secrets(text)
            )
        }
        let a = "v1,7X5KrgLHiHc0lV19LQUjdN0gBHi2T3BgA6xzu+1d3Jc="
        let b = "v1,n2JNHypMfAj7WXs3nX8yEocAqxYF/+CAYLT1vJpAqCw="
        #expect(try signature(Self.secretA) == a)
        #expect(try signature(Self.secretA + "\n" + Self.secretB) == a + " " + b)
        #expect(try signature("\r\n" + Self.secretB + "\r\n" + Self.secretA + "\n") == b + " " + a)
    }

    @Test(arguments: [
        "", " ", "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "whsec_", "whsec_AQID",
        "WHSEC_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhc=",
        "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA", "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhc*",
        "whsk_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", secretA + "\n" + secretA,
        secretA + "\n" + secretB + "\n" + "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        // 23 and 65 bytes.
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "whsec_" + String(repeating: "AAAA", count: 21) + "AAA=",
    ])
    func whatIsNoSecretIsRefused(_ text: String) {
        #expect {
            _ = try carrier.secretHint(Array(text.utf8))
        } throws: { error in
            (error as? Refusal)?.field == "secret"
        }
    }

    @Test func secretsOfEveryAllowedLengthAreTaken() throws {
        for (count, last) in [(8, ""), (21, "AA==")] {
            let text = "whsec_" + String(repeating: "AAAA", count: count) + last
            #expect(try carrier.secretHint(Array(text.utf8)) == "…" + text.suffix(4))
        }
        #expect(try carrier.secretHint(Array((Self.secretA + "\n" + Self.secretB).utf8)) == "…HyA=")
    }

    // MARK: The call

    private func job(_ key: String = "order:acme.1042:ready") throws -> DeliverJob {
        try DeliverJob(
            destination: DestinationID("crm"),
            key: IdempotencyKey(key),
            type: "message.received",
            happenedAt: Timestamp(rfc3339: "2026-11-01T12:26:40.5Z")!,
            data: JSONValue(parsing: Array(#"{"b":1.50,"a":"x"}"#.utf8))
        )
    }

    private func call(
        _ account: any CarrierAccount,
        key: String = "order:acme.1042:ready",
        body: [UInt8] = [1],
        at time: Timestamp = now
    ) throws -> OutsideCall {
        let attempt = CarriedAttempt(key: try IdempotencyKey(key), request: body, number: 1, isStamped: false)
        var exchange = account.exchange(attempt)
        guard case .call(let call, mayTakeEffect: true) = exchange.next(.begin(at: time)) else {
            Issue.record("no call that may take effect")
            throw CancellationError()
        }
        return call
    }

    private func header(_ name: String, of call: OutsideCall) -> String? {
        call.headers.first { $0.name == name }?.value
    }

    @Test func theStoredBytesAreSentWithIdTimeAndSignature() throws {
        let job = try job()
        let body = try carrier.render(.deliver(job))
        #expect(
            String(decoding: body, as: UTF8.self)
                == #"{"type":"message.received","timestamp":"2026-11-01T12:26:40.500Z","data":{"a":"x","b":1.50}}"#
        )
        let call = try call(account(), body: body)
        #expect(call.method == .post && call.url == "https://hooks.example.com/x/abc" && call.body == body)
        #expect(call.onlyPublicHosts)
        #expect(header("Content-Type", of: call) == "application/json")
        #expect(header("webhook-id", of: call) == "order:acme~1042:ready")
        #expect(header("X-EZW-Delivery-Id", of: call) == "order:acme~1042:ready")
        #expect(header("webhook-timestamp", of: call) == "1796148000")
        let signature = StandardWebhooks.signature(
            id: "order:acme~1042:ready",
            timestamp: 1_796_148_000,
            body: body,
            secrets: try secrets(Self.secretA)
        )
        #expect(header("webhook-signature", of: call) == signature)
    }

    /// Each try has its own time and signature, and the same id and bytes.
    @Test func aLaterTryIsSignedAnew() throws {
        let account = try account()
        let (first, second) = try (call(account), call(account, at: Self.now + .seconds(60)))
        #expect(header("webhook-timestamp", of: second) == "1796148060")
        #expect(header("webhook-signature", of: first) != header("webhook-signature", of: second))
        #expect(header("webhook-id", of: first) == header("webhook-id", of: second))
        #expect(first.body == second.body)
    }

    @Test func noTwoKeysHaveTheSameIdAndNoIdHasADot() throws {
        let keys = ["a.b", "a:b", "a-b", "a_b", "ab", "a..b", ".", "..", "a.b.c"]
        let ids = try keys.map { StandardWebhooks.id(of: try IdempotencyKey($0)) }
        #expect(Set(ids).count == keys.count)
        #expect(ids.allSatisfy { !$0.contains(".") })
        // What stands for a dot is in no key.
        #expect(throws: Refusal.self) { try IdempotencyKey("a~b") }
    }

    // MARK: Answers

    @Test func everyStatusHasItsOutcome() {
        var expected: [Int: Outcome] = [:]
        for status in 100...199 { expected[status] = .unknown(reason: .unexpectedStatus) }
        for status in 200...299 { expected[status] = .sent(remoteID: nil, note: nil) }
        for status in 300...399 { expected[status] = .park(reason: .redirected) }
        for status in 400...499 { expected[status] = .park(reason: .unexpectedStatus) }
        for status in 500...599 { expected[status] = .unknown(reason: .serverError) }
        for status in 600...999 { expected[status] = .unknown(reason: .unexpectedStatus) }
        for status in [400, 413, 415, 422] { expected[status] = .park(reason: .messageRefused) }
        expected[401] = .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))
        for status in [402, 403] { expected[status] = .laneUnhealthy(reason: .lineRefused, trouble: .hold(.human)) }
        expected[404] = .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.transient))
        expected[405] = .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        expected[410] = .laneUnhealthy(reason: .endpointGone, trouble: .hold(.human))
        expected[408] = .unknown(reason: .serverTimeout)
        expected[409] = .park(reason: .conflict)
        expected[423] = .laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient))
        expected[425] = .unknown(reason: .tooEarly)
        expected[429] = .laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(30)))
        for status in [502, 503, 504] {
            expected[status] = .laneUnhealthy(reason: .serverError, trouble: .pause(for: .seconds(30)))
        }
        for (status, wanted) in expected {
            let outcome = StandardWebhooks.outcome(OutsideAnswer(status: status), now: Self.now)
            #expect(outcome == wanted, "\(status)")
        }
        // A redirect is a wrong address: the lane waits for a person, too.
        #expect(expected[301]?.laneTrouble == .hold(.human))
    }

    @Test(arguments: [429, 502, 503, 504])
    func theEndpointGetsTheTimeThatItAsksFor(_ status: Int) {
        for (text, seconds) in [("7", 7), ("Tue, 01 Dec 2026 18:01:30 GMT", 90), ("99999", 3_600)] {
            let answer = OutsideAnswer(status: status, headers: [.init("retry-after", text)])
            let outcome = StandardWebhooks.outcome(answer, now: Self.now)
            #expect(outcome.laneTrouble == .pause(for: .seconds(seconds)))
            // Whoever stands before the endpoint cannot say whether it got the event.
            #expect(outcome.mayHaveSent == (status != 429))
        }
    }

    @Test func aFullQueueIsNoBadEvent() {
        let full = OutsideAnswer(status: 400, body: Array("Queue is full.".utf8))
        #expect(
            StandardWebhooks.outcome(full, now: Self.now)
                == .laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(30)))
        )
        let bad = OutsideAnswer(status: 400, body: Array("no such field".utf8))
        #expect(StandardWebhooks.outcome(bad, now: Self.now) == .park(reason: .messageRefused))
    }

    /// An answer may repeat the URL, as n8n's 404 does, and so may whatever stands between.
    @Test func theEvidenceHoldsNoPartOfTheAddress() throws {
        let account = try account(url: "https://n8n.example/webhook/5b1a2c3d-77aa/notes?key=k0k0k0k0")
        let attempt = CarriedAttempt(key: try IdempotencyKey("k"), request: [1], number: 1, isStamped: false)
        var exchange = account.exchange(attempt)
        _ = exchange.next(.begin(at: Self.now))
        let body = #"{"message":"The requested webhook \"POST 5b1a2c3d-77aa/notes\" is not registered. key=k0k0k0k0"}"#
        let answer = OutsideAnswer(status: 404, body: Array(body.utf8))
        guard case .done(let outcome, let evidence?) = exchange.next(.called(.success(answer), at: Self.now)) else {
            Issue.record("not done")
            return
        }
        #expect(outcome.laneTrouble == .hold(.transient))
        #expect(
            evidence.bodyText
                == #"{"message":"The requested webhook \"POST [address]/notes\" is not registered. key=[address]"}"#
        )
    }

    // MARK: Addresses

    @Test(arguments: [
        ("https://hooks.example.com/A/b?c=D", "https://hooks.example.com/A/b?c=D", "https://hooks.example.com/…"),
        ("HTTPS://Hooks.Example.com:8443/A/", "https://hooks.example.com:8443/A/", "https://hooks.example.com:8443/…"),
        ("https://hooks.example.com", "https://hooks.example.com", "https://hooks.example.com"),
        ("https://hooks.example.com/", "https://hooks.example.com/", "https://hooks.example.com"),
        ("https://hooks.example.com?a", "https://hooks.example.com?a", "https://hooks.example.com/…"),
        ("https://hooks.example.com/x@y", "https://hooks.example.com/x@y", "https://hooks.example.com/…"),
        ("https://127.0.0.1/x", "https://127.0.0.1/x", "https://127.0.0.1/…"),
    ])
    func anAddressKeepsItsPathAndHidesIt(_ text: String, _ value: String, _ shown: String) throws {
        for mayBePrivate in [true, false] {
            let address = try carrier.address(text, mayBePrivate: mayBePrivate)
            #expect(address.value == value && address.shown == shown && address.mayBePrivate == mayBePrivate)
            #expect("\(address)" == shown)
        }
    }

    @Test func clearTextGoesToThisMachineOnlyAndOnlyWhereItIsAllowed() throws {
        for text in ["http://127.0.0.1:3010/hooks/a", "http://localhost/a", "http://[::1]:80/a"] {
            #expect(try carrier.address(text, mayBePrivate: true).value == text)
            #expect(throws: Refusal.self) { try carrier.address(text, mayBePrivate: false) }
        }
        for text in ["http://hooks.example.com/", "http://10.0.0.1/", "http://127.0.0.1.example/"] {
            #expect(throws: Refusal.self) { try carrier.address(text, mayBePrivate: true) }
        }
    }

    @Test(arguments: [
        "", "hooks.example.com/a", "ftp://hooks.example.com/", "https://user@hooks.example.com/",
        "https://user:word@hooks.example.com/", "https://", "https:///a", "https://hooks example.com/", "https://h/ ",
        "https://h/\n", "https://h/a#b", "https://h/{{id}}", "https://h/<id>", "https://h/\"", "https://h/\\",
        "https://h/é", "https://h:0/", "https://h:99999/",
    ])
    func whatIsNoAddressIsRefused(_ text: String) {
        #expect {
            _ = try carrier.address(text, mayBePrivate: true)
        } throws: { error in
            (error as? Refusal)?.field == "url"
        }
    }

    @Test func anAddressHasALongestLength() throws {
        let start = "https://h/"
        let text = start + String(repeating: "x", count: 2_000 - start.utf8.count)
        #expect(try carrier.address(text, mayBePrivate: false).value == text)
        #expect(throws: Refusal.self) { try carrier.address(text + "x", mayBePrivate: false) }
    }
}
