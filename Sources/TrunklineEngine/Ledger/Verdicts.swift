package import TrunklineCore

/// A word of the ledger: one of a closed list, or one of a later schema. Such a word is said aloud, and what it stands for is
/// left alone: neither acknowledged nor refused (design D13).
package protocol LedgerWord: Sendable, Hashable {
    /// The words that this program knows.
    static var known: [(word: String, value: Self)] { get }
    static func unheard(_ word: String) -> Self
}

extension LedgerWord {
    package init(word: String) {
        for entry in Self.known where entry.word == word {
            self = entry.value
            return
        }
        self = .unheard(word)
    }

    /// As it is stored, and said in logs; of an unheard one its description.
    package var word: String { Self.known.first { $0.value == self }?.word ?? "\(self)" }
}

/// Where an unfinished job stands.
package enum JobState: LedgerWord {
    /// No owner has seen it.
    case accepted
    case waiting
    /// An attempt runs.
    case sending
    /// It may have been sent.
    case unknown
    /// A person must look.
    case parked
    case unheard(String)

    package static let known: [(word: String, value: JobState)] = [
        ("accepted", .accepted), ("waiting", .waiting), ("sending", .sending), ("unknown", .unknown),
        ("parked", .parked),
    ]
}

/// What a former owner wrote of a lane's gate.
package enum GateWord: LedgerWord {
    case heard(Gate.Word)
    case unheard(String)

    package static let known: [(word: String, value: GateWord)] = Gate.Word.allCases.map { ($0.rawValue, .heard($0)) }

    /// Nil for a word of a later schema.
    package var heard: Gate.Word? {
        if case .heard(let word) = self { word } else { nil }
    }
}

/// What a take made of a job that was given to it.
package enum TakeVerdict: Sendable, Hashable {
    case new(TakenJob)
    /// The same key with the same content: that job, in that lane. `finalState`: how it ended, if it did.
    case `repeat`(job: Int64, lane: LaneName?, finalState: String?)
    /// The same key with other content, of that job in that lane.
    case conflict(job: Int64, lane: LaneName?)
    case unknownLane
    case removedLane
    /// The caller's fence has fallen: nothing was written.
    case lost
    case unheard(String)

    /// Whether its first attempt began in the same commit.
    var hasBegun: Bool {
        if case .new(let job) = self { job.state == .sending } else { false }
    }
}

/// What a claim made of a job.
package enum ClaimVerdict: Sendable, Hashable {
    /// The attempt has begun.
    case claimed(ClaimedJob)
    /// The caller's fence has fallen.
    case lost
    /// It is no unfinished job.
    case gone
    /// It is in a state in which nothing can begin.
    case busy
    /// The operator's hold.
    case held
    /// Something of its person comes first, perhaps a row that no owner has seen.
    case overtaken
    case early
    /// `sendBefore` has passed: it ended, or was parked.
    case expired
    /// A newer fact was accepted: it ended, or was parked.
    case superseded
    /// It may have been sent too long ago: parked.
    case horizon
    /// The lane has had what it may today; until its next midnight.
    case capped(wait: Duration)
    case unheard(String)
}

/// What became of an outcome that was to be recorded.
package enum SettleVerdict: LedgerWord {
    case sent
    /// It counts, although a later attempt runs or the job was put aside.
    case lateSent
    /// The job had ended: what the outcome says is kept.
    case evidence
    case waiting
    /// It may have been sent: it will be asked about again.
    case unknown
    case parked
    /// A cancel came during the attempt.
    case cancelled
    /// The attempt is not the current one: recorded as evidence.
    case stale
    case `repeat`
    case unheard(String)

    package static let known: [(word: String, value: SettleVerdict)] = [
        ("sent", .sent), ("late_sent", .lateSent), ("evidence", .evidence), ("waiting", .waiting),
        ("unknown", .unknown), ("parked", .parked), ("cancelled", .cancelled), ("stale", .stale), ("repeat", .repeat),
    ]

    /// Whether this program knows what became of it.
    package var isHeard: Bool {
        if case .unheard = self { false } else { true }
    }
}

/// What became of a received event.
package enum EventVerdict: LedgerWord {
    case new
    /// The same bytes came before.
    case `repeat`
    /// Other bytes came before under the same name.
    case conflict
    /// Of its source.
    case unknownLane
    case removedLane
    case unheard(String)

    package static let known: [(word: String, value: EventVerdict)] = [
        ("new", .new), ("repeat", .repeat), ("conflict", .conflict), ("unknown_lane", .unknownLane),
        ("removed_lane", .removedLane),
    ]
}

/// How an attempt ended, as it is recorded. A closed list: workers say it, nobody reads it back.
package enum SettleOutcome: String, Sendable, Hashable, CaseIterable {
    case sent
    case retry
    /// The try does not count.
    case givenBack = "given_back"
    case unknown
    case park
}
