import Testing
import TrunklineCore

@testable import TrunklineIntegrations

@Suite struct EZWhatsAppOutcomeTests {
    private static let now = Timestamp(rfc3339: "2026-12-01T18:00:00Z")!

    private func outcome(
        _ status: Int,
        _ body: String = "",
        retryAfter: String? = nil,
        stamped: Bool = false,
        attempt: Int32 = 2
    ) -> Outcome {
        EZWhatsApp.outcome(
            status: status,
            body: Array(body.utf8),
            retryAfter: retryAfter,
            now: Self.now,
            stamped: stamped,
            attempt: attempt
        )
    }

    /// Every row of the contract's table; the body must not matter.
    @Test(arguments: ["", "{}", "<html>ok</html>", #"{"error":{"code":"x"}}"#, #"{"status":"queued"}"#])
    func statuses(_ body: String) {
        let human = LaneTrouble.hold(.human)
        var expected: [Int: Outcome] = [:]
        for status in 100...199 { expected[status] = .unknown(reason: .unexpectedStatus) }
        for status in 200...202 { expected[status] = .sent(remoteID: nil, note: nil) }
        for status in 203...299 {
            expected[status] = .sent(remoteID: nil, note: "accepted with the unusual status \(status)")
        }
        for status in 300...399 { expected[status] = .park(reason: .redirected) }
        for status in 400...499 { expected[status] = .park(reason: .unexpectedStatus) }
        for status in [400, 413, 415, 422] { expected[status] = .park(reason: .messageRefused) }
        expected[401] = .laneUnhealthy(reason: .credentialRefused, trouble: human)
        for status in [402, 403] { expected[status] = .laneUnhealthy(reason: .lineRefused, trouble: human) }
        for status in [404, 405, 410] { expected[status] = .laneUnhealthy(reason: .endpointMissing, trouble: human) }
        expected[408] = .unknown(reason: .serverTimeout)
        expected[409] = .recheckHealth(reason: .conflict)
        expected[423] = .laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient))
        expected[425] = .unknown(reason: .tooEarly)
        expected[429] = .laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(30)))
        for status in 500...599 { expected[status] = .unknown(reason: .serverError) }
        for status in [0, 600, 999] { expected[status] = .unknown(reason: .unexpectedStatus) }
        for (status, wanted) in expected {
            #expect(outcome(status, body) == wanted, "\(status)")
            #expect(outcome(status, body, stamped: true) == (status == 409 ? .unknown(reason: .conflict) : wanted))
        }
    }

    /// Definite refusals are these and no others.
    @Test func definiteRefusals() {
        let definite: Set<Int> = [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 423, 429]
        for status in 300...599 {
            #expect(outcome(status).mayHaveSent == !definite.contains(status), "\(status)")
        }
    }

    /// The API may be at work on our own earlier call; what goes on saying no is for a person.
    @Test func aConflictOfWhatMayHaveBeenSentIsAskedAgainAndThenParked() {
        for attempt in 1...20 as ClosedRange<Int32> {
            let wanted: Outcome = attempt < 7 ? .unknown(reason: .conflict) : .park(reason: .conflict)
            #expect(outcome(409, stamped: true, attempt: attempt) == wanted)
            #expect(outcome(409, attempt: attempt) == .recheckHealth(reason: .conflict))
        }
    }

    @Test func conflictAsksHealth() {
        #expect(EZWhatsApp.outcome(ofConflict: .open(note: nil)) == .park(reason: .conflict))
        for kind in HoldKind.allCases {
            #expect(
                EZWhatsApp.outcome(ofConflict: .held(kind, reason: .lineNotSendable, detail: nil))
                    == .laneUnhealthy(reason: .conflict, trouble: .hold(kind))
            )
        }
        #expect(
            EZWhatsApp.outcome(ofConflict: .keepLast(reason: .timedOut))
                == .laneUnhealthy(reason: .conflict, trouble: .hold(.transient))
        )
    }

    @Test(
        arguments: [
            (nil, 30), ("", 30), ("  ", 30), ("soon", 30), ("-5", 30), ("1.5", 30), ("0", 1), ("1", 1), ("7", 7),
            (" 120 ", 120),
            ("3599", 3_599), ("3600", 3_600), ("86400", 3_600), ("99999999999999999999999", 3_600),
            ("Tue, 01 Dec 2026 18:01:30 GMT", 90), ("Tuesday, 01-Dec-26 18:01:30 GMT", 90),
            ("Tue Dec  1 18:01:30 2026", 90),
            ("Tue, 01 Dec 2026 17:00:00 GMT", 30), ("Tue, 01 Dec 2026 23:00:00 GMT", 3_600),
            ("Tue, 31 Nov 2026 18:01:30 GMT", 30), ("Tue, 01 Foo 2026 18:01:30 GMT", 30),
            ("Tue, 01 Dec 2026 18:01:30 CET", 30),
            ("Tue, 01 Dec 2026 25:01:30 GMT", 30), ("Tue, 01 Dec 2026", 30), ("2026-12-01T18:01:30Z", 30),
        ] as [(String?, Int)]
    )
    func retryAfter(_ header: String?, _ seconds: Int) {
        #expect(
            outcome(429, retryAfter: header)
                == .laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(seconds)))
        )
    }

    @Test func oneDateInThreeForms() {
        let wanted = Timestamp(rfc3339: "1994-11-06T08:49:37Z")
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            #expect(RetryAfter.date(text) == wanted, "\(text)")
        }
    }

    @Test(
        arguments: [
            (#"{"status":"queued","attemptId":"att_1","lineId":"l"}"#, "att_1"),
            (#"{"id":"i","attemptId":"a"}"#, "a"), (#"{"id":"i"}"#, "i"),
            (#"{"id":12345678901234567890}"#, "12345678901234567890"),
            (#"{"sendAttemptId":"s","queuedId":"q"}"#, "s"), (#"{"message_id":"m_","messageId":"m"}"#, "m"),
            (#"{"message":{"id":"x","status":"queued"}}"#, "x"), (#"{"data":{"id":"d"},"message":{"id":"m"}}"#, "m"),
            (#"{"attempt":{"attemptId":"a"},"data":{"id":"d"}}"#, "d"), (#"{"message":{"id":"m"},"id":"top"}"#, "top"),
            (#"{"message":{"message":{"id":"deep"}}}"#, nil), (#"{"attemptId":null,"id":"i"}"#, "i"),
            (#"{"attemptId":"","id":"i"}"#, "i"), (#"{"attemptId":{"id":"x"},"id":"i"}"#, "i"),
            (#"{"attemptId":true}"#, nil),
            (#"{"id":"a","id":"b"}"#, "a"), ("{}", nil), ("", nil), ("[]", nil), (#"[{"id":"x"}]"#, nil), ("null", nil),
            (#""att_1""#, nil), ("<html><body>OK</body></html>", nil), (#"{"id":"i","rest":"#, "i"),
            (#"{"id":"i"#, nil),
            (#"{"id":"i"} trailing"#, "i"), (#"{"id":"a\nb"}"#, nil),
        ] as [(String, String?)]
    )
    func remoteIDs(_ body: String, _ id: String?) {
        #expect(outcome(202, body) == .sent(remoteID: id, note: nil))
    }

    @Test func largeAnswers() {
        let padding = String(repeating: "x", count: 70_000)
        #expect(EZWhatsApp.remoteID(in: Array(#"{"id":"i","padding":"\#(padding)"}"#.utf8)) == "i")
        #expect(EZWhatsApp.remoteID(in: Array(#"{"padding":"\#(padding)","id":"i"}"#.utf8)) == nil)
        #expect(EZWhatsApp.remoteID(in: Array(#"{"id":"\#(padding)"}"#.utf8)) == nil)
        #expect(EZWhatsApp.remoteID(in: [UInt8](repeating: 0x5B, count: 65_536)) == nil)
        #expect(EZWhatsApp.remoteID(in: [0x7B, 0x22, 0xFF, 0x22]) == nil)
    }

    @Test func failures() {
        func outcome(_ mayHaveLeft: Bool, _ cause: OutsideFailure.Cause, status: Int? = nil) -> Outcome {
            Outcome(
                noAnswer: OutsideFailure(cause: cause, mayHaveLeft: mayHaveLeft, status: status, reason: "x")
            )
        }
        for cause in [OutsideFailure.Cause.unresolved, .unreachable, .untrusted, .timedOut, .broken] {
            #expect(outcome(false, cause) == .retry(after: nil, reason: .unreachable, cause: .notSent))
        }
        #expect(
            outcome(false, .shortage) == .retry(after: .seconds(1), reason: .localShortage, cause: .notSent)
        )
        #expect(outcome(false, .withdrawn) == .retry(after: nil, reason: .withdrawn, cause: .notSent))
        #expect(outcome(true, .timedOut) == .unknown(reason: .timedOut))
        for cause in [OutsideFailure.Cause.broken, .withdrawn, .unreachable, .untrusted] {
            #expect(outcome(true, cause) == .unknown(reason: .connectionLost))
        }
        #expect(outcome(true, .broken, status: 500) == .unknown(reason: .connectionLost))
        guard case .sent(nil, .some) = outcome(true, .broken, status: 202) else {
            Issue.record("a 202 whose body broke off is accepted")
            return
        }
        #expect(
            outcome(false, .refused) == .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        )
    }

    @Test func evidenceNeverHoldsTheToken() throws {
        let token = try EZWhatsApp.Token("ezw_line_0123456789abcdef0123456789abcdef")
        for offset in [0, 1, 100, 2_000, 2_020, 2_040, 2_047, 2_048, 3_000] {
            for repeats in 1...3 {
                let body =
                    String(repeating: "x", count: offset)
                    + String(repeating: "Bearer \(token.value) ", count: repeats) + "end"
                let evidence = EZWhatsApp.evidence(
                    status: 401,
                    body: Array(body.utf8),
                    failure: "sent \(token.value)",
                    token: token
                )
                #expect(evidence.body.count <= 2_048)
                #expect(!evidence.bodyText.contains("ezw_line_0"), "offset \(offset)")
                #expect(evidence.failure == "sent [token]")
            }
            // The body itself was cut in the middle of the token.
            let cut = String(repeating: "x", count: offset) + token.value.prefix(20)
            let evidence = EZWhatsApp.evidence(status: 401, body: Array(cut.utf8), token: token)
            #expect(!evidence.bodyText.contains("ezw_line_0"))
        }
        let plain = EZWhatsApp.evidence(status: 500, body: Array("oops".utf8), token: token)
        #expect(plain.bodyText == "oops" && plain.status == 500 && plain.failure == nil)
    }
}
