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

    /// Of every form. What another reader is to read may have no exponent, which damage would make too large for it.
    static let numbers = ["0", "-0", "1.10", "1e400", "-12.5E-3", "12345678901234567890"]
    static let plainNumbers = ["0", "-0", "1.10", "7"]

    static func randomValue(_ depth: Int, _ numbers: [String], using generator: inout SeededGenerator) -> JSONValue {
        switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &generator) {
        case 0: .null
        case 1: .bool(Bool.random(using: &generator))
        case 2: .number(numbers.randomElement(using: &generator) ?? "0")
        case 3, 4: .string(randomText(0...10, using: &generator))
        case 5:
            .array(
                (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                    randomValue(depth - 1, numbers, using: &generator)
                }
            )
        default: randomObject(depth - 1, numbers, using: &generator)
        }
    }

    static func randomObject(_ depth: Int, _ numbers: [String], using generator: inout SeededGenerator) -> JSONValue {
        var members: [JSONValue.Member] = []
        for number in 0..<Int.random(in: 0...4, using: &generator) {
            // Numbered: no two are the same name.
            let name = "\(number)" + randomText(0...6, using: &generator)
            members.append(.init(name, randomValue(depth, numbers, using: &generator)))
        }
        return .object(members.shuffled(using: &generator))
    }

    static func randomDelivery(_ numbers: [String] = numbers, using generator: inout SeededGenerator) throws
        -> DeliverJob
    {
        let send = try randomJob(using: &generator)
        return try DeliverJob(
            destination: DestinationID(send.line.value),
            key: send.key,
            type: String(send.line.value.prefix(64)),
            happenedAt: Timestamp(
                microseconds: .random(in: 946_684_800_000_000...4_000_000_000_000_000, using: &generator)
            ),
            data: randomObject(4, numbers, using: &generator),
            notBefore: send.notBefore,
            sendBefore: send.sendBefore,
            supersedeKey: send.supersedeKey,
            factAt: send.factAt,
            orderingKey: send.orderingKey,
            tags: send.tags
        )
    }

    @Test func deliveriesRoundTrip() throws {
        try withSeeds { seed, generator in
            for _ in 0..<2_000 {
                let job = try Self.randomDelivery(using: &generator)
                let bytes = job.encode()
                guard case .deliver(let back) = try QueueMessage.decode(bytes) else {
                    Issue.record("not a delivery, seed \(seed)")
                    return
                }
                // Members of data are by name then, whatever order they came in; the bytes are what counts.
                #expect(back.encode() == bytes, "seed \(seed)")
                #expect(back.contentDigest == job.contentDigest, "seed \(seed)")
                #expect(back.tags == job.tags && back.orderingName == job.orderingName, "seed \(seed)")
            }
        }
    }

    /// Broken bytes never crash; and what is still accepted says what another JSON reader sees in those bytes.
    @Test func damagedDeliveriesAreNeverReadAsSomethingElse() throws {
        try withSeeds { seed, generator in
            var accepted = 0
            for _ in 0..<4_000 {
                let bytes = Self.damaged(
                    try Self.randomDelivery(Self.plainNumbers, using: &generator).encode(),
                    using: &generator
                )
                guard case .deliver(let job) = try? QueueMessage.decode(bytes) else { continue }
                accepted += 1
                let seen = try #require(
                    JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any],
                    "seed \(seed): \(bytes)"
                )
                func text(_ name: String) -> [UInt8]? { (seen[name] as? String).map { Array($0.utf8) } }
                #expect(Array(job.destination.value.utf8) == text("destination"), "seed \(seed)")
                #expect(Array(job.key.value.utf8) == text("key"), "seed \(seed)")
                #expect(Array(job.type.utf8) == text("type"), "seed \(seed)")
                let data = try #require(seen["data"] as? [String: Any], "seed \(seed)")
                guard case .object(let members) = job.data else {
                    Issue.record("data is no object, seed \(seed)")
                    return
                }
                #expect(Set(members.map(\.name)) == Set(data.keys), "seed \(seed)")
            }
            #expect(accepted > 100, "seed \(seed)")
        }
    }

    private static func damaged(_ bytes: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let at = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: bytes[at] = UInt8.random(in: 0...255, using: &generator)
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: at)
            default: bytes.remove(at: at)
            }
        }
        return bytes
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
                let bytes = Self.damaged(try Self.randomJob(using: &generator).encode(), using: &generator)
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
                let isSend = Bool.random(using: &generator)
                let bytes =
                    isSend
                    ? try Self.randomJob(using: &generator).encode()
                    : try Self.randomDelivery(using: &generator).encode()
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
