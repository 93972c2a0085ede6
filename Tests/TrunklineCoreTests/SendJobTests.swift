import Testing

@testable import TrunklineCore

@Suite struct SendJobTests {
    @Test func readsTheDocumentedMessage() throws {
        let job = try SendJob.decode(json: Array(Sample.full.utf8))
        #expect(job.line.value == "acme-il")
        #expect(job.key.value == "order:acme.1042:ready")
        #expect(job.to.value == "+972501234567")
        #expect(job.body == "Your order 1042 is ready.")
        #expect(job.button?.text == "See order")
        #expect(job.button?.url == "https://shop.example/o/1042")
        #expect(job.purpose == .pickup)
        #expect(job.notBefore == nil)
        #expect(job.sendBefore?.rfc3339 == "2026-12-01T18:00:00Z")
        #expect(job.supersedeKey == "order:acme.1042")
        #expect(job.factAt?.rfc3339 == "2026-12-01T09:00:00Z")
        #expect(job.orderingKey == nil)
        #expect(job.orderingName == "+972501234567")
        #expect(job.tags == ["order": "1042"])
        #expect(job.laneName == "line:acme-il")
    }

    @Test func writesCanonically() throws {
        let job = try SendJob.decode(json: Array(Sample.full.utf8))
        #expect(
            String(decoding: job.encode(), as: UTF8.self)
                == #"{"schema":"trunkline.send.v1","line":"acme-il","key":"order:acme.1042:ready","to":"+972501234567","#
                + #""body":"Your order 1042 is ready.","button":{"text":"See order","url":"https://shop.example/o/1042"},"#
                + #""purpose":"pickup","sendBefore":"2026-12-01T18:00:00Z","supersedeKey":"order:acme.1042","#
                + #""factAt":"2026-12-01T09:00:00Z","tags":{"order":"1042"}}"#
        )
    }

    @Test func acceptsWhatTheRulesAllow() throws {
        let long = String(repeating: "a", count: 4_096)
        let emoji = String(repeating: "😀", count: 2_048)
        for changes: [String: String?] in [
            [:], ["body": "\"\(long)\""], ["body": "\"\(emoji)\""], ["body": #""two\nlines""#],
            ["body": #""שלום é 👨‍👩‍👧""#],
            ["body": "\"\u{202B}שלום\u{202C}\""], ["button": "null"], ["tags": "null"], ["tags": "{}"],
            ["notBefore": "null"],
            ["notBefore": #""2026-12-01T09:00:00Z""#, "sendBefore": #""2026-12-01T11:00:00.000001+02:00""#],
            ["sendBefore": #""2000-01-01T00:00:00Z""#], ["sendBefore": #""2100-12-31T23:59:59Z""#],
            ["factAt": #""2026-12-01T09:00:00Z""#], ["orderingKey": #""person:7""#], ["tags": #"{"a":"","b":"c d"}"#],
            ["button": #"{"text":"12345678901234567890","url":"https://x"}"#],
            ["button": #"{"text":"a","url":"HTTPS://shop.example:8443/a?b=c#d"}"#],
            ["button": #"{"text":"a","url":"https://[2001:db8::1]:443/"}"#],
            ["button": #"{"text":"a","url":"https://shop.example/שלום?x=%20"}"#],
            ["button": "{\"text\":\"a\",\"url\":\"https://shop.example/\(String(repeating: "a", count: 1_979))\"}"],
        ] {
            #expect(throws: Never.self, "\(changes)") { try SendJob.decode(json: Sample.json(changes)) }
        }
        let tags = (0..<20).map { "\"t\($0)\":\"v\"" }.joined(separator: ",")
        #expect(try SendJob.decode(json: Sample.json(["tags": "{\(tags)}"])).tags.count == 20)
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        var field: String?
        var kind: Refusal.Kind = .invalid
        var changes: [String: String?] = [:]
        var extra = ""
        var testDescription: String { "\(kind) \(field ?? "-") \(changes.values.first??.prefix(40) ?? "") \(extra)" }
    }

    static let bad: [Bad] = {
        var list: [Bad] = []
        func add(_ field: String, _ raw: [String?], _ kind: Refusal.Kind = .invalid, at path: String? = nil) {
            for value in raw { list.append(Bad(field: path ?? field, kind: kind, changes: [field: value])) }
        }
        let quoted = { (n: Int) in "\"\(String(repeating: "a", count: n))\"" }
        for field in ["line", "key", "to", "body", "purpose"] {
            add(field, [nil, "null", "1", "true", "[]", "{}", #""""#])
        }
        add("line", [#""a b""#, #""a:b""#, quoted(65)])
        add("key", [#""a b""#, #""a/b""#, quoted(129), #""é""#])
        add("to", [#""0501234567""#, #""+0501234567""#, #""+972 50 1234567""#, #""+1234567""#])
        add("to", [#""123@g.us""#], .policy)
        add(
            "body",
            [
                #"" ""#, #""\n\n""#, #""\u200b\u200d""#, #""\u2800""#, #""a\tb""#, #""a\r\nb""#, #""a\u0007""#,
                #""a\u007f""#,
                #""a\u0085""#, #""a\u0000b""#,
            ]
        )
        add("body", [quoted(4_097), "\"\(String(repeating: "😀", count: 2_048))a\""], .tooLarge)
        add("purpose", [#""other""#, #""Pickup""#])
        add("purpose", [#""marketing""#, #""campaign""#, #""cold""#], .policy)
        for field in ["notBefore", "sendBefore", "factAt"] {
            add(
                field,
                [
                    "1796148000", #""tomorrow""#, #""2026-12-01""#, #""2026-12-01T18:00:00""#,
                    #""1999-12-31T23:59:59Z""#,
                    #""2101-01-01T00:00:00Z""#, #""2000-01-01T00:00:00+02:00""#,
                ]
            )
        }
        add("orderingKey", [#""""#, #""a b""#, "7", quoted(129)])
        list.append(
            Bad(
                field: "supersedeKey",
                changes: ["supersedeKey": #""a b""#, "factAt": #""2026-12-01T18:00:00Z""#]
            )
        )
        list.append(Bad(field: "factAt", changes: ["supersedeKey": #""order:1""#]))
        for late in [#""2026-12-01T18:00:00Z""#, #""2026-12-01T17:59:59Z""#] {
            list.append(
                Bad(
                    field: "sendBefore",
                    changes: ["notBefore": #""2026-12-01T18:00:00Z""#, "sendBefore": late]
                )
            )
        }
        add("button", ["1", "[]", #""x""#])
        add("button", [#"{"url":"https://x"}"#, #"{"text":null,"url":"https://x"}"#, "{}"], at: "button.text")
        add("button", [#"{"text":"a"}"#], at: "button.url")
        add("button", [#"{"text":"a","url":"https://x","color":"red"}"#], at: "button.color")
        for text in [#""""#, #"" ""#, #""123456789012345678901""#, #""a\nb""#, #""a\u0001""#, "7"] {
            add("button", [#"{"text":\#(text),"url":"https://x"}"#], at: "button.text")
        }
        for url in [
            "", "shop.example", "/o/1", "//shop.example/", "http://shop.example/", "ftp://x", "javascript:alert(1)",
            "https://",
            "https:///path", "https://?q", "https://a b/", "https://x/a b", "https://x/\\u00a0", "https://x/\\n",
            "https://x/\\u2028", "https://user@x/", "https://u:p@x/", "https://x\\\\y/", "https://x/{{url}}",
            "https://x:/",
            "https://x:0/", "https://x:70000/", "https://x:8a/", "https://.x/", "https://-x/", "https://[]/",
            "https://[::1", "https://[zz::]/", "https://x/\\\"", "https://x/<b>",
            "https://x/" + String(repeating: "a", count: 1_991),
        ] {
            add("button", [#"{"text":"a","url":"\#(url)"}"#], at: "button.url")
        }
        add(
            "tags",
            ["1", "[]", #""a""#, #"{"a":1}"#, #"{"a":null}"#, #"{"":"x"}"#, #"{"a":"x\u0001"}"#, #"{"a\nb":"x"}"#]
        )
        add("tags", ["{\(quoted(65)):\"x\"}", "{\"a\":\(quoted(257))}"])
        add("tags", ["{\((0..<21).map { "\"t\($0)\":\"v\"" }.joined(separator: ","))}"])
        list.append(Bad(field: "colour", extra: #","colour":"red""#))
        list.append(Bad(field: "Body", extra: #","Body":"x""#))
        list.append(Bad(field: nil, extra: #","+972501234567":"x""#))
        list.append(Bad(field: "to", kind: .malformed, extra: #","to":"+972501234568""#))
        list.append(Bad(field: "to", kind: .malformed, extra: #","\u0074o":"+972501234568""#))
        list.append(Bad(field: "tags", kind: .malformed, changes: ["tags": #"{"a":"1","a":"1"}"#]))
        return list
    }()

    @Test(arguments: bad)
    func refuses(_ bad: Bad) {
        let json = Sample.json(bad.changes, extra: bad.extra)
        let refusal = refusal("\(bad)") { _ = try SendJob.decode(json: json) }
        #expect(refusal?.kind == bad.kind)
        #expect(refusal?.field == bad.field)
        #expect(refusal.map { safe($0.reason) } ?? true, "\(refusal?.reason ?? "")")
        #expect(throws: Refusal.self) { try QueueMessage.decode(json) }
    }

    /// No number, no text of a customer, one line, a sentence's length.
    private func safe(_ reason: String) -> Bool {
        !reason.contains("1234567") && !reason.contains("Your order") && !reason.contains("shop.example")
            && !reason.contains("aaaaaa") && !reason.contains("😀") && reason.count < 240 && !reason.contains("\n")
    }

    @Test func everyTruncationIsMalformed() {
        let whole = Array(Sample.full.utf8)
        // Cut inside the schema's own value, a message names no schema yet; it is still only truncated.
        for length in 0..<whole.count {
            let refusal = refusal("\(length) bytes") { _ = try QueueMessage.decode(Array(whole[..<length])) }
            #expect(refusal?.kind == .malformed, "\(length) bytes")
        }
    }

    @Test func malformedComesBeforeBrokenRules() {
        let json = Array(#"{"schema":"trunkline.send.v1","to":"x","colour":1,"body":"#.utf8)
        #expect(refusal { _ = try SendJob.decode(json: json) }?.kind == .malformed)
    }

    @Test func placesAreNamed() {
        let json = Array(#"{"schema":"trunkline.send.v1","button":{"text":"a","url":"x\q"}}"#.utf8)
        let refusal = refusal { _ = try SendJob.decode(json: json) }
        #expect(refusal?.field == "button.url")
        #expect(refusal?.reason == "not a well-formed message: unknown escape at byte 59 (in or after button.url)")
    }

    @Test func sizes() throws {
        let padding = String(repeating: " ", count: 70_000)
        let large = Array((padding + String(decoding: Sample.json(), as: UTF8.self)).utf8)
        #expect(refusal { _ = try SendJob.decode(json: large) }?.kind == .tooLarge)
        #expect(refusal { _ = try QueueMessage.decode(large) }?.kind == .tooLarge)
        let exact = Sample.json()
        let fits = exact + [UInt8](repeating: 0x20, count: 65_536 - exact.count)
        #expect(throws: Never.self) { try QueueMessage.decode(fits) }
        #expect(refusal { _ = try QueueMessage.decode(fits + [0x20]) }?.kind == .tooLarge)
        let text = String(repeating: "a", count: 1_048_576)
        #expect(refusal { _ = try QueueMessage.decode(Sample.json(["body": "\"\(text)\""])) }?.kind == .tooLarge)
        #expect(refusal { _ = try QueueMessage.decode([UInt8](repeating: 0x61, count: 1_048_576)) }?.kind == .malformed)
        #expect(refusal { _ = try QueueMessage.decode([UInt8](repeating: 0x20, count: 2_000_000)) }?.kind == .tooLarge)
    }

    @Test func aPastSendBeforeIsLate() throws {
        let job = try SendJob.decode(json: Sample.json(["sendBefore": #""2026-12-01T18:00:00Z""#]))
        let deadline = try #require(job.sendBefore)
        #expect(throws: Never.self) { try job.validate(now: deadline - .microseconds(1)) }
        for now in [deadline, deadline + .seconds(1)] {
            let refusal = refusal { try job.validate(now: now) }
            #expect(refusal?.kind == .late && refusal?.field == "sendBefore")
        }
        #expect(throws: Never.self) { try Sample.job().validate(now: Timestamp(microseconds: .max)) }
    }

    @Test func theKeyMayComeBesideTheMessage() throws {
        let key = try IdempotencyKey("k:1")
        #expect(try SendJob.decode(json: Sample.json(["key": nil]), key: key).key == key)
        #expect(try SendJob.decode(json: Sample.json(["key": #""k:1""#]), key: key).key == key)
        #expect(refusal { _ = try SendJob.decode(json: Sample.json(), key: key) }?.field == "key")
    }
}
