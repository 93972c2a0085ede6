import TestKit
import Testing

@testable import TrunklineCore

@Suite struct SourceFactTests {
    private func order(_ id: String, _ moment: SourceFact.OrderMoment, at: Timestamp? = nil) -> SourceFact {
        .order(.init(record: .init(id: id, at: at), moment: moment))
    }

    private func key(_ fact: SourceFact, _ source: String = "acme") throws -> String? {
        try fact.key(from: SourceID(source))?.value
    }

    // MARK: Keys of facts

    @Test func aMomentHasItsKeyAndItsRevision() throws {
        let start = Timestamp(rfc3339: "2026-11-03T09:30:00.75+01:00")
        let cases: [(SourceFact.OrderMoment, String?)] = [
            (.confirmed, "confirmed"), (.paid, "paid"), (.ready(place: nil), "ready"),
            (.ready(place: "P4"), "ready:P4"),
            (.shipped(shipment: "9"), "shipped:9"), (.shipped(shipment: nil), "shipped"),
            (.trackingChanged(shipment: "9", number: "T-1"), "tracking:9.T-1"),
            (.outForDelivery(shipment: "9"), "out_for_delivery:9"), (.delivered(shipment: nil), "delivered"),
            (.deliveryChanged(what: "delayed", shipment: "9"), "delivery-changed:delayed:9:20261103T083000Z"),
            (.cancelled, "cancelled"), (.refunded(refund: "7"), "refunded:7"), (.refunded(refund: nil), "refunded"),
            (.invoiced(at: start), "invoice:20261103T083000Z"), (.reached(status: "packed"), "status-packed"),
            (.changed, nil), (.removed, nil),
        ]
        for (moment, end) in cases {
            #expect(try key(order("1042", moment, at: start)) == end.map { "order:acme.1042:" + $0 })
        }
        let record = SourceFact.Record(id: "A-77", at: nil)
        #expect(try key(.lead(.init(record: record, person: .init()))) == "lead:acme.A-77:first-touch")
        #expect(try key(.contact(.init(record: record, person: .init()))) == nil)
        let moved = SourceFact.Appointment(record: record, moment: .moved, person: .init(), start: start)
        #expect(try key(.appointment(moved)) == "appointment:acme.A-77:moved:20261103T083000Z")
        #expect(
            try moved.reminderKey(from: SourceID("acme"), offset: "24h")?.value
                == "appointment:acme.A-77:24h:20261103T083000Z"
        )
        let open = SourceFact.Appointment(record: record, moment: .cancelled, person: .init(), start: nil)
        #expect(try open.reminderKey(from: SourceID("acme"), offset: "24h") == nil)
        #expect(try SourceFact.appointment(open).subject(from: SourceID("acme")) == "appointment:acme.A-77")
    }

    @Test func noIdMakesOneFactLookLikeAnother() throws {
        // With the alphabet of keys alone each of these pairs would be one key.
        let pairs: [(SourceFact, String, SourceFact, String)] = [
            (order("1:refunded", .refunded(refund: nil)), "acme", order("1", .refunded(refund: "refunded")), "acme"),
            (order("shop.1", .paid), "acme", order("1", .paid), "acme.shop"),
            (order("1", .refunded(refund: "2:3")), "acme", order("1", .refunded(refund: "2")), "acme"),
            (
                order("1", .trackingChanged(shipment: "a.b", number: "c")), "acme",
                order("1", .trackingChanged(shipment: "a", number: "b.c")), "acme"
            ),
            (order("", .paid), "acme", order(" ", .paid), "acme"),
        ]
        for (a, firstSource, b, secondSource) in pairs {
            #expect(try key(a, firstSource) != key(b, secondSource))
        }
        let gid = "gid://shopify/Order/5512345678901"
        #expect(try key(order(gid, .paid)) == "order:acme.\(Digest.hex(Digest.sha256(gid.utf8))):paid")
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func everyKeyIsAKeyAndTheSameFactHasTheSame(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var owners: [String: SourceFact] = [:]
        for _ in 0..<500 {
            func text(_ longest: Int) -> String {
                let letters: [Character] = ["a", "Z", "0", "-", "_", ".", ":", "/", " ", "é", "ש", "😀"]
                return String((0..<Int.random(in: 0...longest, using: &random)).map { _ in random.pick(letters) })
            }
            let moments: [SourceFact.OrderMoment] = [
                .paid, .ready(place: text(80)), .shipped(shipment: text(3)),
                .trackingChanged(shipment: text(3), number: text(200)), .reached(status: text(90)),
                .deliveryChanged(what: text(9), shipment: text(100)),
            ]
            let fact = order(text(4), random.pick(moments))
            guard let key = try key(fact, String(repeating: "s", count: Int.random(in: 1...64, using: &random))) else {
                Issue.record("no key")
                continue
            }
            #expect(key.utf8.count <= 128)
            let name = key
            if let other = owners.updateValue(fact, forKey: name) {
                #expect(other.record.id == fact.record.id && other.order == fact.order, "seed \(seed)")
            }
        }
    }

    // MARK: Parts

    @Test func anAmountIsExactOrNone() {
        for good in ["0", "59.90", "-3.5", "123456789012345.123456"] {
            #expect(SourceFact.Money(amount: good, currency: "eur")?.amount == good)
        }
        for bad in [
            "", "-", ".", "1.", ".5", "1,5", "1e3", "+1", "1.2.3", " 1", "٣", "1234567890123456", "1.1234567",
        ] {
            #expect(SourceFact.Money(amount: bad, currency: "EUR") == nil)
        }
        for bad in ["", "EU", "EURO", "€€€", "E R"] { #expect(SourceFact.Money(amount: "1", currency: bad) == nil) }
    }

    @Test func aPersonKeepsPhonesOnceAndCountriesThatAreOne() {
        let person = SourceFact.Person(phones: ["1", "2", "1"], country: "es")
        #expect(person.phones == ["1", "2"])
        #expect(person.country == "ES")
        for none in ["Spain", "E", "", "12", "éé"] { #expect(SourceFact.Person(country: none).country == nil) }
    }

    @Test func noDescriptionShowsACustomer() {
        let fact = SourceFact.order(
            .init(
                record: .init(id: "1042", at: nil),
                moment: .paid,
                person: .init(name: "Ana Ruiz", phones: ["+34600111222"])
            )
        )
        var dumped = ""
        dump(fact, to: &dumped)
        for text in ["\(fact)", dumped] {
            #expect(!text.contains("Ana"))
            #expect(!text.contains("600111222"))
        }
    }

    // MARK: Proof

    @Test func secretsAreOneOrTwoLines() throws {
        let two = try SourceSecrets(Array(" first-secret-0123 \r\n\n second-secret\n".utf8))
        #expect(two.values == [Array("first-secret-0123".utf8), Array("second-secret".utf8)])
        #expect(two.hint == "…0123")
        // Of a short one less is shown.
        #expect(try SourceSecrets(Array("short-one".utf8)).hint == "…ne")
        for wrong in [
            "", " \n ", "short", "same-same\nsame-same", "one-secret\ntwo-secret\nthree-secret", "with\u{7}control",
        ] {
            #expect(throws: Refusal.self) { try SourceSecrets(Array(wrong.utf8)) }
        }
        #expect(throws: Refusal.self) { try SourceSecrets([0xFF, 0xFE] + Array("not-utf8-at-all".utf8)) }
    }

    @Test func aHeaderThatProvesIsThereOnce() throws {
        func reason(_ values: [String]) -> SourceRefusal.Reason? {
            let request = ReceivedRequest(
                url: "https://x.example/in/t?a=1#f",
                headers: values.map { ("X-Sign", $0) },
                body: []
            )
            #expect(request.query == "a=1")
            do throws(SourceRefusal) {
                return try request.only("x-sign") == "s" ? nil : .forged
            } catch {
                return error.reason
            }
        }
        #expect(reason([" s\t"]) == nil)
        #expect(reason([]) == .unsigned)
        #expect(reason(["", " "]) == .ambiguous)
        #expect(reason([" "]) == .unsigned)
        #expect(reason(["s", "s"]) == .ambiguous)
    }

    @Test func codesAndSecretsAreComparedWhole() {
        let key = Array("Jefe".utf8)
        let text = Array("what do ya want for nothing?".utf8)
        // RFC 4231, test case 2.
        let code = Digest.bytes(hex: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843".utf8) ?? []
        #expect(Digest.isHMACSHA256(code, of: [text], key: key))
        #expect(Digest.isHMACSHA256(code, of: [Array(text.prefix(4)), Array(text.dropFirst(4))], key: key))
        for wrong in [[], Array(code.dropLast()), code + [0], [code[0] ^ 1] + code.dropFirst()] {
            #expect(!Digest.isHMACSHA256(wrong, of: [text], key: key))
        }
        #expect(Digest.areSameSecret(key, key))
        #expect(!Digest.areSameSecret([], key))
        #expect(!Digest.areSameSecret(Array(key.dropLast()), key))
    }

    @Test func hexadecimalIsReadOrNot() {
        #expect(Digest.bytes(hex: "00fFaB".utf8) == [0, 255, 171])
        #expect(Digest.bytes(hex: "".utf8) == [])
        for wrong in ["0", "0g", "0x", " 0", "éé"] { #expect(Digest.bytes(hex: wrong.utf8) == nil) }
    }

    @Test func aKeyThatIsTooLongIsItsDigest() {
        #expect(EventKey(String(repeating: "k", count: 255)).value.utf8.count == 255)
        let long = EventKey(String(repeating: "k", count: 256)).value
        #expect(long.hasPrefix("id-sha256:"))
        #expect(long != EventKey(String(repeating: "k", count: 257)).value)
    }

    @Test func nothingSecretIsStoredWithAnEvent() throws {
        let request = ReceivedRequest(
            url: "https://x.example/in/t",
            headers: [
                ("Authorization", "Bearer s"), ("COOKIE", "s"), ("X-Goog-Channel-Token", "s"), ("X-Form-Key", "s"),
                ("X-Topic", "t"),
            ],
            body: [1]
        )
        let event = ReceivedEvent(request, hiding: ["x-form-key"], receivedAt: Timestamp(microseconds: 0))
        #expect(event.headers.map(\.name) == ["X-Topic"])
        #expect(event.header("x-topic") == "t")
    }
}

extension SourceFact {
    fileprivate var order: Order? { if case .order(let order) = self { order } else { nil } }
}
