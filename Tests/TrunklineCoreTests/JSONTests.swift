import Foundation
import Testing

@testable import TrunklineCore

@Suite struct JSONTests {
    private func parse(_ text: String) throws(JSONError) -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

    @Test(
        arguments: [
            (" null ", JSONValue.null), ("true", .bool(true)), ("false", .bool(false)),
            ("-0.5e+10", .number("-0.5e+10")),
            ("820982911946154508", .number("820982911946154508")), ("[]", .array([])), ("{}", .object([])),
            ("[1,[2],{}]", .array([.number("1"), .array([.number("2")]), .object([])])),
            (#""a\"\\\/\b\f\n\r\tz""#, .string("a\"\\/\u{8}\u{C}\n\r\tz")),
            (#""\u00e9\u05D0\ud83d\uDE00""#, .string("é\u{5D0}😀")), (#""é😀""#, .string("é😀")),
            (#"{"a":{"b":[null]}}"#, .object([.init("a", .object([.init("b", .array([.null]))]))])),
            (#"{"\u0061":1}"#, .object([.init("a", .number("1"))])),
        ] as [(String, JSONValue)]
    )
    func reads(_ text: String, _ value: JSONValue) throws {
        #expect(try parse(text) == value)
    }

    @Test(
        arguments: [
            ("", .truncated, 0), ("  ", .truncated, 2), ("{", .truncated, 1), (#"{"a"#, .truncated, 3),
            (#"{"a""#, .truncated, 4), (#"{"a":"#, .truncated, 5), (#"{"a":1"#, .truncated, 6), ("[1,", .truncated, 3),
            (#""abc"#, .truncated, 4), (#""abc\"#, .truncated, 5), ("tru", .truncated, 3), ("-", .truncated, 1),
            ("1.", .truncated, 2), ("{,}", .unexpectedByte, 1), (#"{"a":1,}"#, .unexpectedByte, 7),
            ("[1,]", .unexpectedByte, 3), ("[1 2]", .unexpectedByte, 3), ("{1:2}", .unexpectedByte, 1),
            (#"{"a" 1}"#, .unexpectedByte, 5), ("nul!", .unexpectedByte, 3), ("'a'", .unexpectedByte, 0),
            ("[01]", .badNumber, 2), ("[1.e5]", .badNumber, 3), ("[1e]", .badNumber, 3), ("[-a]", .badNumber, 2),
            ("[+1]", .unexpectedByte, 1), ("[.5]", .unexpectedByte, 1), ("NaN", .unexpectedByte, 0),
            (#""\x""#, .badEscape, 1), (#""\u12g4""#, .badEscape, 1), (#""a\ud800""#, .loneSurrogate, 2),
            (#""\udc00""#, .loneSurrogate, 1), (#""\ud83dx12345""#, .loneSurrogate, 1),
            (#""\ud83d\u0041""#, .loneSurrogate, 1), ("\"a\u{1}\"", .controlCharacter, 2),
            ("\"a\nb\"", .controlCharacter, 2), (#""a\u0000""#, .zeroCharacter, 2), ("1 2", .trailingBytes, 2),
            ("{}x", .trailingBytes, 2), ("\u{FEFF}{}", .unexpectedByte, 0), (#"{"a":1,"\u0061":2}"#, .duplicateName, 7),
        ] as [(String, JSONError.Problem, Int)]
    )
    func refuses(_ text: String, _ problem: JSONError.Problem, _ offset: Int) {
        #expect(throws: JSONError(problem: problem, offset: offset)) { try parse(text) }
    }

    @Test(
        arguments: [
            ([0x22, 0x61, 0xFF, 0x22], 2), ([0x22, 0xC3, 0x22], 1), ([0x22, 0xC0, 0x80, 0x22], 1),
            ([0x22, 0xC3, 0xA9, 0xED, 0xA0, 0x80, 0x22], 3), ([0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], 1),
            ([0x22, 0x5C, 0x6E, 0x80, 0x22], 3),
        ] as [([UInt8], Int)]
    )
    func refusesWhatIsNotUTF8(_ bytes: [UInt8], _ offset: Int) {
        #expect(throws: JSONError(problem: .invalidUTF8, offset: offset)) { try JSONValue(parsing: bytes) }
    }

    @Test func depthIsLimited() throws {
        let deep = { (n: Int) in String(repeating: "[", count: n) + String(repeating: "]", count: n) }
        #expect(throws: Never.self) { try parse(deep(32)) }
        #expect(throws: JSONError(problem: .tooDeep, offset: 32)) { try parse(deep(33)) }
        #expect(throws: JSONError(problem: .tooDeep, offset: 32)) { try parse(String(repeating: "[", count: 100_000)) }
        // Depth is not the number of brackets.
        #expect(throws: Never.self) { try parse("[" + String(repeating: "{},", count: 1_000) + "{}]") }
    }

    @Test func writes() throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("a\"b", "x\\y\n\t\r\u{1}\u{7F}é😀/")
        json.name("list")
        json.beginArray()
        json.integer(-3)
        json.bool(true)
        json.null()
        json.beginObject()
        json.endObject()
        json.endArray()
        json.member("none", nil as String?)
        json.name("raw")
        json.base64([1, 2, 3, 4])
        json.endObject()
        #expect(
            String(decoding: json.bytes, as: UTF8.self)
                == #"{"a\"b":"x\\y\n\t\r\u0001"# + "\u{7F}" + #"é😀/","list":[-3,true,null,{}],"raw":"AQIDBA=="}"#
        )
    }

    /// What our reader accepts, Foundation's must accept too (no large exponents here: those it cannot represent).
    @Test func agreesWithFoundation() {
        withSeeds { seed, generator in
            let pieces = [
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u00e9\"", "\"é\"", "1", "-2.5", " 2e1 ", "true", "null",
                " ", "\"\\n\"",
                "\"b\":", "0", "\"", "\\", "\"\\ud83d\\ude00\"",
            ]
            for _ in 0..<20_000 {
                let count = Int.random(in: 1...8, using: &generator)
                let text = (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
                guard (try? parse(text)) != nil else { continue }
                #expect(throws: Never.self, "seed \(seed): \(text)") {
                    try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
                }
            }
        }
    }
}
