internal import CPhoneNumber
package import TrunklineCore

/// Phone numbers as people and shops write them, through libphonenumber.
///
/// Refused is only what cannot be a number at all: the country code is not in use, or the country has no number of that
/// length. Which ranges a country has given out changes faster than a distribution's package, so it is never asked.
///
/// Any thread. The first call loads libphonenumber's tables (some milliseconds).
package enum PhoneNumbers {
    /// The number in E.164.
    ///
    /// - Parameters:
    ///   - raw: As written: `050-123 4567`, `+34 600 111 222`, `00 44 …`, digits of any script. White space does not
    ///     matter; a trailing extension (`x12`, `ext. 12`) is left out. Letters elsewhere and anything longer than 256
    ///     bytes are not a number.
    ///   - country: The ISO 3166 code of the country whose people write it so (`IL`, in either case), used when `raw` does
    ///     not begin with `+`. `nil` or empty when it is not known: only international numbers are read then.
    /// - Throws: A refusal of kind `.invalid` (`.policy` when it names a group or channel), whose reason never holds the
    ///   number.
    package static func e164(_ raw: String, country: String?) throws(Refusal) -> PhoneNumber {
        try e164(raw, country: country, else: nil)
    }

    /// The same, where the record's own country may be wrong: a number that is none there is read as one of `fallback`, and
    /// refused for what it is in the record's own.
    package static func e164(_ raw: String, country: String?, else fallback: String?) throws(Refusal) -> PhoneNumber {
        guard let country, country != fallback else { return try read(raw, country: country ?? fallback) }
        do {
            return try read(raw, country: country)
        } catch {
            guard error.kind != .policy, let fallback, let number = try? read(raw, country: fallback) else {
                throw error
            }
            return number
        }
    }

    private static func read(_ raw: String, country: String?) throws(Refusal) -> PhoneNumber {
        // Checked first: what follows looks at every character.
        guard raw.utf8.count <= 256 else { throw refusal("the phone number is far too long") }
        var text = withoutExtension(raw).filter { !$0.isWhitespace }
        // Written so in most of the world, also where the country's own prefix is another one. No national number begins
        // with two zeros.
        if text.hasPrefix("00") { text = "+" + text.dropFirst(2) }
        guard !text.isEmpty else { throw refusal("the phone number is empty") }
        if text.contains("@") {
            throw Refusal(
                kind: .policy,
                field: "to",
                reason: "the phone number holds an @: groups and channels get no notices, only single phone numbers do"
            )
        }
        // Letters are refused before libphonenumber reads them as the keys of a telephone ("1-800-FLOWERS"): in an
        // order's data they are a mistake.
        guard !text.contains(where: \.isLetter) else { throw refusal("the phone number holds letters") }
        let region = try region(country)
        let (verdict, number) = parse(text, region)
        switch verdict {
        case tl_phone_possible:
            // libphonenumber knows a few service numbers outside E.164; they are refused here.
            return try PhoneNumber(number)
        case tl_phone_bad_country_code where region == nil && !text.contains("+"):
            throw refusal("the phone number has no country code, and no country is given to read it by")
        case tl_phone_bad_country_code:
            throw refusal("the phone number begins with a country code that is not in use")
        case tl_phone_too_short:
            throw refusal("the phone number is too short\(words(region))")
        case tl_phone_too_long:
            throw refusal("the phone number is too long\(words(region))")
        case tl_phone_bad_length:
            throw refusal("no phone number of its country has that many digits")
        case tl_phone_local_only:
            throw refusal("the phone number lacks its area code")
        case tl_phone_not_a_number:
            throw refusal("this is not a phone number")
        default:
            // Not the input's fault, and not a reason to lose it silently: the words say so.
            throw refusal("the phone number could not be checked (internal error of libphonenumber)")
        }
    }

    /// Whether a number in E.164 can exist: its country code is in use and its country has numbers of that length.
    package static func isPossible(e164 number: String) -> Bool {
        guard (try? PhoneNumber(number)) != nil else { return false }
        return parse(number, nil).verdict == tl_phone_possible
    }

    /// Refuses a notice to a number that cannot exist: whoever accepts one asks, so that none is promised that a worker refuses.
    package static func check(_ work: CarriedWork) throws(Refusal) {
        guard case .send(let job) = work, !isPossible(e164: job.to.value) else { return }
        throw Refusal(kind: .invalid, field: "to", reason: "no country has numbers of that length")
    }

    private static func parse(_ text: String, _ region: String?) -> (verdict: tl_phone_verdict, e164: String) {
        var text = text
        var buffer = [CChar](repeating: 0, count: Int(tl_phone_capacity))
        let verdict = text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                unsafe tl_phone_parse($0.baseAddress, $0.count, region ?? "ZZ", &buffer)
            }
        }
        let digits = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return (verdict, String(decoding: digits, as: UTF8.self))
    }

    /// The text before a trailing `x12`, `ext. 12`, `extension 12` or `#12`: a message cannot dial it.
    private static func withoutExtension(_ raw: String) -> Substring {
        var rest = raw[...]
        func drop(while predicate: (Character) -> Bool) -> Int {
            let count = rest.count
            while let last = rest.last, predicate(last) { rest.removeLast() }
            return count - rest.count
        }
        _ = drop { $0.isWhitespace }
        guard (1...7).contains(drop(while: \.isWholeNumber)) else { return raw[...] }
        _ = drop { $0.isWhitespace || $0 == "." || $0 == ":" }
        let before = rest.lowercased()
        for mark in ["extension", "ext", "x", "#"] where before.hasSuffix(mark) {
            let number = rest.dropLast(mark.count)
            // "600x5": something must be left, or the digits were the number.
            return number.contains(where: \.isWholeNumber) ? number : raw[...]
        }
        return raw[...]
    }

    private static func region(_ country: String?) throws(Refusal) -> String? {
        guard let code = country?.filter({ !$0.isWhitespace }).uppercased(), !code.isEmpty else { return nil }
        guard code.utf8.count == 2, code.utf8.allSatisfy({ (0x41...0x5A).contains($0) }),
            unsafe tl_phone_region_known(code)
        else {
            throw Refusal(
                kind: .invalid,
                field: "country",
                reason: "the country is not a two-letter ISO 3166 code that has phone numbers (like IL, ES or US)"
            )
        }
        return code
    }

    private static func words(_ region: String?) -> String { region.map { " for \($0)" } ?? "" }

    private static func refusal(_ reason: String) -> Refusal {
        Refusal(kind: .invalid, field: "to", reason: reason)
    }
}
