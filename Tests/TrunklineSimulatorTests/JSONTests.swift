import Testing

@testable import TrunklineSimulator

@Suite struct JSONTests {
    @Test func valuesAreRead() throws {
        let text =
            #" {"a":[1,-2.5,1e3,true,false,null],"b":"\u00e9\ud83d\ude00\n\"\\\/","c":{},"n":9223372036854775807} "#
        let json = try JSON.parse(text.utf8)
        #expect(
            json["a"] == .array([.integer(1), .double(-2.5), .double(1_000), .bool(true), .bool(false), .null])
        )
        #expect(json["b"] == .string("é😀\n\"\\/"))
        #expect(json["c"] == .object([]))
        #expect(json["n"] == .integer(.max))
        #expect(json["missing"] == nil)
    }

    @Test(arguments: [
        "", " ", "{", "[1,", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "nul", "01", "1.", "1e", "-", "+1", "\"",
        "\"\\x\"",
        "\"\u{1}\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u12g4\"", "1 2", "'a'", "NaN",
    ])
    func whatIsNoJSONIsRefused(_ text: String) {
        #expect(throws: JSONError.self) { try JSON.parse(text.utf8) }
    }

    @Test func invalidUTF8AndDeepNestingAreRefused() {
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xFF, 0x22]) }
        #expect(throws: JSONError.self) { try JSON.parse([UInt8](repeating: UInt8(ascii: "["), count: 100_000)) }
    }

    @Test func whatWasWrittenReadsBack() throws {
        let value = JSON.object([
            JSON.Member(name: "text", value: .string("\u{0}\u{1F}\"\\ é 😀\n")),
            JSON.Member(name: "list", value: .array([.integer(-1), .double(0.5), .bool(false), .null, .array([])])),
            JSON.Member(name: "", value: .object([])),
        ])
        var writer = JSONWriter()
        writer.element(value)
        #expect(try JSON.parse(writer.bytes) == value)
    }

    @Test func datesAreWrittenAsHTTPWantsThem() {
        #expect(httpDate(microseconds: 784_111_777_000_000) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
}
