internal import Foundation

/// Inputs that nobody sends: from good ones by damage that grows, the same for the same seed.
///
/// A test gives so many of them to a parser, which must take or refuse each: what is looked for is a trap, a hang, memory
/// without a bound, or a value that does not survive being written and read again.
package struct ByteFuzzer: Sendable, IteratorProtocol, Sequence {
    /// Inputs of one parser in a test run; `TRUNKLINE_FUZZ_INPUTS` says how many instead.
    package static var inputs: Int {
        ProcessInfo.processInfo.environment["TRUNKLINE_FUZZ_INPUTS"].flatMap(Int.init) ?? 1_500
    }

    private static let longest = 16_384
    /// Whatever has meant something special to some parser.
    private static let words: [[UInt8]] =
        [
            "{", "}", "[", "]", "\"", "\\", ",", ":", "null", "true", "-", "-0", "1e999", "1e-9223372036854775808",
            "9007199254740993", "123456789012345678901234567890", "0.1", "\\u0000", "\\ud800", "\\udc00\\ud800",
            "\\uFEFF", "{}",
            "[]", "\"\"", "{\"\":", "id", "&", "=", "%", "%0", "%zz", "+", ";", "\r\n", "\r\n\r\n", "--", "<", ">",
            "</", "<![CDATA[",
            "]]>", "&lt;", "&#x110000;", "<!DOCTYPE", "<?", "\u{FEFF}", "\u{202E}", "𝟙", "👩‍👩‍👧", "+972501234567",
            "2026-13-45T99:99:99Z",
            "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999Z", "\t", "\u{0}", "\u{7F}",
        ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xC0, 0xAF]]

    private let corpus: [[UInt8]]
    private var random: SeededGenerator
    private var left: Int

    /// - Parameters:
    ///   - corpus: good inputs, and such as once made trouble; at least one.
    ///   - count: how many there are.
    package init(_ corpus: [[UInt8]], seed: UInt64, part: String, count: Int = ByteFuzzer.inputs) {
        precondition(!corpus.isEmpty)
        self.corpus = corpus
        random = SeededGenerator(seed: seed, part: part)
        left = count
    }

    package mutating func next() -> [UInt8]? {
        guard left > 0 else { return nil }
        left -= 1
        var bytes = random.pick(corpus)
        // Mostly near to a good one, so that it is read far before it is refused.
        let changes = random.pick([1, 1, 1, 2, 2, 3, 5, 12])
        for _ in 0..<changes { damage(&bytes) }
        if bytes.count > Self.longest { bytes.removeSubrange(Self.longest...) }
        return bytes
    }

    private mutating func damage(_ bytes: inout [UInt8]) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        let span = Swift.min(bytes.count - place, Int.random(in: 1...random.pick([1, 2, 8, 64, 512]), using: &random))
        switch Int.random(in: 0..<10, using: &random) {
        case 0: bytes.removeSubrange(place...)
        case 1: bytes.removeSubrange(place..<place + span)
        case 2 where span > 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 3 where span > 0: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
        case 4: bytes.insert(contentsOf: bytes[place..<place + span], at: place)
        case 5: repeatBlock(&bytes, place, span)
        case 6: splice(&bytes, place)
        case 7 where span > 0: exchange(&bytes, place, span)
        default: bytes.insert(contentsOf: random.pick(Self.words), at: place)
        }
    }

    /// Deep nests and long runs.
    private mutating func repeatBlock(_ bytes: inout [UInt8], _ place: Int, _ span: Int) {
        let block =
            span > 0 && random.chance(0.5) ? Array(bytes[place..<place + Swift.min(span, 8)]) : random.pick(Self.words)
        let times = random.pick([2, 8, 40, 100, 1_000])
        bytes.insert(contentsOf: Array(repeating: block, count: times).joined(), at: place)
    }

    /// On with the rest of another good one.
    private mutating func splice(_ bytes: inout [UInt8], _ place: Int) {
        let other = random.pick(corpus)
        let from = Int.random(in: 0...other.count, using: &random)
        bytes = Array(bytes[..<place]) + other[from...]
    }

    /// A number or word in the place of another.
    private mutating func exchange(_ bytes: inout [UInt8], _ place: Int, _ span: Int) {
        func isWord(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D
        }
        var end = place
        while end < bytes.count, isWord(bytes[end]) { end += 1 }
        bytes.replaceSubrange(place..<Swift.max(end, place + span), with: random.pick(Self.words))
    }
}
