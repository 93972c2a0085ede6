import Testing

@testable import TrunklineCore

@Suite struct RecordFactsTests {
    static let contact = #"""
        {"factAt":"2026-12-01T11:00:00+02:00","name":"Marta Soler","email":"marta@example.net","language":"es-ES","country":"ES",
         "status":"Repeat customer","consent":"given","ids":{"shopify":"820982911946154508","hubspot":"12"},"tags":["vip","büro"],"notes":["Prefers the afternoon."],
         "links":{"shop":"https://backoffice.example.net/customers/88"},"loyalty":{"points":120,"since":1.10},"metrics":{"visits":3}}
        """#
    static let order = #"""
        {"factAt":"2026-12-01T09:00:00Z","phone":"+34600111222","number":"#1042","state":"shipped","placedAt":"2026-11-30T17:12:00Z",
         "total":{"amount":"84.50","currency":"EUR"},"refunded":{"currency":"EUR","amount":10.00},"discounts":null,
         "items":[{"title":"Mug","quantity":2}],"parcels":[{"company":"Correos","number":"PQ1"}],
         "links":{"status":"https://shop.example/o/1042"}}
        """#

    @Test func readsTheDocumentedMessages() throws {
        let contact = try ContactFacts.decode(json: Array(Self.contact.utf8))
        #expect(contact.factAt?.rfc3339 == "2026-12-01T09:00:00Z")
        #expect(contact.name == "Marta Soler" && contact.ids["shopify"] == "820982911946154508")
        #expect(contact.tags == ["vip", "büro"] && contact.loyalty?["since"] == .number("1.10"))
        #expect(
            contact.fields.map(\.name) == [
                "name", "email", "language", "country", "status", "consent", "ids.hubspot", "ids.shopify", "tags",
                "notes",
                "links.shop", "loyalty", "metrics",
            ]
        )
        let order = try OrderFacts.decode(json: Array(Self.order.utf8))
        #expect(order.phone?.value == "+34600111222" && order.number == "#1042" && order.discounts == nil)
        // The digits as they were written: 10.00 is not 10.
        #expect(order.refunded?.amount == "10.00" && order.total?.amount == "84.50")
        #expect(
            String(decoding: order.document, as: UTF8.self)
                == ##"{"items":[{"quantity":2,"title":"Mug"}],"links.status":"https://shop.example/o/1042","number":"#1042","##
                + #""parcels":[{"company":"Correos","number":"PQ1"}],"phone":"+34600111222","placedAt":"2026-11-30T17:12:00Z","#
                + #""refunded":{"amount":"10.00","currency":"EUR"},"state":"shipped","total":{"amount":"84.50","currency":"EUR"}}"#
        )
        #expect(order.nested["links"]?["status"]?.text == "https://shop.example/o/1042")
    }

    @Test func whatIsStoredIsReadBackWhole() throws {
        let contact = try ContactFacts.decode(json: Array(Self.contact.utf8))
        #expect(ContactFacts(stored: contact.fields, factAt: contact.factAt) == contact)
        let order = try OrderFacts.decode(json: Array(Self.order.utf8))
        #expect(OrderFacts(stored: order.fields, factAt: order.factAt) == order)
        // A field of a later version is left alone.
        let later = order.fields + [FactField("wishes", .bool(true))]
        #expect(OrderFacts(stored: later, factAt: order.factAt) == order)
    }

    @Test(
        "a contact that breaks a rule is refused by the field's name",
        arguments: [
            (#"{}"#, nil), (#"{"name":null}"#, nil), (#"{"factAt":"2026-12-01T09:00:00Z"}"#, nil), (#"[]"#, nil),
            (#"{"nam":"x"}"#, "nam"), (#"{"name":1}"#, "name"), (#"{"name":"a\nb"}"#, "name"),
            (#"{"email":"a b@x"}"#, "email"), (#"{"email":"ab"}"#, "email"), (#"{"email":"a@b@c"}"#, "email"),
            (#"{"email":"@x"}"#, "email"),
            (#"{"language":"español"}"#, "language"), (#"{"language":"e"}"#, "language"),
            (#"{"country":"es"}"#, "country"),
            (#"{"country":"ESP"}"#, "country"), (#"{"ids":{"a.b":"1"}}"#, "ids"), (#"{"ids":{"":"1"}}"#, "ids"),
            (#"{"ids":{"a":1}}"#, "ids"), (#"{"ids":[]}"#, "ids"), (#"{"tags":["a",1]}"#, "tags"),
            (#"{"tags":[""]}"#, "tags"),
            (#"{"tags":"a"}"#, "tags"), (#"{"links":{"shop":"http://x.example"}}"#, "links"),
            (#"{"loyalty":[]}"#, "loyalty"),
            (#"{"loyalty":{"a":[[[[[[[[1]]]]]]]]}}"#, "loyalty"), (#"{"metrics":{"a":1e400}}"#, "metrics"),
            (#"{"loyalty":{"a":1e-9223372036854775808}}"#, "loyalty"),
            (#"{"name":"x","factAt":"yesterday"}"#, "factAt"),
            (#"{"name":"x","factAt":"1970-01-01T00:00:00Z"}"#, "factAt"),
            (#"{"name":"x","name":"y"}"#, "name"), (#"{"name":"\u0000"}"#, "name"),
        ] as [(String, String?)]
    )
    func contactRules(_ json: String, _ field: String?) {
        #expect(refusal(json) { _ = try ContactFacts.decode(json: Array(json.utf8)) }?.field == field)
    }

    @Test(
        "an order that breaks a rule is refused by the field's name",
        arguments: [
            (#"{"phone":"0501234567"}"#, "phone"), (#"{"phone":"x@g.us"}"#, "phone"), (#"{"number":1042}"#, "number"),
            (#"{"total":84.5}"#, "total"), (#"{"total":{"amount":"84,50","currency":"EUR"}}"#, "total"),
            (#"{"total":{"amount":"1e3","currency":"EUR"}}"#, "total"),
            (#"{"total":{"amount":1e3,"currency":"EUR"}}"#, "total"),
            (#"{"total":{"amount":"84.50"}}"#, "total"), (#"{"total":{"amount":"84.50","currency":"eur"}}"#, "total"),
            (#"{"total":{"amount":"1","currency":"EUR","tax":"1"}}"#, "total"), (#"{"items":{}}"#, "items"),
            (#"{"placedAt":"2026-12-01"}"#, "placedAt"), (#"{"state":"a\u0007"}"#, "state"),
        ] as [(String, String?)]
    )
    func orderRules(_ json: String, _ field: String?) {
        #expect(refusal(json) { _ = try OrderFacts.decode(json: Array(json.utf8)) }?.field == field)
    }

    @Test func emptyMeansThatThereIsNothingAnyMore() throws {
        let facts = try ContactFacts.decode(json: Array(#"{"email":"","tags":[],"ids":{"shopify":""}}"#.utf8))
        #expect(facts.fields.map(\.name) == ["email", "ids.shopify", "tags"])
    }

    @Test func sizesAreBounded() throws {
        func decode(_ json: String) throws { _ = try ContactFacts.decode(json: Array(json.utf8)) }
        let long = String(repeating: "x", count: 5_000)
        #expect(refusal { try decode(#"{"loyalty":{"a":"\#(long)"}}"#) }?.kind == .tooLarge)
        #expect(refusal { try decode(#"{"name":"\#(String(repeating: "x", count: 201))"}"#) }?.field == "name")
        let members = (0...50).map { #""a\#($0)":"x""# }.joined(separator: ",")
        #expect(refusal { try decode("{\"ids\":{\(members)}}") }?.field == "ids")
        #expect(refusal { try decode(#"{"name":"x"}"# + String(repeating: " ", count: 65_536)) }?.kind == .tooLarge)
    }

    @Test func aFactOfTheFarFutureIsRefused() throws {
        let now = try #require(Timestamp(rfc3339: "2026-12-01T09:00:00Z"))
        try ContactFacts(factAt: now + .seconds(86_400), name: "x").validate(now: now)
        #expect(
            refusal { try ContactFacts(factAt: now + .seconds(86_401), name: "x").validate(now: now) }?.field
                == "factAt"
        )
        try ContactFacts(name: "x").validate(now: now)
    }

    /// Bytes of any kind: an answer, no crash.
    @Test func readsAnyBytes() {
        withSeeds { _, random in
            for sample in [Self.contact, Self.order] {
                for _ in 0..<2_000 {
                    var bytes = Array(sample.utf8)
                    for _ in 0..<Int.random(in: 1...3, using: &random) {
                        let at = Int.random(in: bytes.indices, using: &random)
                        switch Int.random(in: 0..<3, using: &random) {
                        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                        case 1: bytes.remove(at: at)
                        default: bytes.removeSubrange(at...)
                        }
                        if bytes.isEmpty { break }
                    }
                    _ = try? ContactFacts.decode(json: bytes)
                    _ = try? OrderFacts.decode(json: bytes)
                }
            }
        }
    }

    @Test func noneOfItIsInTheDescription() throws {
        let facts = try ContactFacts(name: "Marta", email: "marta@example.net")
        #expect("\(facts)" == "2 facts")
    }
}
