/// Habits of callers that defeat the key: what is wrong with how a notice was given, although nothing is wrong with it.
///
/// Hints, and never a refusal: a key is opaque, and any of this may be meant. No clock.
package enum CallerLint {
    /// A habit. The raw value is the word in the database, in headers and in metrics.
    package enum Rule: String, Sendable, Hashable, CaseIterable {
        /// The key holds the moment of the call: a retry makes another key, and another notice.
        case keyHoldsTime = "key_holds_time"
        /// The key ends in a random id that names nothing: the same.
        case keyIsRandom = "key_is_random"
        /// The same text went to the same person on the same line under another key within a day.
        case sameText = "same_text"

        /// One sentence for whoever wrote the caller.
        package var sentence: String {
            switch self {
            case .keyHoldsTime: "the key holds the time of the call, so a retry would be another notice"
            case .keyIsRandom: "the key ends in a random id, so a retry with another one would be another notice"
            case .sameText: "the same text went to the same person on this line under another key within a day"
            }
        }
    }

    /// How far a moment in a key may be from now and be the moment of the call.
    package static let closeness: Duration = .seconds(3_600)
    /// Local time without a zone may be that far from UTC.
    private static let farthestZone: Duration = .seconds(14 * 3_600)

    /// What the key alone tells, in the order of the rules.
    ///
    /// - Parameter now: the moment of the call.
    package static func findings(_ key: IdempotencyKey, now: Timestamp) -> [Rule] {
        let bytes = Array(key.value.utf8)
        // The digest of a key outside the grammar; whatever was in it is not to be seen any more.
        if bytes.starts(with: Array("h:".utf8)) { return [] }
        var findings: [Rule] = []
        if !namesMoments(key.value), holds(bytes, now) { findings.append(.keyHoldsTime) }
        if endsInRandom(bytes) { findings.append(.keyIsRandom) }
        return findings
    }

    // MARK: Time

    /// Documented patterns with the moment of the fact in them: an appointment's start, when an invoice was sent.
    private static func namesMoments(_ key: String) -> Bool {
        key.hasPrefix("appointment:") || key.contains(":invoice:")
    }

    /// A run of digits that counts seconds, milliseconds or microseconds, or a date with a time, close to now.
    private static func holds(_ bytes: [UInt8], _ now: Timestamp) -> Bool {
        var at = 0
        while at < bytes.count {
            guard isDigit(bytes[at]) else {
                at += 1
                continue
            }
            if let (moment, hasZone) = date(bytes, at), isNear(moment, now, hasZone ? closeness : farthestZone) {
                return true
            }
            var end = at
            var value: Int64 = 0
            while end < bytes.count, isDigit(bytes[end]) {
                if end - at < 16 { value = value * 10 + Int64(bytes[end] - 0x30) }
                end += 1
            }
            let unit: Int64? =
                switch end - at {
                case 10: 1_000_000
                case 13: 1_000
                case 16: 1
                default: nil
                }
            if let unit, isNear(Timestamp(microseconds: value * unit), now, closeness) { return true }
            at = end
        }
        return false
    }

    private static func isNear(_ moment: Timestamp, _ now: Timestamp, _ span: Duration) -> Bool {
        moment >= now - span && moment <= now + span
    }

    /// `2026-12-01T09:00`, `20261201T090000Z`, `2026-12-01_09-00-00`, `20261201090000`: a date with hour and minute.
    private static func date(_ bytes: [UInt8], _ start: Int) -> (Timestamp, hasZone: Bool)? {
        var at = start
        func number(_ digits: Int) -> Int? {
            guard at + digits <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[at..<at + digits] {
                guard isDigit(byte) else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            at += digits
            return value
        }
        func pass(_ separators: String) {
            if at < bytes.count, separators.utf8.contains(bytes[at]) { at += 1 }
        }
        guard let year = number(4), (2_000...2_100).contains(year) else { return nil }
        pass("-.")
        guard let month = number(2), (1...12).contains(month) else { return nil }
        pass("-.")
        guard let day = number(2), (1...31).contains(day) else { return nil }
        pass("Tt-_.:")
        guard let hour = number(2), hour < 24 else { return nil }
        pass(":-.")
        guard let minute = number(2), minute < 60 else { return nil }
        pass(":-.")
        let second = number(2) ?? 0
        let hasZone = at < bytes.count && bytes[at] | 0x20 == 0x7A
        let moment = Timestamp(year: year, month: month, day: day, secondOfDay: hour * 3_600 + minute * 60 + second)
        return (moment, hasZone)
    }

    // MARK: Random

    /// Parts of documented patterns after which an id of the sender's follows.
    private static let beforeIDs: Set<String> = [
        "shipped", "tracking", "refunded", "delivered", "out_for_delivery", "delivery-changed",
    ]

    /// A UUID, or 16 and more hexadecimal digits with letters among them, where no id of a record stands: alone, or behind
    /// kind and record.
    private static func endsInRandom(_ bytes: [UInt8]) -> Bool {
        let parts = bytes.split(separator: 0x3A, omittingEmptySubsequences: false)
        guard let last = parts.last, parts.count == 1 || parts.count > 2 else { return false }
        if parts.count > 2, beforeIDs.contains(String(decoding: parts[parts.count - 2], as: UTF8.self)) { return false }
        var run: [UInt8] = []
        for byte in last + [0x2E] {
            if isHex(byte) || byte == 0x2D {
                run.append(byte)
            } else {
                if isRandom(run) { return true }
                run = []
            }
        }
        return false
    }

    private static func isRandom(_ run: [UInt8]) -> Bool {
        let groups = run.split(separator: 0x2D, omittingEmptySubsequences: false)
        for start in groups.indices where start + 5 <= groups.count {
            if groups[start..<start + 5].map(\.count) == [8, 4, 4, 4, 12] { return true }
        }
        return groups.contains { group in
            group.count >= 16 && group.contains(where: isDigit) && !group.allSatisfy(isDigit)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isHex(_ byte: UInt8) -> Bool { isDigit(byte) || (0x61...0x66).contains(byte | 0x20) }
}

/// The texts of a day, as far as memory reaches: whether one went to the same person on the same line under another key.
///
/// Bounded: when it is full it forgets the older half, so it may miss a repetition and never invents one.
package struct RecentTexts: Sendable {
    /// How long the same text counts as the same.
    package static let span: Duration = .seconds(24 * 3_600)

    private struct Text: Hashable {
        let lane: LaneName
        let high: UInt64
        let low: UInt64
    }

    private struct Seen {
        let key: IdempotencyKey
        let at: Timestamp
    }

    private let half: Int
    private var young: [Text: Seen] = [:]
    private var old: [Text: Seen] = [:]

    /// - Parameter capacity: how many texts it knows at most; at least 2. Each takes about 200 bytes.
    package init(capacity: Int = 65_536) { half = max(1, capacity / 2) }

    package var count: Int { young.count + old.count }

    /// Remembers a notice that was accepted as a new one, and says whether its text was seen under another key.
    ///
    /// - Parameter content: its content digest: recipient, text and button.
    package mutating func see(
        _ content: [UInt8],
        on lane: LaneName,
        key: IdempotencyKey,
        now: Timestamp
    ) -> Bool {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        let text = Text(lane: lane, high: number(content.prefix(8)), low: number(content.dropFirst(8).prefix(8)))
        let before = young[text] ?? old[text]
        if young.count >= half, young[text] == nil {
            old = young
            young = [:]
        }
        young[text] = Seen(key: key, at: now)
        guard let before else { return false }
        return before.key != key && now - before.at < Self.span
    }
}
