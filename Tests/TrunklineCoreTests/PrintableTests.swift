import Foundation
import Testing
import TrunklineCore

@Suite struct PrintableTests {
    private static let harmful: [Unicode.Scalar] = {
        let ranges: [ClosedRange<UInt32>] = [
            0x00...0x1F, 0x7F...0x9F, 0x200E...0x200F, 0x061C...0x061C, 0x2028...0x2029, 0x202A...0x202E,
            0x2066...0x2069,
            0xFEFF...0xFEFF, 0xE0041...0xE0041,
        ]
        return ranges.flatMap { $0.compactMap { Unicode.Scalar($0) } }
    }()

    @Test(arguments: harmful)
    func whatSteersATerminalIsTakenOut(_ scalar: Unicode.Scalar) throws {
        #expect(Printable.isHarmful(scalar))
        #expect(Printable.line("a\(scalar)b") == "a\u{FFFD}b")
        #expect(Printable.lines("a\(scalar)b") == (scalar == "\n" ? "a\nb" : "a\u{FFFD}b"))
    }

    @Test(arguments: ["", "plain", "שלום", "مرحبا", "Zoë 🙂", "日本", "a \u{00A0}b", "\u{FFFD}"])
    func whatIsReadStays(_ text: String) {
        #expect(Printable.line(text) == text && Printable.json("[\"\(text)\"]") == "[\"\(text)\"]")
    }

    /// The document means the same.
    @Test func aJSONDocumentIsEscapedWithoutLoss() throws {
        let text = String(String.UnicodeScalarView(Self.harmful)) + "é🙂"
        let document = String(decoding: try JSONEncoder().encode([text]), as: UTF8.self)
        let printable = Printable.json(document)
        #expect(!printable.unicodeScalars.contains(where: Printable.isHarmful))
        #expect(try JSONDecoder().decode([String].self, from: Data(printable.utf8)) == [text])
    }
}
