import Foundation
import TestKit
import Testing
import TrunklineCore

@testable import TrunklinePlanning

private typealias Moment = TrunklinePlanning.Moment

/// Facts as no shop would send them: whatever is planned from them is valid, or said to be none.
@Suite struct PropertyTests {
    private struct Chance {
        var random: SeededGenerator

        private static let texts = [
            "", " ", "Ana", "Ana\u{0}Ruiz", "a\tb\nc", "{{name}}", "{{{", "}}", "דנה כהן", "مريم", "😀😀", "\u{202E}abc",
            "\u{200B}", "#1042", "a/b:c", String(repeating: "x", count: 300), "<b>&amp;</b>", "%s%n", "e\u{301}",
            String(repeating: "😀", count: 3_000), "ñ", "..", "-", "true", "null",
        ]
        private static let phones = [
            "", "600111222", "+34600111222", "050-1234567", "12", "abc", "0", "00", "+", "1@g.us", "x@newsletter",
            "٠٥٠١٢٣٤٥٦٧", String(repeating: "9", count: 400), "+1 (555) 123-4567 ext. 9",
        ]
        private static let zones = ["Europe/Madrid", "America/New_York", "Asia/Jerusalem", "Nowhere/Land", ""]
        private static let links = [
            "https://a.example/x", "http://a.example", "", "javascript:x", "https://a b", "https://é.example/ñ",
        ]

        mutating func text() -> String { random.pick(Self.texts) }
        mutating func maybe<Value>(_ value: (inout Chance) -> Value) -> Value? {
            guard random.chance(0.7) else { return nil }
            return value(&self)
        }

        mutating func time() -> Timestamp {
            let near = Int64.random(in: -90 * 86_400...90 * 86_400, using: &random) * 1_000_000
            return random.chance(0.9)
                ? Timestamp(microseconds: noon.microseconds + near)
                : Timestamp(microseconds: random.pick([.min, .max, 0, -1, 253_402_300_800_000_000]))
        }

        mutating func person() -> SourceFact.Person {
            let phones = (0..<Int.random(in: 0...3, using: &random)).map { _ in random.pick(Self.phones) }
            return .init(
                name: maybe { $0.text() },
                firstName: maybe { $0.text() },
                phones: phones,
                country: random.pick(["ES", "IL", "US", "XX", "es", "Spain", ""]),
                language: random.pick(["es", "he-IL", "en", "iw", "xx-YY-zz", "", "español", "zh-Hant-TW"])
            )
        }

        mutating func record() -> SourceFact.Record { .init(id: text(), at: maybe { $0.time() }) }

        mutating func money() -> SourceFact.Money? {
            let amounts = ["0", "59.90", "-1", "00000000000000000000000000000000000000.1", "1500.50", "9", "0.000001"]
            return .init(
                amount: random.pick(amounts),
                currency: random.pick(["EUR", "JPY", "KWD", "ILS", "QQQ", "XXX"])
            )
        }

        mutating func allLinks() -> [SourceFact.Link] {
            SourceFact.Link.Kind.allCases.compactMap { kind in
                random.chance(0.5) ? SourceFact.Link(kind, random.pick(Self.links)) : nil
            }
        }

        mutating func details() -> [String: String] {
            var details: [String: String] = [:]
            for name in ["tags", "shipping", "status", "note", "agree", text()] where random.chance(0.5) {
                details[name] = text()
            }
            return details
        }

        mutating func orderMoment() -> SourceFact.OrderMoment {
            switch Int.random(in: 0..<14, using: &random) {
            case 0: .confirmed
            case 1: .paid
            case 2: .ready(place: maybe { $0.text() })
            case 3: .shipped(shipment: maybe { $0.text() })
            case 4: .trackingChanged(shipment: text(), number: text())
            case 5: .outForDelivery(shipment: maybe { $0.text() })
            case 6: .delivered(shipment: maybe { $0.text() })
            case 7: .deliveryChanged(what: text(), shipment: maybe { $0.text() })
            case 8: .cancelled
            case 9: .refunded(refund: maybe { $0.text() })
            case 10: .invoiced(at: maybe { $0.time() })
            case 11: .reached(status: text())
            case 12: .changed
            default: .removed
            }
        }

        mutating func fact() -> SourceFact {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: .contact(.init(record: record(), person: person(), details: details()))
            case 1: .lead(.init(record: record(), person: person(), origin: maybe { $0.text() }, details: details()))
            case 2...3:
                .appointment(
                    .init(
                        record: record(),
                        moment: random.pick(SourceFact.Appointment.Moment.allCases),
                        person: person(),
                        start: maybe { $0.time() },
                        end: maybe { $0.time() },
                        timeZone: random.pick(Self.zones),
                        previousID: maybe { $0.text() },
                        title: maybe { $0.text() },
                        place: maybe { $0.text() },
                        links: allLinks(),
                        details: details()
                    )
                )
            default:
                .order(
                    .init(
                        record: record(),
                        moment: orderMoment(),
                        number: maybe { $0.text() },
                        state: maybe { $0.text() },
                        person: person(),
                        total: money(),
                        items: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                            .init(title: text(), quantity: text())
                        },
                        shipment: maybe {
                            .init(
                                id: $0.text(),
                                trackingNumber: $0.text(),
                                trackingURL: $0.text(),
                                expectedAt: $0.time()
                            )
                        },
                        links: allLinks(),
                        details: details()
                    )
                )
            }
        }
    }

    private static func planner() throws -> Planner {
        let texts: [Moment.Kind: String] = [
            .order:
                "{es: \"{{name}} {{number}} {{#total}}{{total}}{{/total}}{{#items}}{{title}} {{quantity}}{{/items}}{{#tracking}}{{tracking}}{{/tracking}}\", he: \"{{first_name}} {{total}}{{#expected_date}}{{expected_date}}{{expected_time}}{{/expected_date}}\"}",
            .lead: "{es: \"{{first_name}}{{#origin}} {{origin}}{{/origin}}{{#data.note}}{{data.note}}{{/data.note}}\"}",
            .appointment: "{es: \"{{date}} {{time}}{{#title}} {{title}}{{/title}}\", en: \"{{name}} {{date}}\"}",
        ]
        let rules = Moment.allCases.flatMap { moment in
            let template = moment.kind.rawValue
            let rule = "- {when: \(moment.rawValue), send: {line: one, template: \(template)}}"
            let extra =
                moment.kind == .order
                ? "- {when: \(moment.rawValue), send: {line: two, template: order, key: \"{{key}}:b\", button: {text: See, url: \"{{status_url}}\"}}}"
                : "- {when: appointment.reminder, before: 1d, if: {country: [ES, IL]}, send: {line: two, template: appointment, key: \"{{key}}:\(moment.rawValue)\"}}"
            return [rule, extra]
        }
        let yaml = """
            lines:
              one: {timeZone: Asia/Jerusalem, quietHours: 22:00-08:00}
              two: {timeZone: America/New_York, quietHours: 12:00-13:00}
            sources:
              shop:
                kind: custom
                country: ES
                language: es
                templates:
                  order: \(texts[.order] ?? "")
                  lead: \(texts[.lead] ?? "")
                  appointment: \(texts[.appointment] ?? "")
                rules:
            \(rules.map { "      " + $0 }.joined(separator: "\n"))
            """
        return Planner(try #require(try book(yaml).sources.first))
    }

    @Test(
        "no fact is a trap; every notice is valid; the same fact gives the same plan",
        arguments: [1, 2, 3, 4] as [UInt64]
    )
    func randomFacts(_ seed: UInt64) throws {
        let planner = try Self.planner()
        var chance = Chance(random: SeededGenerator(seed: seed))
        var planned = 0
        for round in 0..<1_500 {
            let (fact, record) = (chance.fact(), chance.maybe { $0.fact() })
            let known = Known(contact: .init(name: chance.text()), record: record, endedAt: chance.maybe { $0.time() })
            let plan = planner.plan(fact, known)
            #expect(plan.json() == planner.plan(fact, known).json(), "seed \(seed), round \(round)")
            planned += plan.notices.count
            for notice in plan.notices {
                let job = notice.job
                // What every way into the queue asks of a notice.
                let read = try SendJob.decode(json: job.encode())
                #expect(read.contentDigest == job.contentDigest && read.key == job.key && read.tags == job.tags)
                try job.validate(now: noon)
                #expect(job.notBefore.map { $0 > noon } ?? true)
                #expect(job.line == line("one") || job.line == line("two"))
            }
            let keys = plan.notices.map(\.job.key)
            #expect(Set(keys).count == keys.count, "seed \(seed), round \(round)")
        }
        #expect(planned > 100, "the facts lead to notices: \(planned)")
    }

    @Test("no file is a trap", arguments: [5, 6] as [UInt64])
    func randomFiles(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let file = Array(
            """
            lines: {one: {timeZone: Europe/Madrid, quietHours: 22:00-08:00}}
            sources:
              shop: {kind: custom, templates: {it: "x {{#name}}{{name}}{{/name}}"}, rules: [{when: order.paid, if: {country: ES},
                send: {line: one, template: it, button: {text: See, url: "{{status_url}}"}}}]}
            """.utf8
        )
        #expect(problems(String(decoding: file, as: UTF8.self)) == [])
        for _ in 0..<1_500 {
            var bytes = file
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = random.pick(Array("{}[]:,\"'&*!|>-# \n\tx0\u{0}".utf8))
                case 1: bytes.remove(at: at)
                default: bytes.removeSubrange(at...)
                }
                if bytes.isEmpty { bytes = [0x20] }
            }
            // Either it can be read, or something is said of it.
            let text = String(decoding: bytes, as: UTF8.self)
            do {
                _ = try book(text)
            } catch let error as RuleBookError {
                #expect(!error.problems.isEmpty)
            }
        }
    }
}
