import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklinePlanning

/// Rules as they are kept, and how two books differ.
@Suite struct RuleChangeTests {
    private static let yaml = """
        logLevel: debug
        lines:
          one: {timeZone: Europe/Madrid, quietHours: 22:00-08:00}
          two:
        sources:
          shop:
            kind: custom
            language: es
            templates:
              a: "Uno {{number}} שלום: # no"
              b: |
                Dos
                {{number}}
            rules:
              - {when: order.paid, send: {line: one, template: a}}
              - {when: order.ready, send: {line: one, template: b, expires: 7d}}
        """

    private static func book(_ yaml: String) throws -> RuleBook {
        try RuleBook(yaml: yaml, others: ["logLevel"], kinds: .standard)
    }

    private static func changes(_ yaml: String) throws -> [String] {
        try book(yaml).changes(from: try book(Self.yaml).text).map(\.description)
    }

    @Test func whatIsKeptIsReadAgainAsItWas() throws {
        let book = try Self.book(Self.yaml)
        let again = try RuleBook(yaml: book.text, kinds: .standard)
        #expect(again.text == book.text)
        #expect(!book.text.contains("logLevel"))
        #expect(again.sources.map(\.rules.count) == [2] && again.lines.count == 2)
        #expect(book.text.contains("שלום: # no"))
        #expect(again.changes(from: book.text).isEmpty)
        #expect(try Self.book("logLevel: debug").text == "")
    }

    @Test func whatTwoRulesShareIsWrittenOut() throws {
        let shared = Self.yaml.replacing("line: one, template: a}", with: "line: one, template: &t a}")
            .replacing("template: b,", with: "template: *t,")
        let book = try Self.book(shared)
        #expect(try RuleBook(yaml: book.text, kinds: .standard).sources[0].rules[1].template == "a")
    }

    @Test func eachDifferenceHasItsPlaceAndWords() throws {
        #expect(
            try Self.changes(Self.yaml.replacing("22:00", with: "23:00")) == [
                "~ lines.one.quietHours: 22:00-08:00 becomes 23:00-08:00"
            ]
        )
        #expect(try Self.changes(Self.yaml.replacing("  two:\n", with: "")) == ["- lines.two"])
        #expect(
            try Self.changes(Self.yaml.replacing("language: es", with: "language: es\n    country: ES")) == [
                "+ sources.shop.country: nothing becomes ES"
            ]
        )
        let more = Self.yaml + "\n      - {when: order.delivered, send: {line: two, template: a}}"
        #expect(try Self.changes(more) == ["+ sources.shop.rules[2]: order.delivered sends a on two"])
        let moved = Self.yaml.replacing("{line: one, template: a}", with: "{line: two, template: a}")
        #expect(
            try Self.changes(moved) == [
                "~ sources.shop.rules[0]: order.paid sends a on one becomes order.paid sends a on two"
            ]
        )
        #expect(
            try Self.changes("lines: {one: {timeZone: Europe/Madrid, quietHours: 22:00-08:00}, two: }") == [
                "- sources.shop: 2 rules"
            ]
        )
    }
}
