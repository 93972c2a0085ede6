internal import Foundation

/// What the checker found, in numbers and with the ids.
package struct ChaosReport: Codable, Sendable {
    /// What must not be: every one of these must be 0. `docs/reliability.md` says what each means.
    package enum Count: String, Codable, Sendable, CaseIterable {
        case lost
        case sentTwice = "sent twice, avoidable"
        case calledAgain = "called again after an answer"
        case hungUp = "called again after hanging up without a cause"
        case staleOwner = "two calls of one key at once"
        case outOfOrder = "out of order for a person or ordering key"
        case olderFact = "an older fact after a newer one"
        case sentAfterCancel = "sent after cancel said cancelled"
        case sentWhileHeld = "sent while held"
        case sentEarly = "sent before its time"
        case paceExceeded = "pace exceeded"
        case misdirected = "sent elsewhere, or with other bytes"
        case unexpected = "sent without having been given"
        case disagrees = "Trunkline says otherwise than the journal"
        case misbehaviour = "processes that did not behave"
    }

    /// What is counted for the record: how much the rules had to look at, and what nobody could have avoided.
    package enum Figure: String, Codable, Sendable, CaseIterable {
        case keys = "keys given"
        case promised = "keys promised"
        case doubtful = "keys never promised, of these sent"
        case foreign = "keys promised to the foreign client"
        case posted = "keys promised by a gateway"
        case repeats = "keys given more than once"
        case messages
        case deliveries
        case calls
        case cancelled
        case superseded
        case parked
        case ambiguous = "calls repeated in true ambiguity"
        case ambiguousTwice = "sent twice in true ambiguity"
        case lostWithWorker = "of these: the answer was lost with its worker"
        case lostOnWire = "of these: the answer was lost on the wire"
        case hangUps = "hang-ups judged before a repeat"
        case ordered = "pairs compared for order"
        case orderedDeliveries = "of these: of one destination's ordering key"
        case facts = "pairs of facts compared"
        case holds = "intervals without sends checked"
        case destinationHolds = "of these: of held destinations"
        case paced = "pairs of paced sends compared"
        case scheduled = "scheduled sends checked"
    }

    package struct Finding: Codable, Sendable, Hashable {
        package let count: Count
        package let key: String
        package let detail: String
    }

    /// See ``demands``.
    package struct Demand: Codable, Sendable, Hashable {
        package let what: String
        package let wanted: Int
        package let had: Int
    }

    /// Findings beyond this are counted and not listed.
    static let listed = 200

    package private(set) var counts: [String: Int] = [:]
    package private(set) var findings: [Finding] = []
    package private(set) var figures: [String: Int] = [:]
    /// What the run had to see, or it proves too little.
    package private(set) var demands: [Demand] = []
    /// How often each fault has hit.
    package var faults: [String: Int] = [:]
    /// Calls in the air, connections and messages that it has hit.
    package var hits: [String: Int] = [:]
    package var seed: UInt64 = 0
    /// What was judged: the commit of the checkout, whether anything in it was changed, and the servers' versions.
    package var subject = Subject()
    package var seconds = 0.0

    /// See ``subject``.
    package struct Subject: Codable, Sendable, Hashable {
        package var commit: String?
        /// Nothing in the checkout differs from the commit.
        package var isClean: Bool?
        /// By the name of the server or program.
        package var versions: [String: String] = [:]
        package init() {}

        package var words: String {
            let checkout =
                commit.map { "commit \($0)\(isClean == true ? "" : ", with changes on top")" } ?? "no commit is known"
            return ([checkout] + versions.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }).joined(
                separator: "; "
            )
        }
    }

    package init() {
        for count in Count.allCases { counts[count.rawValue] = 0 }
    }

    package subscript(_ count: Count) -> Int { counts[count.rawValue] ?? 0 }
    package subscript(_ figure: Figure) -> Int { figures[figure.rawValue] ?? 0 }

    package var isClean: Bool { counts.values.allSatisfy { $0 == 0 } }

    package mutating func found(_ count: Count, _ key: String, _ detail: String) {
        counts[count.rawValue, default: 0] += 1
        if counts[count.rawValue, default: 0] <= Self.listed {
            findings.append(Finding(count: count, key: key, detail: detail))
        }
    }

    /// Something must have happened so often: too seldom is a finding.
    mutating func demand(_ what: String, _ wanted: Int, had: Int) {
        demands.append(Demand(what: what, wanted: wanted, had: had))
        guard had < wanted else { return }
        found(.misbehaviour, "-", "only \(had) \(what); \(wanted) are needed to prove anything")
    }

    mutating func add(_ figure: Figure, _ number: Int = 1) { figures[figure.rawValue, default: 0] += number }

    /// The table at the end of a run.
    package var table: String {
        var text = "\nfault                              times   hit\n"
        for (name, times) in faults.sorted(by: { $0.key < $1.key }) {
            text += Self.row(name, times, hits[name] ?? 0) + "\n"
        }
        if !demands.isEmpty {
            text += "\nneeded to prove anything           at least   had\n"
            for demand in demands { text += Self.row(demand.what, demand.wanted, demand.had) + "\n" }
        }
        text += "\nfor the record\n"
        for figure in Figure.allCases { text += Self.row(figure.rawValue, self[figure]) + "\n" }
        text += "\nmust be 0\n"
        for count in Count.allCases { text += Self.row(count.rawValue, self[count]) + "\n" }
        if !isClean {
            text += "\n"
            for count in Count.allCases where self[count] > 0 {
                for finding in findings.filter({ $0.count == count }).prefix(10) {
                    text += "\(count.rawValue): \(finding.key): \(finding.detail)\n"
                }
                if self[count] > 10 { text += "\(count.rawValue): and \(self[count] - 10) more\n" }
            }
        }
        return text
    }

    private static func row(_ name: String, _ numbers: Int...) -> String {
        let head = name + String(repeating: " ", count: max(1, 48 - name.count - (numbers.count > 1 ? 16 : 0)))
        return head
            + numbers.map { number in
                let digits = String(number)
                return String(repeating: " ", count: max(1, 8 - digits.count)) + digits
            }.joined()
    }
}
