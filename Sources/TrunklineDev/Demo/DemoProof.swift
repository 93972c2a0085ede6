internal import Foundation

/// What the demo must show, figure by figure.
package struct DemoProof: Sendable {
    package struct Row: Sendable, Equatable {
        package let what: String
        package let expected: Int
        package let found: Int
        package var holds: Bool { expected == found }
    }

    /// What a file of orders holds.
    package struct Orders: Sendable {
        package let notices: Int
        package let refused: Int
        package let repeats: Int

        package init(notices: Int, refused: Int, repeats: Int) {
            self.notices = notices
            self.refused = refused
            self.repeats = repeats
        }

        /// demo/orders.csv.
        package static let demo = Orders(notices: 5_000, refused: 50, repeats: 100)
    }

    /// What two shops have told of their orders, each event twice, of which every one makes a notice.
    package struct Shops: Sendable {
        let webhooks: Int
        let posted: Int
        let keys: Set<String>

        /// - Parameters:
        ///   - webhooks: different ones.
        ///   - posted: posts that were answered well.
        ///   - keys: of the notices, by the shops' own word.
        package init(webhooks: Int, posted: Int, keys: Set<String>) {
            self.webhooks = webhooks
            self.posted = posted
            self.keys = keys
        }
    }

    /// What `trunkline enqueue` has counted.
    package struct Enqueued: Sendable, Decodable {
        package let new: Int
        package let `repeat`: Int
        package let refused: Int

        package init(new: Int, repeat: Int, refused: Int) {
            self.new = new
            self.repeat = `repeat`
            self.refused = refused
        }

        private struct Line: Decodable { let summary: Enqueued }

        /// - Parameter output: what `trunkline enqueue --json` has printed: a line per row, and the sums.
        package init(output: String) throws {
            let last = output.split(separator: "\n").last ?? ""
            self = try JSONDecoder().decode(Line.self, from: Data(last.utf8)).summary
        }
    }

    package let rows: [Row]
    private let journal: DemoJournal

    /// - Parameters:
    ///   - keys: that orders.csv names, but for the rows that were refused, by a reader that is not ours.
    ///   - events: how many were enqueued, for all destinations together.
    ///   - sentByCheck: how many notices, events and webhooks `trunkline check` counts as done.
    package init(
        orders: Orders,
        shops: Shops,
        journal: DemoJournal,
        keys: Set<String>,
        enqueued: Enqueued,
        events: Int,
        sentByCheck: Int,
        findings: Int
    ) {
        self.journal = journal
        let sent = Set(journal.sent)
        let notices = orders.notices + shops.webhooks
        let given = keys.union(shops.keys)
        var counts: [String: Int] = [:]
        for key in journal.sent { counts[key, default: 0] += 1 }
        func sum(_ figure: (DemoJournal.Receiver) -> Int) -> Int {
            journal.receivers.values.reduce(0) { $0 + figure($1) }
        }
        rows = [
            Row(what: "rows refused", expected: orders.refused, found: enqueued.refused),
            Row(what: "repeated rows", expected: orders.repeats, found: enqueued.repeat),
            Row(what: "notices of orders.csv", expected: orders.notices, found: enqueued.new),
            Row(what: "webhooks posted, each twice", expected: 2 * shops.webhooks, found: shops.posted),
            Row(what: "sent, says the simulator", expected: notices, found: journal.keysSent),
            Row(what: "events delivered, say the receivers", expected: events, found: sum(\.events)),
            Row(
                what: "with the webhooks run, says trunkline check",
                expected: notices + events + shops.webhooks,
                found: sentByCheck
            ),
            Row(what: "keys of orders.csv and the shops", expected: notices, found: given.count),
            Row(what: "of these lost", expected: 0, found: given.subtracting(sent).count),
            Row(what: "keys sent twice", expected: 0, found: counts.values.count { $0 > 1 }),
            Row(what: "keys sent that nobody gave", expected: 0, found: sent.subtracting(given).count),
            Row(what: "asked again after an answer", expected: 0, found: journal.askedAgain),
            Row(what: "events delivered again", expected: 0, found: sum(\.again)),
            Row(what: "events out of order", expected: 0, found: sum(\.outOfOrder)),
            Row(what: "findings of trunkline check", expected: 0, found: findings),
            Row(what: "killed in the air, finished by others", expected: journal.broken, found: journal.brokenFinished),
        ]
    }

    /// Without a call in the air when the worker was killed, a run proves less than it should.
    package var hasCallInTheAir: Bool { journal.broken > 0 }
    /// Without an event that was turned away, nothing is said of a destination that is down.
    package var wasSomebodyDown: Bool { journal.receivers.values.contains { $0.turnedAway > 0 } }
    /// How many figures are not as they must be.
    package var failures: Int {
        rows.count { !$0.holds } + (hasCallInTheAir ? 0 : 1) + (wasSomebodyDown ? 0 : 1)
    }

    package var table: String {
        var lines = ["", "\(Self.left("line", 9)) \(Self.right("sent", 7)) \(Self.right("per second", 10))"]
        for (name, line) in journal.lines.sorted(by: { $0.key < $1.key }) {
            let seconds = (line.last - line.first) / 1e6
            let rate = seconds > 0 ? Double(line.sent) / seconds : 0
            let words = String(format: "%.1f", rate)
            lines.append("\(Self.left(name, 9)) \(Self.right("\(line.sent)", 7)) \(Self.right(words, 10))")
        }
        lines += ["", "\(Self.left("destination", 12)) \(Self.right("events", 7)) \(Self.right("turned away", 12))"]
        for (name, receiver) in journal.receivers.sorted(by: { $0.key < $1.key }) {
            let (events, away) = (Self.right("\(receiver.events)", 7), Self.right("\(receiver.turnedAway)", 12))
            lines.append("\(Self.left(name, 12)) \(events) \(away)")
        }
        lines.append("")
        for row in rows {
            let verdict = row.holds ? "ok" : "must be \(row.expected)"
            lines.append("\(Self.left(row.what, 44)) \(Self.right("\(row.found)", 7))   \(verdict)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
