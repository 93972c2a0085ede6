import PostgresDriver
import TestKit
import Testing
import TrunklineCore

@testable import TrunklineEngine

/// Contacts and orders: the newest fact wins, field by field, whoever comes first.
@Suite("Contacts and orders")
struct RecordsTests {
    private static let acme = try! WorkspaceID("acme")
    private static let other = try! WorkspaceID("other")
    private static let phone = try! PhoneNumber("+34600111222")

    private static func moment(_ minute: Int) -> Timestamp {
        Timestamp(microseconds: 1_764_579_600_000_000 + Int64(minute) * 60_000_000)
    }

    private static func put(_ install: Operator, _ facts: ContactFacts) async throws -> FactVerdict {
        try await install.putContact(phone, facts, workspace: acme, now: .now)
    }

    @Test("an older fact never overwrites a newer one, and says so; what nobody contradicts is kept")
    func newestWins() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            let first = try await Self.put(install, ContactFacts(factAt: Self.moment(5), name: "Marta", language: "es"))
            #expect(first == FactVerdict(word: .stored, older: []))
            let older = try await Self.put(install, ContactFacts(factAt: Self.moment(3), name: "M."))
            #expect(older == FactVerdict(word: .older, older: ["name"]))
            // Of an older event only what nothing newer is known about.
            let part = try await Self.put(
                install,
                ContactFacts(factAt: Self.moment(4), name: "Mar", email: "m@example.net")
            )
            #expect(part == FactVerdict(word: .stored, older: ["name"]))
            let again = try await Self.put(install, ContactFacts(factAt: Self.moment(5), name: "Marta", language: "es"))
            #expect(again == FactVerdict(word: .same, older: []))
            // Known, but as of later: a fact in between is older now.
            #expect(try await Self.put(install, ContactFacts(factAt: Self.moment(9), name: "Marta")).word == .same)
            #expect(try await Self.put(install, ContactFacts(factAt: Self.moment(7), name: "Other")).word == .older)
            // Of the same moment the later one is kept.
            #expect(try await Self.put(install, ContactFacts(factAt: Self.moment(9), name: "Marta S.")).word == .stored)

            let contact = try #require(try await install.contact(Self.phone, workspace: Self.acme))
            #expect(contact.facts.name == "Marta S." && contact.facts.email == "m@example.net")
            #expect(contact.facts.language == "es")
            #expect(
                contact.times
                    == ["name": Self.moment(9), "email": Self.moment(4), "language": Self.moment(5)]
            )
            #expect(try await install.contact(Self.phone, workspace: Self.other) == nil)
        }
    }

    @Test("who does not say when says now; what is empty is gone; members of ids stand beside each other")
    func withoutTime() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            _ = try await Self.put(install, ContactFacts(factAt: Self.moment(1), name: "Marta", ids: ["shopify": "88"]))
            #expect(try await Self.put(install, ContactFacts(name: "", ids: ["hubspot": "12"])).word == .stored)
            #expect(try await Self.put(install, ContactFacts(factAt: Self.moment(2), name: "Marta")).word == .older)
            let contact = try #require(try await install.contact(Self.phone, workspace: Self.acme))
            #expect(contact.facts.name == "" && contact.facts.ids == ["shopify": "88", "hubspot": "12"])
            let ahead = Timestamp.now + .seconds(2 * 86_400)
            await #expect(throws: Refusal.self) {
                try await Self.put(install, ContactFacts(factAt: ahead, name: "Never"))
            }
        }
    }

    @Test("a batch counts in its order, also where it says several things about one")
    func batch() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            let second = try PhoneNumber("+34600111223")
            let verdicts = try await install.putContacts(
                [
                    (Self.phone, ContactFacts(factAt: Self.moment(2), name: "b")),
                    (second, ContactFacts(factAt: Self.moment(1), name: "x")),
                    (Self.phone, ContactFacts(factAt: Self.moment(1), name: "a")),
                    (Self.phone, ContactFacts(factAt: Self.moment(3), name: "c")),
                    (Self.phone, ContactFacts(factAt: Self.moment(3), name: "c")),
                ],
                workspace: Self.acme
            )
            #expect(verdicts.map(\.word) == [.stored, .stored, .older, .stored, .same])
            #expect(try await install.contact(Self.phone, workspace: Self.acme)?.facts.name == "c")
            #expect(try await install.putContacts([], workspace: Self.acme).isEmpty)
        }
    }

    /// ```
    /// writer A:  name as of 0, 2, 4, …  ─┐
    /// writer B:  name as of 1, 3, 5, …  ─┴─ whatever the order of their commits: the one of 39, for every person
    /// ```
    @Test("writers at once: the newest fact stands, and nobody meets a deadlock")
    func writersAtOnce() async throws {
        try await AdminDatabase.with { database in
            let people = try (0..<20).map { try PhoneNumber("+3460011\(1_000 + $0)") }
            func write(_ minutes: [Int], _ people: [PhoneNumber]) async throws {
                let install = database.install
                for minute in minutes {
                    let facts = try ContactFacts(factAt: Self.moment(minute), name: "name \(minute)")
                    _ = try await install.putContacts(people.map { ($0, facts) }, workspace: Self.acme)
                }
                await install.close()
            }
            async let a: Void = write((0..<20).map { $0 * 2 }.shuffled(), people)
            async let b: Void = write((0..<20).map { $0 * 2 + 1 }.shuffled(), people.reversed())
            async let c: Void = write((0..<20).shuffled(), people.shuffled())
            _ = try await (a, b, c)
            let install = database.install
            for phone in people {
                let contact = try await install.contact(phone, workspace: Self.acme)
                #expect(contact?.facts.name == "name 39" && contact?.times["name"] == Self.moment(39))
            }
            await install.close()
        }
    }

    @Test("orders are as contacts, with exact amounts, and are found by their person, the latest first")
    func orders() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            func order(_ number: Int, _ minute: Int, _ state: String, total: String? = nil) throws -> (
                OrderID, OrderFacts
            ) {
                let amount = try total.map { try OrderFacts.Amount(amount: $0, currency: "EUR", field: "total") }
                return (
                    try OrderID("shop.\(number)"),
                    try OrderFacts(
                        factAt: Self.moment(minute),
                        phone: Self.phone,
                        number: "#\(number)",
                        state: state,
                        placedAt: Self.moment(number),
                        total: amount,
                        items: .array([
                            .object([.init("price", .number("9007199254740993.10")), .init("title", .string("Mug"))])
                        ])
                    )
                )
            }
            let verdicts = try await install.putOrders(
                [
                    order(1, 10, "shipped", total: "0.10"), order(2, 11, "paid"), order(1, 9, "confirmed"),
                    order(3, 1, "paid", total: "84.50"),
                ],
                workspace: Self.acme
            )
            #expect(verdicts.map(\.word) == [.stored, .stored, .older, .stored])
            #expect(verdicts[2].older == ["state"])
            let one = try #require(try await install.order(OrderID("shop.1"), workspace: Self.acme))
            #expect(one.facts.state == "shipped" && one.facts.total?.amount == "0.10")
            let items = try order(1, 0, "").1.items
            #expect(one.facts.items == items)
            #expect(try await install.order(OrderID("shop.1"), workspace: Self.other) == nil)
            let known = try await install.orders(of: Self.phone, workspace: Self.acme, limit: 2)
            #expect(known.count == 3 && known.orders.map(\.id.value) == ["shop.3", "shop.2"])
            #expect(try await install.orders(of: Self.phone, workspace: Self.other, limit: 2).count == 0)
            // The customer of an order may turn out to be another.
            let moved = try OrderFacts(factAt: Self.moment(20), phone: PhoneNumber("+34600111223"))
            _ = try await install.putOrder(OrderID("shop.3"), moved, workspace: Self.acme, now: .now)
            #expect(try await install.orders(of: Self.phone, workspace: Self.acme, limit: 20).count == 2)
        }
    }

    @Test("contacts and orders of one transaction come and go together")
    func oneTransaction() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            struct Rollback: Error {}
            do {
                try await install.transaction {
                    _ = try await Self.put(install, ContactFacts(name: "Marta"))
                    #expect(try await install.contact(Self.phone, workspace: Self.acme) != nil)
                    let order = try OrderFacts(phone: Self.phone, state: "paid")
                    _ = try await install.putOrder(OrderID("1"), order, workspace: Self.acme, now: .now)
                    throw Rollback()
                }
            } catch is Rollback {}
            #expect(try await database.count("contacts") == 0)
            #expect(try await database.count("orders") == 0)
        }
    }

    @Test("a file of contacts: a verdict for every row, and again it changes nothing")
    func csv() async throws {
        try await AdminDatabase.with { database in
            let file = """
                phone,name,country,tags,ids.shop,links.shop,factAt,email
                050-123 4567,דנה,il,"vip, new",7,https://shop.example/7,2026-12-01T09:00:00Z,dana@example.net
                +34 600 111 222,Marta,ES,,,,2026-12-01T09:00:00Z,
                12,X,ES,,,,,
                +34600111222,Older,ES,,,,2026-11-01T09:00:00Z,
                +34600111222,Bad,ES,,,http,,
                too,few
                """
            func run(_ size: Int) async throws -> [ContactRowVerdict] {
                var told: [ContactRowVerdict] = []
                let install = database.install
                let run = ContactImport(
                    map: nil,
                    country: nil,
                    into: install,
                    workspace: Self.acme,
                    now: { .now },
                    tell: { told += $0 }
                )
                let bytes = Array(file.utf8)
                for start in stride(from: 0, to: bytes.count, by: size) {
                    try await run.push(Array(bytes[start..<min(start + size, bytes.count)]))
                }
                try await run.finish()
                await install.close()
                return told
            }
            func words(_ verdicts: [ContactRowVerdict]) -> [String] {
                verdicts.map { row in
                    switch row.outcome {
                    case .success(let verdict): verdict.word.word
                    case .failure(let refusal): refusal.field ?? refusal.kind.rawValue
                    }
                }
            }
            let first = try await run(7)
            #expect(first.map(\.row) == [2, 3, 4, 5, 6, 7])
            #expect(words(first) == ["stored", "stored", "phone", "older", "links", "malformed"])
            #expect(words(try await run(10_000)) == ["same", "same", "phone", "older", "links", "malformed"])
            let install = database.install
            let dana = try #require(try await install.contact(PhoneNumber("+972501234567"), workspace: Self.acme))
            #expect(dana.facts.name == "דנה" && dana.facts.country == "IL" && dana.facts.tags == ["vip", "new"])
            #expect(dana.facts.ids == ["shop": "7"] && dana.facts.links == ["shop": "https://shop.example/7"])
            await install.close()
        }
    }

    @Test("a map says which column is what, and a wrong one is said by its name")
    func map() throws {
        let map = try FieldMap(
            yaml: "fields: {phone: {column: Tel}, name: {template: \"{{First}} {{Last}}\"}, ids.crm: {column: Id}}",
            for: .contact
        )
        let header = ["Tel", "First", "Last", "Id"]
        let row = MappedRow(map: try map.bound(to: header), fields: ["600 111 222", "Ana", "Ruiz", "9"])
        let contact = try row.contact(country: "ES")
        #expect(contact.phone.value == "+34600111222" && contact.facts.name == "Ana Ruiz")
        #expect(contact.facts.ids == ["crm": "9"])
        #expect(throws: FieldMapError.self) {
            try FieldMap(yaml: "fields: {phone: {column: T}, body: {column: B}}", for: .contact)
        }
        #expect(throws: FieldMapError.self) { try FieldMap(yaml: "fields: {name: {column: T}}", for: .contact) }
    }
}
