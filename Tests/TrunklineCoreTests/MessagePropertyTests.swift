import Foundation
import TestKit
import Testing

@testable import TrunklineCore

@Suite struct MessagePropertyTests {
    static func randomText(_ length: ClosedRange<Int>, using generator: inout SeededGenerator, newline: Bool = true)
        -> String
    {
        let pool: [Unicode.Scalar] = [
            "a", "Z", "0", " ", "\"", "\\", "/", "é", "\u{301}", "ש", "ל", "ع", "中", "😀", "👩", "\u{200D}", "\u{202B}",
            "\u{2028}", "\u{FFFD}", "\u{10FFFF}", "<", "&",
        ]
        var text: String.UnicodeScalarView = "x".unicodeScalars
        for _ in 0..<Int.random(in: length, using: &generator) {
            text.append(pool.randomElement(using: &generator) ?? "a")
            if newline, Int.random(in: 0..<8, using: &generator) == 0 { text.append("\n") }
        }
        return String(text)
    }

    static func randomJob(using generator: inout SeededGenerator) throws -> SendJob {
        func maybe<T>(_ value: @autoclosure () throws -> T) rethrows -> T? {
            Bool.random(using: &generator) ? try value() : nil
        }
        let word = { (longest: Int, generator: inout SeededGenerator) -> String in
            let alphabet = Array("abcXYZ019._-")
            return String(
                (0..<Int.random(in: 1...longest, using: &generator)).map { _ in
                    alphabet.randomElement(using: &generator) ?? "a"
                }
            )
        }
        let start = Int64.random(in: 946_684_800_000_000...4_000_000_000_000_000, using: &generator)
        let hasButton = Bool.random(using: &generator)
        let hasFact = Bool.random(using: &generator)
        let number = Int.random(in: 10_000_000...999_999_999_999_999, using: &generator)
        var tags: [String: String] = [:]
        for _ in 0..<Int.random(in: 0...5, using: &generator) {
            tags[word(64, &generator)] = randomText(0...10, using: &generator, newline: false)
        }
        return try SendJob(
            line: LineID(word(64, &generator)),
            key: IdempotencyKey(word(128, &generator)),
            to: PhoneNumber("+\(number)"),
            body: randomText(1...200, using: &generator),
            button: hasButton
                ? Button(
                    text: randomText(0...18, using: &generator, newline: false),
                    url: "https://shop.example/\(word(100, &generator))"
                ) : nil,
            purpose: Purpose.allCases.randomElement(using: &generator) ?? .order,
            notBefore: maybe(Timestamp(microseconds: start)),
            sendBefore: maybe(Timestamp(microseconds: start + 1)),
            supersedeKey: hasFact ? word(128, &generator) : nil,
            factAt: hasFact ? Timestamp(microseconds: start) : nil,
            orderingKey: maybe(word(128, &generator)),
            tags: tags
        )
    }

    @Test func sendJobsRoundTrip() throws {
        try withSeeds { seed, generator in
            for _ in 0..<2_000 {
                let job = try Self.randomJob(using: &generator)
                let bytes = job.encode()
                guard case .send(let back) = try QueueMessage.decode(bytes) else {
                    Issue.record("not a send, seed \(seed)")
                    return
                }
                #expect(back == job, "seed \(seed)")
                // Equal Swift strings may be other bytes: the bytes are what counts.
                #expect(back.encode() == bytes, "seed \(seed)")
                #expect(back.contentDigest == job.contentDigest, "seed \(seed)")
            }
        }
    }

    /// Broken bytes never crash; and what is still accepted holds exactly what another JSON reader sees in those bytes.
    @Test func damageIsNeverReadAsSomethingElse() throws {
        try withSeeds { seed, generator in
            var accepted = 0
            for _ in 0..<4_000 {
                var bytes = try Self.randomJob(using: &generator).encode()
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    let at = Int.random(in: 0..<bytes.count, using: &generator)
                    switch Int.random(in: 0..<4, using: &generator) {
                    case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                    case 1: bytes[at] = UInt8.random(in: 0...255, using: &generator)
                    case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: at)
                    default: bytes.remove(at: at)
                    }
                }
                guard case .send(let job) = try? QueueMessage.decode(bytes) else { continue }
                accepted += 1
                let seen = try #require(
                    JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any],
                    "seed \(seed): \(bytes)"
                )
                func text(_ name: String) -> [UInt8]? { (seen[name] as? String).map { Array($0.utf8) } }
                #expect(Array(job.body.utf8) == text("body"), "seed \(seed)")
                #expect(Array(job.to.value.utf8) == text("to"), "seed \(seed)")
                #expect(Array(job.key.value.utf8) == text("key"), "seed \(seed)")
                #expect(Array(job.line.value.utf8) == text("line"), "seed \(seed)")
                #expect(job.orderingKey.map { Array($0.utf8) } == text("orderingKey"), "seed \(seed)")
                let button = seen["button"] as? [String: Any]
                #expect(job.button?.url == button?["url"] as? String, "seed \(seed)")
                #expect(job.tags == seen["tags"] as? [String: String] ?? [:], "seed \(seed)")
                #expect(job.encode().count <= SendJob.maximumMessageBytes, "seed \(seed)")
            }
            // A flip inside a text is another good text: if none were accepted, this test would test nothing.
            #expect(accepted > 100, "seed \(seed)")
        }
    }

    @Test func truncationIsNeverAccepted() throws {
        try withSeeds { seed, generator in
            for _ in 0..<1_000 {
                let bytes = try Self.randomJob(using: &generator).encode()
                let cut = Array(bytes[..<Int.random(in: 0..<bytes.count, using: &generator)])
                #expect(
                    refusal("seed \(seed)") { _ = try QueueMessage.decode(cut) }?.kind == .malformed,
                    "seed \(seed)"
                )
            }
        }
    }

    @Test func noiseIsRefused() {
        withSeeds { seed, generator in
            for _ in 0..<5_000 {
                let bytes = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                #expect(throws: Refusal.self, "seed \(seed)") { try QueueMessage.decode(bytes) }
            }
        }
    }
}
