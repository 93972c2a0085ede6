import Foundation
import Testing
import TrunklineCore

@testable import TrunklinePlanning

@Suite struct TextTests {
    /// ICU writes some blanks and marks of direction that nobody sees; its versions differ in which.
    private static func plain(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.compactMap { scalar in
                    switch scalar {
                    case "\u{200E}", "\u{200F}", "\u{61C}": nil
                    case "\u{A0}", "\u{202F}": " "
                    default: scalar
                    }
                }
            )
        )
    }

    @Test(
        "money in the customer's language and country, exact",
        arguments: [
            ("es", "ES", "1059.9", "EUR", "1059,90 €"), ("he", "IL", "59.90", "ILS", "59.90 ₪"),
            ("en", "US", "1500", "JPY", "¥1,500"), ("en", "US", "5.125", "KWD", "KWD 5.125"),
            ("ar", "EG", "1234.5", "EUR", "١٬٢٣٤٫٥٠ €"), ("en", "GB", "-3", "EUR", "-€3.00"),
            // Never rounded: it is what the customer pays.
            ("en", "US", "1500.50", "JPY", "¥1,500.5"), ("en", "US", "0.12345", "EUR", "€0.12345"),
            ("en", "US", "12.3000", "EUR", "€12.30"),
            ("en", "US", "999999999999999.99", "EUR", "€999,999,999,999,999.99"),
        ]
    )
    func money(_ language: String, _ country: String, _ amount: String, _ currency: String, _ text: String) throws {
        let words = LocalWords(language: try #require(LanguageTag(language)), country: country, zone: .gmt)
        let money = try #require(SourceFact.Money(amount: amount, currency: currency))
        #expect(Self.plain(try #require(words.money(money))) == text)
    }

    @Test(
        "days and hours in the customer's language, in the zone of the appointment",
        arguments: [
            ("es", "ES", "martes, 3 de noviembre", "10:30"), ("en", "US", "Tuesday, November 3", "10:30 AM"),
            ("en", "GB", "Tuesday 3 November", "10:30"), ("he", "IL", "יום שלישי, 3 בנובמבר", "10:30"),
            ("ar", "AE", "الثلاثاء، 3 نوفمبر", "10:30 ص"),
        ]
    )
    func times(_ language: String, _ country: String, _ day: String, _ time: String) throws {
        let zone = try #require(TimeZone(identifier: "Europe/Madrid"))
        let words = LocalWords(language: try #require(LanguageTag(language)), country: country, zone: zone)
        let start = moment("2026-11-03T09:30:00Z")
        #expect(Self.plain(words.day(start)) == day)
        #expect(Self.plain(words.time(start)) == time)
    }

    @Test(
        "languages as senders write them",
        arguments: [
            ("es-ES", "es-ES", "es"), ("es_ES", "es-ES", "es"), ("iw", "he", "he"), ("EN-us", "en-US", "en"),
            ("zh-Hant-TW", "zh-Hant-TW", "zh-Hant"), ("pt", "pt", "pt"),
        ]
    )
    func languages(_ text: String, _ value: String, _ base: String) throws {
        let tag = try #require(LanguageTag(text))
        #expect(tag.value == value)
        #expect(tag.base == base)
    }

    @Test(
        "what is no language is none",
        arguments: ["", "e", "1", "español", "a/b", String(repeating: "x", count: 40)]
    )
    func noLanguages(_ text: String) { #expect(LanguageTag(text) == nil) }

    @Test(
        "the text of the customer's language, of its region, else the source's own",
        arguments: [
            ("he", "he:x"), ("iw-IL", "he:x"), ("ar-AE", "ar:x"), ("pt-BR", "br:x"), ("pt", "pt:x"), ("pt-PT", "pt:x"),
            ("fr", "es:x"), ("??", "es:x"), (nil, "es:x"),
        ] as [(String?, String)]
    )
    func fallBack(_ language: String?, _ body: String) throws {
        let planner = try shop(
            "- {when: order.paid, send: {line: one, template: it}}",
            template:
                "{es: \"es:{{id}}\", he: \"he:{{id}}\", ar: \"ar:{{id}}\", pt: \"pt:{{id}}\", pt-BR: \"br:{{id}}\"}"
        )
        let person = SourceFact.Person(phones: ["600111222"], country: "ES", language: language)
        let plan = planner.plan(order(.paid, id: "x", person: person))
        #expect(plan.notices.map(\.job.body) == [body])
    }

    @Test("the language of what is known of the person counts where the event names none")
    func knownLanguage() throws {
        let planner = try shop("- {when: order.paid, send: {line: one, template: it}}")
        let person = SourceFact.Person(phones: ["600111222"], country: "ES")
        let plan = planner.plan(order(.paid, person: person), Known(contact: .init(language: "en")))
        #expect(plan.notices.first?.job.body == "Order 1042")
        #expect(plan.notices.first?.language == "en")
    }

    @Test("values, items and sections; nothing is escaped, and blanks are single")
    func values() throws {
        let planner = try shop(
            "- {when: order.shipped, send: {line: one, template: it}}",
            template:
                "{en: \"{{first_name}} & co {{number}}{{#tracking}}, {{tracking}}{{/tracking}}{{^pickup_place}}, by post{{/pickup_place}}: {{#items}}{{#quantity}}{{quantity}} x {{/quantity}}{{title}};{{/items}} {{total}} {{data.note}}\", es: \"-\"}"
        )
        let person = SourceFact.Person(
            name: "Bob\t<b>\n Smith",
            phones: ["600111222"],
            country: "ES",
            language: "en-US"
        )
        let fact = order(
            .shipped(shipment: "f1"),
            person: person,
            total: .init(amount: "10", currency: "USD"),
            items: [
                .init(title: "Tea \"A\"", quantity: "2"), .init(title: "  ", quantity: "1"),
                .init(title: "Pot", quantity: nil),
            ],
            shipment: .init(id: "f1", trackingNumber: "T1", trackingURL: "https://t.example/?a=1&b=2"),
            details: ["note": " {{id}} "]
        )
        let plan = planner.plan(fact)
        #expect(
            plan.notices.first?.job.body
                == "Bob <b> & co #1042, https://t.example/?a=1&b=2, by post: 2 x Tea \"A\";Pot; $10.00 {{id}}"
        )
        #expect(plan.notices.first?.job.tags["tracking"] == "T1")
    }

    @Test(
        "what is missing fails the one notice, by name",
        arguments: [
            ("Hello {{first_name}},", "first_name"), ("{{name}} {{total}}", "name, total"),
            ("{{#number}}{{pickup_place}}{{/number}}", "pickup_place"),
            ("{{#items}}{{title}}{{quantity}}{{/items}}", "quantity"),
            ("{{^tracking}}{{data.gift}}{{/tracking}}", "data.gift"),
        ]
    )
    func missing(_ text: String, _ names: String) throws {
        let planner = try shop(
            """
            - {when: order.paid, send: {line: one, template: it}}
            - {when: order.paid, send: {line: one, template: it, key: "{{key}}:b", button: {text: See, url: "{{status_url}}"}}}
            """,
            template: "\"\(text)\""
        )
        let nobody = SourceFact.Person(name: " \t", phones: ["600111222"], country: "ES")
        let plan = planner.plan(order(.paid, person: nobody, items: [.init(title: "Tea", quantity: nil)]))
        #expect(plan.notices == [])
        #expect(plan.failures.count == 2)
        #expect(plan.failures.first?.refusal.reason.contains("needs \(names), which this event does not have") == true)
        #expect(plan.failures.first?.refusal.field == "body")
    }

    @Test("a text that comes out blank or too long fails loudly")
    func sizes() throws {
        let rule = "- {when: order.paid, send: {line: one, template: it}}"
        let blank = try shop(rule, template: "\"{{#tracking}}x{{/tracking}}\"").plan(order(.paid))
        #expect(blank.failures.map(\.refusal.field) == ["body"])
        let long = try shop(rule, template: "\"{{data.x}}\"")
            .plan(order(.paid, details: ["x": String(repeating: "😀", count: 2_049)]))
        #expect(long.failures.map(\.refusal.kind) == [.tooLarge])
        let whole = try shop(rule, template: "\"{{data.x}}\"")
            .plan(order(.paid, details: ["x": String(repeating: "😀", count: 2_048)]))
        #expect(whole.notices.count == 1)
    }

    @Test("a button's address takes a value as it is, or as a part that is escaped; blank is no button")
    func buttons() throws {
        func button(_ url: String, _ links: [SourceFact.Link]) throws -> Plan {
            try shop(
                "- {when: order.paid, send: {line: one, template: it, button: {text: {es: Ver, en: See}, url: \"\(url)\"}}}"
            ).plan(order(.paid, links: links))
        }
        let status = SourceFact.Link(.status, "https://shop.example/o/1?k=a b".replacing(" ", with: "%20"))
        let whole = try button("{{status_url}}", [status])
        #expect(whole.notices.first?.job.button?.url == status.url)
        #expect(whole.notices.first?.job.button?.text == "Ver")
        let part = try button("https://shop.example/o/{{number}}", [])
        #expect(part.notices.first?.job.button?.url == "https://shop.example/o/%231042")
        let none = try button("{{#status_url}}{{status_url}}{{/status_url}}", [])
        #expect(none.notices.first?.job.button == nil && none.notices.count == 1)
        #expect(try button("{{status_url}}", []).failures.map(\.refusal.field) == ["button.url"])
        let plain = try button("{{status_url}}", [.init(.status, "http://shop.example")])
        #expect(plain.failures.map(\.refusal.field) == ["button.url"])
    }
}
