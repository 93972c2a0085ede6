import Testing
import TrunklineCore
import TrunklineIntegrations

@Suite struct EZWhatsAppRequestTests {
    private func job(button: Button? = nil, body: String = "Hi \"Marta\",\nש 😀 / \\") throws -> SendJob {
        try SendJob(
            line: LineID("acme"),
            key: IdempotencyKey("order:acme.1:ready"),
            to: PhoneNumber("+34600111222"),
            body: body,
            button: button,
            purpose: .order,
            tags: ["a": "b"]
        )
    }

    @Test func bytesAreExact() throws {
        let plain = try EZWhatsApp.textRequestBody(job())
        #expect(String(decoding: plain, as: UTF8.self) == #"{"to":"+34600111222","body":"Hi \"Marta\",\nש 😀 / \\"}"#)
        let button = try Button(text: "See order", url: "https://shop.example.net/o/A-1042")
        let full = try EZWhatsApp.textRequestBody(job(button: button, body: "a"))
        #expect(
            String(decoding: full, as: UTF8.self)
                == #"{"to":"+34600111222","body":"a","ctaUrlButton":{"displayText":"See order","url":"https://shop.example.net/o/A-1042"}}"#
        )
    }

    @Test func requests() throws {
        let base = try EZWhatsApp.BaseURL("https://app.ezw.solutions/api/v1/")
        let token = try EZWhatsApp.Token("ezw_line_0123456789abcd")
        let send = try EZWhatsApp.textRequest(base: base, token: token, key: IdempotencyKey("k:1"), body: [1, 2])
        #expect(send.method == .post)
        #expect(send.url == "https://app.ezw.solutions/api/v1/messages/text")
        #expect(
            send.headers.map { "\($0.name): \($0.value)" } == [
                "Authorization: Bearer ezw_line_0123456789abcd", "Idempotency-Key: k:1",
                "Content-Type: application/json",
                "Accept: application/json",
            ]
        )
        #expect(send.body == [1, 2])
        let health = EZWhatsApp.healthRequest(base: base, token: token)
        #expect(health.method == .get && health.body == nil)
        #expect(health.url == "https://app.ezw.solutions/api/v1/health?wakeup=false&channel_type=web")
        for call in [send, health] {
            #expect(!call.onlyPublicHosts && call.wantedHeaders == ["Retry-After"])
        }
    }

    @Test func theTokenIsShownNowhere() throws {
        let token = try EZWhatsApp.Token("ezw_line_0123456789abcd")
        let base = try EZWhatsApp.BaseURL("https://app.ezw.solutions/api/v1")
        let request = EZWhatsApp.healthRequest(base: base, token: token)
        #expect("\(token)" == "…abcd")
        var dumped = ""
        dump(token, to: &dumped)
        dump(request, to: &dumped)
        for text in [
            "\(token)", String(reflecting: [Optional(token)]), "\(request)", String(reflecting: [request]), dumped,
        ] {
            #expect(!text.contains("0123456789"), "\(text)")
        }
    }

    @Test(arguments: [
        "", "short", "ezw_line_", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "Bearer ezw_line_0123456789",
        "postgresql://user:password@host/database", "ezw_line_a b c d e", "ezw_line_\"quoted\"", "EZW_LINE_0123456789",
        "ezw_line_\r\nX-Evil: 1", "ezw_line_é123456", "ezw_line_\u{0}12345",
    ])
    func badTokens(_ text: String) {
        #expect(throws: Refusal.self) { try EZWhatsApp.Token(text) }
        do {
            _ = try EZWhatsApp.Token(text)
        } catch {
            #expect(error.field == "token" && (["", "ezw_line_"].contains(text) || !error.reason.contains(text)))
        }
    }

    @Test(arguments: [
        ("https://app.ezw.solutions/api/v1", "https://app.ezw.solutions/api/v1", "https://app.ezw.solutions"),
        ("HTTPS://App.EZW.solutions:8443//", "https://app.ezw.solutions:8443", "https://app.ezw.solutions:8443"),
        ("http://127.0.0.1:3010/api/v1/", "http://127.0.0.1:3010/api/v1", "http://127.0.0.1:3010"),
        ("http://127.8.9.1", "http://127.8.9.1", "http://127.8.9.1"),
        ("http://localhost:1", "http://localhost:1", "http://localhost:1"),
        ("http://[::1]:3010/api/v1", "http://[::1]:3010/api/v1", "http://[::1]:3010"),
    ])
    func baseURLs(_ text: String, _ value: String, _ origin: String) throws {
        let base = try EZWhatsApp.BaseURL(text)
        #expect(base.value == value)
        #expect(base.origin == origin)
    }

    @Test(arguments: [
        "", "app.ezw.solutions", "ftp://x", "http://app.ezw.solutions/api/v1", "http://127.0.0.1.evil.example/",
        "http://127.0.0.256/", "http://10.0.0.1/", "http://[::2]/", "http://localhost.evil.example", "https://",
        "https:///api", "https://user@x/", "https://user:pw@x/", "http://127.0.0.1@evil.example/", "https://x/?a=b",
        "https://x/#f", "https://x y/", "https://x/\n", "https://x\\y", "https://x:0", "https://x:99999",
        "https://é.example",
    ])
    func badBaseURLs(_ text: String) {
        #expect(throws: Refusal.self) { try EZWhatsApp.BaseURL(text) }
    }
}
