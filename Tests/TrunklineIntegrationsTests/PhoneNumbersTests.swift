import Testing
import TrunklineCore
import TrunklinePhones

@Suite struct PhoneNumbersTests {
    @Test(arguments: [
        ("050-123-4567", "IL", "+972501234567"),
        ("0501234567", "il", "+972501234567"),
        (" (050) 123 4567 ", "IL", "+972501234567"),
        ("600 111 222", "ES", "+34600111222"),
        ("0034 600 111 222", "ES", "+34600111222"),
        ("0034 600 111 222", nil, "+34600111222"),
        ("00 34 600 111 222", "US", "+34600111222"),
        ("(415) 555-2671 x12", "US", "+14155552671"),
        ("600 111 222 ext. 5", "ES", "+34600111222"),
        ("600111222#5", "ES", "+34600111222"),
        // Mexico gave up the 1 of its mobile numbers.
        ("+52 1 55 1234 5678", nil, "+525512345678"),
        ("55 1234 5678", "MX", "+525512345678"),
        ("5215512345678", "MX", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("045 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        // Benin has ten digits since 2024; both are written.
        ("+229 01 95 12 34 56", nil, "+2290195123456"),
        ("01 95 12 34 56", "BJ", "+2290195123456"),
        ("+229 95 12 34 56", nil, "+22995123456"),
        ("+54 9 11 2345-6789", nil, "+5491123456789"),
        ("011 15-2345-6789", "AR", "+5491123456789"),
        ("+1 555-123-4567", nil, "+15551234567"),
        ("(639) 372 1289", "US", "+16393721289"),
        ("+34 600-111-222", "IL", "+34600111222"),
        ("+34 600 111 222", nil, "+34600111222"),
        ("+34 600 111 222", "", "+34600111222"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("07400 123456", "GB", "+447400123456"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("347 123 4567", "IT", "+393471234567"),
        // An Italian landline keeps its zero.
        ("06 698 12345", "IT", "+390669812345"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("11 96123-4567", "BR", "+5511961234567"),
        ("०९८७६५४३२१०", "IN", "+919876543210"),
        ("٠٥٠١٢٣٤٥٦٧", "AE", "+971501234567"),
        ("＋３４ ６００ １１１ ２２２", nil, "+34600111222"),
        ("600\u{00A0}111\u{00A0}222", "ES", "+34600111222"),
    ])
    func readsWhatPeopleWrite(_ raw: String, _ country: String?, _ expected: String) throws {
        #expect(try PhoneNumbers.e164(raw, country: country).value == expected)
    }

    @Test(arguments: [
        ("", "ES", "empty"),
        ("   ", "ES", "empty"),
        ("600 111 222", nil, "no country is given"),
        ("+999 600 111 222", nil, "country code"),
        ("12", "ES", "too short"),
        ("600 111", "ES", "too short"),
        ("600 111 222 333 444", "ES", "too long"),
        ("+34 600 111 222 333", nil, "too long"),
        ("1-800-FLOWERS", "US", "letters"),
        ("555-555-SHIP", "US", "letters"),
        ("x5", "ES", "letters"),
        ("+1434993473", nil, "too short"),
        ("null", nil, "letters"),
        ("n/a", "ES", "letters"),
        ("undefined", "ES", "letters"),
        ("----", "ES", "not a phone number"),
        ("555-2671", "US", "area code"),
    ])
    func refusesWhatCannotBeANumberAndSaysWhy(_ raw: String, _ country: String?, _ word: String) {
        let refusal = #expect(throws: Refusal.self) { try PhoneNumbers.e164(raw, country: country) }
        #expect(refusal?.kind == .invalid)
        #expect(refusal?.field == "to")
        #expect(refusal?.reason.contains(word) == true, "\(refusal?.reason ?? "")")
    }

    @Test(arguments: ["XX", "ESP", "E", "1A", "España"])
    func anUnknownCountryIsItsOwnRefusal(_ country: String) {
        let refusal = #expect(throws: Refusal.self) { try PhoneNumbers.e164("600111222", country: country) }
        #expect(refusal?.field == "country")
    }

    @Test func whatIsNoneInTheRecordsCountryIsReadByTheOther() throws {
        #expect(try PhoneNumbers.e164("600 111 222", country: "US", else: "ES").value == "+34600111222")
        #expect(try PhoneNumbers.e164("050-123 4567", country: "IL", else: "ES").value == "+972501234567")
        #expect(try PhoneNumbers.e164("600 111 222", country: nil, else: "ES").value == "+34600111222")
        #expect(throws: Refusal.self) { try PhoneNumbers.e164("12", country: "IL", else: "ES") }
        #expect(throws: Refusal.self) { try PhoneNumbers.e164("600 111 222", country: nil, else: nil) }
    }

    @Test func aGroupIsRefusedByPolicy() {
        let refusal = #expect(throws: Refusal.self) { try PhoneNumbers.e164("120363021@g.us", country: "ES") }
        #expect(refusal?.kind == .policy)
    }

    /// Number ranges of the packaged tables are years old: a number that is not in them may well exist by now.
    @Test func aPossibleNumberOfAnUnknownRangeIsAccepted() throws {
        #expect(try PhoneNumbers.e164("555 111 222", country: "ES").value == "+34555111222")
        #expect(try PhoneNumbers.e164("+1 111 111 1111", country: nil).value == "+11111111111")
    }

    @Test func noRefusalRepeatsTheNumber() {
        for raw in ["60011", "600111222333444555", "+999600111222", "6#5", "x600111222"] {
            let refusal = #expect(throws: Refusal.self) { try PhoneNumbers.e164(raw, country: "ES") }
            let words = String(describing: refusal)
            #expect(!words.contains(raw) && !words.contains("60011"))
        }
    }

    @Test func hostileInputIsRefusedAndNothingElse() {
        for raw in [
            String(repeating: "9", count: 100_000), "\0", "+\0" + "34600111222", "\u{202E}600", "🇪🇸",
            "tel:+34600111222;phone-context=+1", String(repeating: "+", count: 60), "+34600111222;drop",
        ] {
            #expect(throws: Refusal.self) { try PhoneNumbers.e164(raw, country: "ES") }
        }
    }

    @Test func possibleIsAskedOfE164Only() {
        #expect(PhoneNumbers.isPossible(e164: "+34600111222"))
        #expect(PhoneNumbers.isPossible(e164: "+972501234567"))
        // As a producer writes it: nothing is rewritten here.
        #expect(PhoneNumbers.isPossible(e164: "+5215512345678"))
        #expect(PhoneNumbers.isPossible(e164: "+2290195123456"))
        #expect(!PhoneNumbers.isPossible(e164: "+521551234567890"))
        #expect(!PhoneNumbers.isPossible(e164: "+34600111"))
        #expect(!PhoneNumbers.isPossible(e164: "+99912345678"))
        #expect(!PhoneNumbers.isPossible(e164: "34600111222"))
        #expect(!PhoneNumbers.isPossible(e164: "+34 600 111 222"))
        #expect(!PhoneNumbers.isPossible(e164: ""))
    }

    @Test func canBeAskedFromManyThreadsAtOnce() async {
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<64 {
                group.addTask {
                    (try? PhoneNumbers.e164("600 111 \(100 + number)", country: "ES").value)
                        == "+34600111\(100 + number)"
                }
            }
            for await good in group { #expect(good) }
        }
    }
}
