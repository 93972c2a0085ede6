import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklinePlanning

@Suite struct RuleBookTests {
    private static func source(_ rule: String, templates: String = "{it: \"x {{id}}\"}", more: String = "") -> String {
        """
        lines: {one: {timeZone: Europe/Madrid}}
        sources:
          shop:
            kind: custom
            \(more)
            templates: \(templates)
            rules:
              - \(rule)
        """
    }

    @Test(
        "a file without rules is a book without sources",
        arguments: ["", "logLevel: info", "lines:\n  one:\nsources: {}"]
    )
    func empty(_ yaml: String) throws {
        let book = try RuleBook(yaml: yaml, others: ["logLevel"], kinds: .standard)
        #expect(book.sources.isEmpty)
    }

    @Test(
        "what is wrong is said by its path",
        arguments: [
            ("{when: order.paid, send: {line: one, template: nope}}", "rules[0].send.template", "no template 'nope'"),
            (
                "{when: order.paid, send: {line: two, template: it}}", "rules[0].send.line",
                "'two' is not named under 'lines'"
            ),
            ("{when: order.payed, send: {line: one, template: it}}", "rules[0].when", "known: order.confirmed"),
            (
                "{when: order.paid, send: {line: one, template: it, urgent: yes}}", "rules[0].send.urgent",
                "no field of that name"
            ),
            (
                "{when: order.paid, sent: {}, send: {line: one, template: it}}", "rules[0].sent",
                "no field of that name"
            ),
            ("{when: order.paid}", "rules[0]", "send is missing"),
            ("{send: {line: one, template: it}}", "rules[0]", "when is missing"),
            ("{when: [order.paid], send: {line: one, template: it}}", "rules[0].when", "not a text"),
            ("{when: order.paid, send: nothing}", "rules[0].send", "not a list of"),
            (
                "{when: order.paid, before: 24h, send: {line: one, template: it}}", "rules[0].before",
                "only appointment.reminder"
            ),
            (
                "{when: appointment.reminder, before: soon, send: {line: one, template: it}}", "rules[0].before",
                "30m, 24h or 1d"
            ),
            (
                "{when: order.paid, send: {line: one, template: it, purpose: marketing}}", "rules[0].send.purpose",
                "transactional"
            ),
            (
                "{when: order.paid, send: {line: one, template: it, purpose: fun}}", "rules[0].send.purpose",
                "not one of"
            ),
            ("{when: order.paid, send: {line: one, template: it, key: mine}}", "rules[0].send.key", "{{key}}"),
            ("{when: order.paid, send: {line: one, template: it, key: \"{{key}}:ñ\"}}", "rules[0].send.key", "{{key}}"),
            ("{when: order.paid, send: {line: one, template: it, expires: forever}}", "rules[0].send.expires", "7d"),
            (
                "{when: order.paid, send: {line: one, template: it, button: {text: See}}}", "rules[0].send.button",
                "url is missing"
            ),
            (
                "{when: order.paid, send: {line: one, template: it, button: {text: See, url: \"{{date}}\"}}}",
                "rules[0].send.button.url", "'{{date}}', which orders do not have"
            ),
            (
                "{when: order.paid, if: {weather: sunny}, send: {line: one, template: it}}", "rules[0].if.weather",
                "no field"
            ),
            (
                "{when: order.paid, if: {country: Spain}, send: {line: one, template: it}}", "rules[0].if.country",
                "two letters"
            ),
            ("{when: order.paid, if: {country: []}, send: {line: one, template: it}}", "rules[0].if.country", "empty"),
            ("{when: lead.created, if: {tag: vip}, send: {line: one, template: it}}", "rules[0].if.tag", "only orders"),
            (
                "{when: order.paid, if: {amount: {atLeast: 5}}, send: {line: one, template: it}}", "rules[0].if.amount",
                "currency is missing"
            ),
            (
                "{when: order.paid, if: {amount: {currency: EUR}}, send: {line: one, template: it}}",
                "rules[0].if.amount", "neither"
            ),
            (
                "{when: order.paid, if: {amount: {currency: EUR, below: 1e3}}, send: {line: one, template: it}}",
                "rules[0].if.amount.below", "59.90"
            ),
        ]
    )
    func paths(_ rule: String, _ path: String, _ words: String) throws {
        let problems = problems(Self.source(rule))
        let problem = try #require(problems.first)
        #expect(problems.count == 1, "\(problems)")
        #expect(problem.hasPrefix("sources.shop.\(path) (line "), "\(problem)")
        #expect(problem.contains(words), "\(problem)")
    }

    @Test(
        "templates that cannot be right",
        arguments: [
            ("{it: \"{{nmae}}\"}", "send.template", "'{{nmae}}', which orders do not have"),
            ("{it: \"{{date}}\"}", "send.template", "which orders do not have"),
            ("{it: \"{{items}}\"}", "send.template", "outside of a section"),
            ("{it: \"{{title}}\"}", "send.template", "'{{title}}'"),
            ("{it: \"{{#tracking}}x\"}", "templates.it", "never closed"),
            ("{it: \"{{>partial}}\"}", "templates.it", "names and sections only"),
            ("{it: \"{{id}\"}", "templates.it", "has no end"),
            ("{it: \"\"}", "templates.it", "no value"),
            ("{it: {es: a, en: b}}", "templates.it", "no 'language'"),
            ("{it: {español: a}}", "templates.it.español", "not a language"),
            ("{it: {es: a, ES: b}}", "templates.it.ES", "twice"),
            ("{it: [a]}", "templates.it", "not a list of"),
        ]
    )
    func templates(_ templates: String, _ path: String, _ words: String) throws {
        let problems = problems(
            Self.source("{when: order.paid, send: {line: one, template: it}}", templates: templates)
        )
        #expect(problems.contains { $0.contains(path) && $0.contains(words) }, "\(problems)")
    }

    @Test(
        "sources and lines that cannot be right",
        arguments: [
            ("lines: {one: {quietHours: 22:00-08:00}}", "lines.one.quietHours", "need a timeZone"),
            ("lines: {one: {timeZone: Mars/Base, quietHours: 22-8}}", "lines.one.timeZone", "Europe/Madrid"),
            ("lines: {one: {timeZone: Mars/Base, quietHours: 22-8}}", "lines.one.quietHours", "22:00-08:00"),
            ("lines: {one: {consent: maybe}}", "lines.one.consent", "unlessWithdrawn, required"),
            ("lines: {\"o ne\": {}}", "lines.o ne", "letters, digits"),
            ("lines: [one]", "lines", "not a list of"),
            ("sources: {shop: {}}", "sources.shop", "kind is missing"),
            ("sources: {shop: {kind: shop}}", "sources.shop.kind", "shopify"),
            (
                "sources: {shop: {kind: shopify, settings: {colour: red}}}", "sources.shop.settings",
                "no setting of that name"
            ),
            ("sources: {shop: {kind: shopify, country: Spain}}", "sources.shop.country", "two letters"),
            ("sources: {shop: {kind: shopify, rules: {}}}", "sources.shop.rules", "not a list"),
            ("rules: []", "rules", "known: lines, sources, logLevel"),
            ("- a", "line 1", "not a list of"),
            ("lines: {one: {}, one: {}}", "line 1", "'one' is there twice"),
            ("lines: {one: {}", "line", "not valid YAML"),
        ]
    )
    func outside(_ yaml: String, _ path: String, _ words: String) {
        let problems = problems(yaml)
        #expect(problems.contains { $0.contains(path) && $0.contains(words) }, "\(problems)")
    }

    @Test("all that is wrong is said at once, with the line of each")
    func allAtOnce() {
        let found = problems(
            """
            lines:
              one: {consent: maybe}
            sources:
              shop:
                kind: shopify
                templates: {a: "{{x", b: "{{wrong}}"}
                rules:
                  - {when: order.paid, send: {line: one, template: b}}
                  - {when: order.gone, send: {line: nine, template: zero}}
            colour: red
            """
        )
        #expect(found.count == 7, "\(found)")
        for line in [2, 6, 8, 9, 10] { #expect(found.contains { $0.contains("(line \(line))") }, "\(line)") }
        #expect(found.filter { $0.contains("(line 9)") }.count == 3)
    }

    @Test("two rules that always fire together need two keys")
    func sameKey() {
        let twice =
            "{when: order.paid, send: {line: one, template: it}}\n      - {when: order.paid, send: {line: one, template: it}}"
        let found = problems(Self.source(twice))
        #expect(found.count == 1 && found[0].contains("the same key as sources.shop.rules[0]"))
        #expect(
            problems(Self.source(twice.replacing("template: it}}\n", with: "template: it, key: \"{{key}}:b\"}}\n")))
                == []
        )
    }

    @Test("nothing of what an alias repeats is read without end, and a file has a size")
    func large() {
        let bomb =
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + (0..<9).map { at in
                let (this, next) = (
                    "abcdefghij".dropFirst(at + 1).first ?? "z", "abcdefghij".dropFirst(at).first ?? "z"
                )
                return "\(this): &\(this) [*\(next),*\(next),*\(next),*\(next),*\(next),*\(next),*\(next),*\(next)]\n"
            }.joined()
        #expect(problems(bomb).contains { $0.contains("no field of that name") })
        #expect(problems(String(repeating: "#", count: RuleBook.longestFile + 1)).first?.contains("more than") == true)
    }

    /// References are written out where they are used: what workers read would be longer than any file may be.
    @Test func rulesThatGrowWhenTheyAreKeptAreRefused() throws {
        // As long as a text may be.
        let long = String(repeating: "x", count: 16_000)
        var text = "sources:\n  s0:\n    kind: custom\n    templates: &t {it: \"\(long)\"}\n"
        for number in 1..<70 { text += "  s\(number): {kind: custom, templates: *t}\n" }
        #expect(text.utf8.count < RuleBook.longestFile)
        let error = #expect(throws: RuleBookError.self) { try RuleBook(yaml: text, kinds: .standard) }
        #expect(error?.problems.count == 1)
        #expect(error?.problems.contains { "\($0)".contains("written out they have more than") } == true)
    }
}
