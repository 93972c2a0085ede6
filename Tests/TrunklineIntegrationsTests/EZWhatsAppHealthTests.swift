import Testing
import TrunklineCore
import TrunklineIntegrations

@Suite struct EZWhatsAppHealthTests {
    private func body(
        channel: String? = #""AUTH""#,
        lifecycle: String? = #""connected""#,
        send: String? = #""sendable""#,
        sendable: String? = "true"
    ) -> String {
        let line = [("lifecycleState", lifecycle), ("effectiveSendState", send), ("sendable", sendable)]
            .compactMap { name, value in value.map { "\"\(name)\":\($0)" } }.joined(separator: ",")
        let health = channel.map { #""health":{"status":{"code":4,"text":\#($0)}},"# } ?? ""
        return "{\(health)\"line\":{\(line)}}"
    }

    private func verdict(_ body: String, status: Int = 200) -> HealthVerdict {
        EZWhatsApp.health(status: status, body: Array(body.utf8))
    }

    private func held(_ verdict: HealthVerdict) -> (kind: HoldKind, reason: Reason)? {
        guard case .held(let kind, let reason, _) = verdict else { return nil }
        return (kind, reason)
    }

    @Test func sendableIsOpen() {
        #expect(verdict(body()) == .open(note: nil))
        #expect(verdict(body(lifecycle: #""never_seen""#)) == .open(note: nil))
        for channel in [#""ERROR""#, #""SYNC_ERROR""#, #""QR""#, "null", "4", nil] {
            guard case .open(.some) = verdict(body(channel: channel)) else {
                Issue.record("\(channel ?? "-"): must be open, with a note")
                return
            }
        }
    }

    @Test(arguments: [
        "", "{}", "[]", "null", "<html>", "{\"line\":", #"{"line":null}"#, #"{"line":[]}"#, #"{"line":"sendable"}"#,
        #"{"line":{"sendable":true}}"#, #"{"line":{"effectiveSendState":"sendable"}}"#,
        #"{"line":{"effectiveSendState":"sendable","sendable":"true"}}"#,
        #"{"line":{"effectiveSendState":"sendable","sendable":1}}"#,
        #"{"line":{"effectiveSendState":"sendable","sendable":null}}"#,
        #"{"line":{"effectiveSendState":null,"sendable":true}}"#, #"{"line":{"effectiveSendState":1,"sendable":true}}"#,
        #"{"line":{"effectiveSendState":"Sendable","sendable":true}}"#,
        #"{"line":{"effectiveSendState":"sendable ","sendable":true}}"#,
        #"{"line":{"effectiveSendState":"qr_required","sendable":true}}"#,
        #"{"line":{"effectiveSendState":"sendable","sendable":false}}"#,
        #"{"line":{"effectiveSendState":"x","effectiveSendState":"sendable","sendable":true}}"#,
        #"{"line":{"effectiveSendState":"sendable","sendable":true}}x"#,
    ])
    func unclearIsHeld(_ text: String) {
        let held = held(verdict(text))
        #expect(held?.kind == .transient)
        #expect(held?.reason == .unclearHealth)
    }

    @Test(arguments: [
        "qr", "QR_REQUIRED", "logged_out", "device_unlinked_by_phone", "banned", "temporarily_blocked", "STOP",
        "stopped",
        "disabled", "paused", "reconnect_required",
    ])
    func aPersonIsNeeded(_ word: String) {
        let quoted = "\"\(word)\""
        for text in [
            body(channel: quoted, send: #""x""#, sendable: "false"),
            body(lifecycle: quoted, send: #""x""#, sendable: "false"),
            body(send: quoted, sendable: "false"),
        ] {
            let held = held(verdict(text))
            #expect(held?.kind == .human)
            #expect(held?.reason == .lineNeedsPerson)
        }
    }

    @Test(arguments: ["temporarily_unavailable", "never_seen_word", "", "INIT", "reconnecting", "😀"])
    func theRestIsTransient(_ word: String) {
        for channel in ["INIT", "LAUNCH", "ERROR", "AUTH"] {
            let held = held(verdict(body(channel: "\"\(channel)\"", send: "\"\(word)\"", sendable: "false")))
            #expect(held?.kind == .transient)
            #expect(held?.reason == .lineNotSendable)
        }
    }

    @Test func detailIsCleaned() {
        let verdict = verdict(body(lifecycle: #""a\nb +972501234567 \"x""#, send: #""😀""#, sendable: "false"))
        guard case .held(_, _, let detail?) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(detail == "channel AUTH, lifecycle a?b??972501234567??x, send ????")
        let long = String(repeating: "w", count: 5_000)
        guard case .held(_, _, let short?) = self.verdict(body(send: "\"\(long)\"", sendable: "false")) else {
            Issue.record("not held")
            return
        }
        #expect(short.count <= 160)
    }

    @Test(
        arguments: [
            (401, .held(.human, reason: .credentialRefused, detail: nil)),
            (403, .held(.human, reason: .lineRefused, detail: nil)),
            (402, .held(.human, reason: .lineRefused, detail: nil)),
            (404, .held(.human, reason: .endpointMissing, detail: nil)),
            (302, .held(.human, reason: .redirected, detail: nil)),
            (423, .held(.transient, reason: .lineLocked, detail: nil)),
            (429, .keepLast(reason: .slowDown)), (500, .keepLast(reason: .serverError)),
            (502, .keepLast(reason: .serverError)),
            (503, .keepLast(reason: .serverError)), (599, .keepLast(reason: .serverError)),
            (201, .held(.transient, reason: .unexpectedStatus, detail: "status 201")),
            (204, .held(.transient, reason: .unexpectedStatus, detail: "status 204")),
            (400, .held(.transient, reason: .unexpectedStatus, detail: "status 400")),
            (418, .held(.transient, reason: .unexpectedStatus, detail: "status 418")),
        ] as [(Int, HealthVerdict)]
    )
    func statuses(_ status: Int, _ wanted: HealthVerdict) {
        // Even a body that says sendable opens nothing.
        #expect(verdict(body(), status: status) == wanted)
    }

    @Test func failuresKeepTheLastAnswer() {
        func verdict(_ cause: OutsideFailure.Cause, mayHaveLeft: Bool = true) -> HealthVerdict {
            HealthVerdict(noAnswer: OutsideFailure(cause: cause, mayHaveLeft: mayHaveLeft, reason: "x"))
        }
        for mayHaveLeft in [true, false] {
            for cause in [OutsideFailure.Cause.unresolved, .unreachable, .untrusted, .broken, .withdrawn] {
                #expect(verdict(cause, mayHaveLeft: mayHaveLeft) == .keepLast(reason: .unreachable))
            }
            #expect(verdict(.timedOut, mayHaveLeft: mayHaveLeft) == .keepLast(reason: .timedOut))
        }
        #expect(verdict(.shortage, mayHaveLeft: false) == .keepLast(reason: .localShortage))
        #expect(verdict(.refused, mayHaveLeft: false) == .held(.human, reason: .endpointMissing, detail: nil))
    }
}
