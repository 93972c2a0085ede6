import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// `trunkline.enqueue`: a job inside a caller's own transaction, which is the job that every other way in makes.
@Suite("The SQL function enqueue")
struct EnqueueFunctionTests {
    private static let call = """
        select job, verdict from trunkline.enqueue(line => $1, key => $2, "to" => $3, body => $4, purpose => $5,
            button_text => $6, button_url => $7, not_before => $8, send_before => $9, supersede_key => $10, fact_at => $11,
            ordering_key => $12, tags => $13::jsonb)
        """

    /// The parameters of ``call``.
    private static func parameters(_ job: SendJob) -> [PostgresParameter] {
        func text(_ text: String?) -> PostgresParameter { text.map { .text($0) } ?? .null }
        func moment(_ moment: Timestamp?) -> PostgresParameter {
            moment.map { .timestamp(microseconds: $0.microseconds) } ?? .null
        }
        return [
            .text(job.line.value), .text(job.key.value), .text(job.to.value), .text(job.body),
            .text(job.purpose.rawValue),
            text(job.button?.text), text(job.button?.url), moment(job.notBefore), moment(job.sendBefore),
            text(job.supersedeKey), moment(job.factAt), text(job.orderingKey),
            text(TakeBatch.tagsText(job.tags) ?? "{}"),
        ]
    }

    private static let bodies = [
        "Your order is ready.", "She said \"hello\" \\ and / left", "Line one\nline two\n\nend", "🎉 готово 👩‍👩‍👧‍👦 e\u{301}",
        "שלום, ההזמנה שלך מוכנה \u{202B}12\u{202C}", "\u{2028}separated\u{2029} \u{FEFF}mark",
        "<b>&amp;</b> \u{FFFD}\u{FFFF}",
        String(repeating: "\"", count: 4_096), String(repeating: "😀", count: 2_048),
    ]

    private static func job(_ number: Int, _ body: String, key: String) throws -> SendJob {
        try SendJob(
            line: LineID("acme-1"),
            key: IdempotencyKey("\(key).\(number)"),
            to: PhoneNumber("+972501234567"),
            body: body,
            button: number % 2 == 0 ? nil : Button(text: "Ver \"más\" 🛒", url: "https://shop.example/o/1?a=b#c"),
            purpose: .pickup,
            sendBefore: Timestamp(rfc3339: "2099-12-01T18:00:00.25Z"),
            supersedeKey: "order:acme.\(number)",
            factAt: Timestamp(rfc3339: "2026-12-01T09:00:00.123456Z"),
            orderingKey: number % 3 == 0 ? "order:acme.\(number)" : nil,
            tags: number % 2 == 0 ? [:] : ["order": "10\"42", "größe": ""]
        )
    }

    @Test("given by SQL and by a program it is one job, whichever came first, with the same bytes")
    func oneJob() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            for (number, body) in Self.bodies.enumerated() {
                let sqlFirst = try Self.job(number, body, key: "sql")
                let made = try await session.query(Self.call, Self.parameters(sqlFirst))
                #expect(made.text(0, 1) == "new")
                let job = try #require(made.int8(0, 0))
                let again = try await database.accept([sqlFirst])[0]
                #expect(again == .repeat(JobID(job), lane: .line(sqlFirst.line), finalState: nil), "body \(number)")
                let sqlAgain = try await session.query(Self.call, Self.parameters(sqlFirst))
                #expect(sqlAgain.int8(0, 0) == job && sqlAgain.text(0, 1) == "repeat")

                let swiftFirst = try Self.job(number, body, key: "swift")
                let other = try #require(try await database.accept([swiftFirst])[0].job)
                let repeated = try await session.query(Self.call, Self.parameters(swiftFirst))
                #expect(repeated.int8(0, 0) == other.value && repeated.text(0, 1) == "repeat", "body \(number)")

                let rows = try await session.query(
                    """
                    select distinct request, person, recipient, purpose, tags, not_before, send_before, supersede_key, fact_at,
                        state, class, place from trunkline.jobs where id = any ($1)
                    """,
                    [.int8Array([job, other.value])]
                )
                #expect(rows.count == 1, "body \(number)")
                #expect(rows.bytes(0, 0) == EZWhatsApp.textRequestBody(sqlFirst), "body \(number)")
            }
            let report = try await Check.run(session)
            #expect(report.addsUp, "\(report)")
        }
    }

    /// Every character that Swift takes for blank and no other; what `SendJob` refuses a text for.
    @Test("blank is what Unicode's tables say")
    func blank() async throws {
        try await AdminDatabase.with { database in
            let rows = try await database.session.query(
                """
                select array_agg(n order by n) from generate_series(1, 1114111) n
                where n not between 55296 and 57343 and trunkline.is_blank(chr(n))
                """
            )
            let known = try #require(rows.int4Array(0, 0)).compactMap { $0 }
            let expected = (1...1_114_111).filter { number in
                guard let scalar = Unicode.Scalar(UInt32(number)) else { return false }
                return scalar.properties.isWhitespace || scalar.properties.isDefaultIgnorableCodePoint
                    || number == 0x2800
            }
            #expect(known.map { Int($0) } == expected)
        }
    }

    private struct Given {
        var line = "acme-1"
        var key = "order:acme.1"
        var to = "+972501234567"
        var body = "Hello"
        var purpose = "order"
        var buttonText: String?
        var buttonURL: String?
        var notBefore: Timestamp?
        var sendBefore: Timestamp?
        var supersedeKey: String?
        var factAt: Timestamp?
        var orderingKey: String?
        var tags: [String: String] = [:]

        /// What the rules in Swift say: the kind of the refusal, if it is one.
        func refusal() -> Refusal? {
            do throws(Refusal) {
                var button: Button?
                switch (buttonText, buttonURL) {
                case (nil, nil): break
                case (let text?, let url?): button = try Button(text: text, url: url)
                default: return Refusal(kind: .invalid, field: "button", reason: "half a button")
                }
                let job = try SendJob(
                    line: LineID(line),
                    key: IdempotencyKey(key),
                    to: PhoneNumber(to),
                    body: body,
                    button: button,
                    purpose: Purpose(word: purpose),
                    notBefore: notBefore,
                    sendBefore: sendBefore,
                    supersedeKey: supersedeKey,
                    factAt: factAt,
                    orderingKey: orderingKey,
                    tags: tags
                )
                try job.validate(now: .now)
                return nil
            } catch {
                return error
            }
        }

        var parameters: [PostgresParameter] {
            func text(_ text: String?) -> PostgresParameter { text.map { .text($0) } ?? .null }
            func moment(_ moment: Timestamp?) -> PostgresParameter {
                moment.map { .timestamp(microseconds: $0.microseconds) } ?? .null
            }
            return [
                .text(line), .text(key), .text(to), .text(body), .text(purpose), text(buttonText), text(buttonURL),
                moment(notBefore), moment(sendBefore), text(supersedeKey), moment(factAt), text(orderingKey),
                text(TakeBatch.tagsText(tags) ?? "{}"),
            ]
        }
    }

    private static let odd: [String] = [
        "", " ", "a", "A.b_c-9", "a:b", "ü", "a b", "a\n", "\u{200B}", "\u{2800}\u{3000}", "x\u{7F}", "x\u{85}",
        "x\u{9F}", "x\u{A0}",
        "x\u{1}", "tab\t", "line\nbreak", "\r", "e\u{301}", "😀", "🏳️‍🌈", "\u{202E}evil", "\u{E0001}", "{{name}}", "@",
        "\"'\\",
        String(repeating: "x", count: 20), String(repeating: "x", count: 21), String(repeating: "ü", count: 20),
        String(repeating: "x", count: 64), String(repeating: "x", count: 65), String(repeating: "x", count: 128),
        String(repeating: "x", count: 129), String(repeating: "x", count: 256), String(repeating: "😀", count: 256),
        String(repeating: "x", count: 257), String(repeating: "x", count: 4_096), String(repeating: "x", count: 4_097),
        String(repeating: "😀", count: 2_048), String(repeating: "😀", count: 2_048) + "x",
    ]
    private static let numbers = [
        "+972501234567", "+12345678", "+1234567", "+123456789012345", "+1234567890123456", "+0501234567",
        "972501234567", "+97250123456x",
        "+٩٧٢٥٠١٢٣٤٥٦٧", " +972501234567", "+972 501234567", "1203630@g.us", "+972501234567\n", "",
    ]
    private static let urls = [
        "https://shop.example", "https://shop.example/o/1042?x=1#y", "HTTPS://SHOP.example", "http://shop.example",
        "https://", "https:///x",
        "https://a@b.example/", "https://user:pw@b.example", "https://b.example/@x", "https://b.example?x=@",
        "https://b.example#@", "https://-a.example",
        "https://.a", "https://a-.example", "https://a_b", "https://ex ample", "https://bücher.example/ü",
        "https://a.example/\u{A0}", "https://a.example/\u{2003}",
        "https://a.example/\u{200B}", "https://a.example/{id}", "https://a.example/<x>", "https://a.example/\\",
        "https://a.example/`", "https://a.example:443",
        "https://a.example:0", "https://a.example:65535", "https://a.example:65536", "https://a.example:00080",
        "https://a.example:", "https://a.example:80x",
        "https://a.example:123456", "https://[::1]", "https://[::1]:8443/x", "https://[::1]x", "https://[1]",
        "https://[::g]", "https://[::1", "https://[v6:]", "https://a:b:c",
        "https://a.example/\n", "https://a.example/\u{7F}", "https://1.2.3.4/", "https://😀.example",
        "https://a.example/" + String(repeating: "x", count: 1_982),
        "https://a.example/" + String(repeating: "x", count: 1_983), "xhttps://a", "https:/a", "",
    ]
    private static let purposes = [
        "order", "pickup", "first_touch", "Order", "marketing", "Cold Outreach", "cold--outreach", "BULK", " promo ",
        "newsletter-", "x", "",
        "groups", "cold_outbound", "order ",
    ]
    private static let moments: [Timestamp?] = [
        nil, Timestamp(rfc3339: "1999-12-31T23:59:59.999999Z"), Timestamp(rfc3339: "2000-01-01T00:00:00Z"),
        Timestamp(rfc3339: "2026-01-01T00:00:00Z"), Timestamp(rfc3339: "2098-01-01T00:00:00Z"),
        Timestamp(rfc3339: "2098-01-01T00:00:00.000001Z"), Timestamp(rfc3339: "2100-12-31T23:59:59.999999Z"),
        Timestamp(rfc3339: "2101-01-01T00:00:00Z"), Timestamp(microseconds: 0),
    ]

    /// One field at a time through everything odd, then several at once by a seed.
    private static var table: [Given] {
        func with(_ change: (inout Given) -> Void) -> Given {
            var given = Given()
            change(&given)
            return given
        }
        var table = [Given()]
        for text in odd {
            table.append(with { $0.line = text })
            table.append(with { $0.key = text })
            table.append(with { $0.body = text })
            table.append(with { $0.orderingKey = text })
            table.append(with { ($0.supersedeKey, $0.factAt) = (text, moments[3]) })
            table.append(with { ($0.buttonText, $0.buttonURL) = (text, urls[0]) })
            table.append(with { $0.tags = [text: "x"] })
            table.append(with { $0.tags = ["x": text] })
        }
        table += numbers.map { number in with { $0.to = number } }
        table += urls.map { url in with { ($0.buttonText, $0.buttonURL) = ("See", url) } }
        table += purposes.map { word in with { $0.purpose = word } }
        for moment in moments {
            table.append(with { $0.factAt = moment })
            table += moments.map { other in with { ($0.notBefore, $0.sendBefore) = (moment, other) } }
        }
        table += [
            with { $0.buttonText = "See" }, with { $0.buttonURL = urls[0] }, with { $0.supersedeKey = "order:1" },
            with { $0.tags = Dictionary(uniqueKeysWithValues: (0..<20).map { ("t\($0)", "") }) },
            with { $0.tags = Dictionary(uniqueKeysWithValues: (0..<21).map { ("t\($0)", "") }) },
        ]
        return table
    }

    @Test("both languages refuse the same, of the same kind")
    func sameRules() async throws {
        try await AdminDatabase.with { database in
            for (index, given) in Self.table.enumerated() {
                let rows = try await database.session.query(
                    """
                    select (p).kind, (p).field, (p).reason from (select trunkline.send_problem($1, $2, $3, $4, $5, $6, $7, $8,
                        $9, $10, $11, $12, $13::jsonb) as p) x
                    """,
                    given.parameters
                )
                let refusal = given.refusal()
                #expect(rows.text(0, 0) == refusal?.kind.rawValue, "\(index): \(given)")
                // The same words, where the fields have the same names.
                if let refusal, let field = refusal.field, field == rows.text(0, 1) {
                    #expect(rows.text(0, 2) == refusal.reason, "\(index): \(given)")
                }
            }
        }
    }

    @Test("errors have a state and a field of their own, and hold neither text nor number")
    func errors() async throws {
        try await AdminDatabase.with { database in
            let first = try Self.job(0, "secret words", key: "k")
            _ = try await database.session.query(Self.call, Self.parameters(first))
            var given = Given(to: "+972509999999", body: "other secret words")
            func state() async -> PostgresError? {
                do {
                    _ = try await database.session.query(Self.call, given.parameters)
                    return nil
                } catch {
                    return error
                }
            }
            given.key = first.key.value
            let conflict = try #require(await state())
            #expect(conflict.sqlState == "TL409" && conflict.message.contains("already: job"))
            given = Given(line: "nobody")
            #expect(await state()?.sqlState == "TL404")
            given = Given(to: "050-1234567")
            let invalid = try #require(await state())
            #expect(invalid.sqlState == "TL400" && invalid.message.contains("E.164"))
            #expect(!invalid.message.contains("1234567"))
            given = Given(purpose: "campaign")
            #expect(await state()?.sqlState == "TL403")
            given = Given(sendBefore: Timestamp(rfc3339: "2020-01-01T00:00:00Z"))
            #expect(await state()?.sqlState == "TL410")
            given = Given(body: String(repeating: "x", count: 4_097))
            #expect(await state()?.sqlState == "TL413")
            // What must be there, and moments that are none.
            for call in [
                #"line => null, key => 'k', "to" => '+972501234567', body => 'x', purpose => 'order'"#,
                #"line => 'acme-1', key => null, "to" => '+972501234567', body => 'x', purpose => 'order'"#,
                #"line => 'acme-1', key => 'k', "to" => null, body => 'x', purpose => 'order'"#,
                #"line => 'acme-1', key => 'k', "to" => '+972501234567', body => null, purpose => 'order'"#,
                #"line => 'acme-1', key => 'k', "to" => '+972501234567', body => 'x', purpose => null"#,
                #"line => 'acme-1', key => 'k', "to" => '+972501234567', body => 'x', purpose => 'order', not_before => 'infinity'"#,
                #"line => 'acme-1', key => 'k', "to" => '+972501234567', body => 'x', purpose => 'order', tags => '[1]'"#,
                #"line => 'acme-1', key => 'k', "to" => '+972501234567', body => 'x', purpose => 'order', tags => '{"a":1}'"#,
            ] {
                let error = await #expect(throws: PostgresError.self) {
                    try await database.session.query("select trunkline.enqueue(\(call))")
                }
                #expect(error?.sqlState == "TL400", "\(call)")
            }
            // What a client sees beside the message.
            let seen = try await database.session.query(
                """
                do $$
                declare
                    detail text;
                    field text;
                begin
                    perform trunkline.enqueue('acme-1', 'k.0', '+972501234567', 'other', 'order');
                exception when sqlstate 'TL409' then
                    get stacked diagnostics detail = pg_exception_detail, field = column_name;
                    perform set_config('tests.seen', field || ': ' || detail, false);
                end $$
                """
            )
            #expect(seen.count == 0)
            let given2 = SendJob.contentDigest(to: "+972501234567", body: "other", buttonText: nil, buttonURL: nil)
            let said = try await database.session.query("select current_setting('tests.seen')").text(0, 0)
            #expect(
                said
                    == "key: Stored content: \(Digest.hex(first.contentDigest)). Given content: \(Digest.hex(given2))."
            )
            #expect(try await database.count("jobs") == 1)
        }
    }

    /// ```
    /// a transaction:  enqueue k ──────────── commit
    /// a program:               accept k …waits… repeat
    /// ```
    @Test("whoever gives the same key meanwhile waits for the transaction, and finds its job")
    func sameKeyAtOnce() async throws {
        try await AdminDatabase.with { database in
            let job = try Self.job(1, "Hello", key: "k")
            let verdict = try await database.session.transaction { session in
                let made = try await session.query(Self.call, Self.parameters(job)).int8(0, 0)
                let other = Task { try await database.accept([job])[0] }
                try await PostgresSession.withSession(url: database.url, applicationName: "tests") { watcher in
                    try await eventually("the other one to wait") {
                        try await watcher.query(
                            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
                        ).count > 0
                    }
                }
                return (other, made)
            }
            let made = try #require(verdict.1)
            #expect(try await verdict.0.value == .repeat(JobID(made), lane: .line(job.line), finalState: nil))
        }
    }

    @Test("it comes and goes with the caller's transaction, and its owner does not wait for a wake-up")
    func transaction() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            try await session.script("create table orders (id int primary key, state text)")
            struct Rollback: Error {}
            await #expect(throws: Rollback.self) {
                try await session.transaction { session in
                    _ = try await session.query("insert into orders values (1, 'ready')")
                    _ = try await session.query(Self.call, Given().parameters)
                    throw Rollback()
                }
            }
            #expect(try await database.count("jobs") == 0)
            #expect(try await database.count("ledger") == 0)
            try await session.transaction { session in
                _ = try await session.query("insert into orders values (1, 'ready')")
                _ = try await session.query(Self.call, Given().parameters)
            }
            // Beside it one whose wake-up may still be on its way.
            _ = try await database.accept([notice(1)])
            let boot = Array(repeating: UInt8(7), count: 16)
            try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
            let adopted = try await session.query(
                """
                select j.key from trunkline.adopt($1, 16, array(select s from generate_series(0, 15) s),
                    array(select 1::bigint from generate_series(0, 15)), 3600000, 100, 0) a join trunkline.jobs j on j.id = a.job
                """,
                [.uuid(boot)]
            )
            #expect(adopted.count == 1 && adopted.text(0, 0) == Given().key)
        }
    }
}
