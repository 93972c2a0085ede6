internal import Foundation

/// The simulator's journal: the other side's word, what a customer would have received, whatever we believe.
package struct DemoJournal: Sendable {
    package struct Line: Sendable, Equatable {
        package var sent = 0
        /// Of the first and of the last message, in microseconds of the simulator's clock.
        package var first: Double
        package var last: Double
    }

    /// What came to one destination.
    package struct Receiver: Sendable, Equatable {
        /// Different events.
        package var events = 0
        /// Asked for again after a good answer.
        package var again = 0
        /// Before an earlier one of the same order, by the last part of their keys.
        package var outOfOrder = 0
        /// Answered with something that is not good.
        package var turnedAway = 0
        var answered: Set<String> = []
        var latest: [String: Int] = [:]
    }

    package private(set) var receivers: [String: Receiver] = [:]
    private var deliveries: [Int: (hook: String, key: String)] = [:]

    /// The key of every message, one that came twice twice.
    package private(set) var sent: [String] = []
    package private(set) var lines: [String: Line] = [:]
    private var keys: [String: Key] = [:]
    private var requests: [Int: String] = [:]

    private struct Key {
        var messages = 0
        var isAnswered = false
        var isAskedAgain = false
        var isBroken = false
    }

    private struct Record: Decodable {
        let kind: String
        let key: String?
        let line: String?
        let hook: String?
        let verdict: String?
        let seq: Int?
        let req: Int?
        let status: Int?
        let t: Double?
    }

    /// - Throws: `DecodingError` when a line is no record.
    package init(_ text: String) throws {
        for line in text.split(separator: "\n") {
            read(try JSONDecoder().decode(Record.self, from: Data(line.utf8)))
        }
    }

    private mutating func read(_ record: Record) {
        switch record.kind {
        case "request":
            guard let key = record.key, let number = record.seq else { return }
            requests[number] = key
            if keys[key]?.isAnswered == true { keys[key]?.isAskedAgain = true }
        case "effect":
            guard let key = record.key, let line = record.line, let time = record.t else { return }
            sent.append(key)
            keys[key, default: Key()].messages += 1
            lines[line, default: Line(first: time, last: time)].sent += 1
            lines[line]?.last = time
        case "delivery":
            guard let hook = record.hook, let key = record.key, let number = record.seq else { return }
            deliveries[number] = (hook, key)
            receivers[hook, default: Receiver()].note(key, isNew: record.verdict == "accepted")
        case "answer":
            if let (hook, key) = record.req.flatMap({ deliveries[$0] }) {
                receivers[hook]?.noteAnswer(key, isGood: record.status.map { (200..<300).contains($0) } ?? false)
                return
            }
            guard let key = record.req.flatMap({ requests[$0] }), let status = record.status else { return }
            if (200..<300).contains(status) { keys[key, default: Key()].isAnswered = true }
        case "noAnswer":
            guard let key = record.req.flatMap({ requests[$0] }) else { return }
            keys[key, default: Key()].isBroken = true
        default:
            return
        }
    }

    /// Keys of which there is a message.
    package var keysSent: Int { keys.values.count { $0.messages >= 1 } }
    /// Keys that were asked for again after a good answer.
    package var askedAgain: Int { keys.values.count(where: \.isAskedAgain) }
    /// Keys of calls whose answer found nobody.
    package var broken: Int { keys.values.count(where: \.isBroken) }
    /// Of these, those with one message, and a good answer to somebody.
    package var brokenFinished: Int { keys.values.count { $0.isBroken && $0.isAnswered && $0.messages == 1 } }
}

extension DemoJournal.Receiver {
    fileprivate mutating func note(_ key: String, isNew: Bool) {
        if answered.contains(key) { again += 1 }
        guard isNew else { return }
        events += 1
        guard let colon = key.lastIndex(of: ":"), let place = Int(key[colon...].dropFirst()) else { return }
        let order = String(key[..<colon])
        if let before = latest[order], before > place { outOfOrder += 1 }
        latest[order] = max(latest[order] ?? place, place)
    }

    fileprivate mutating func noteAnswer(_ key: String, isGood: Bool) {
        if isGood { answered.insert(key) } else { turnedAway += 1 }
    }
}
