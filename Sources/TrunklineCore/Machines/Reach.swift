/// Whether the calls of one worker to one origin are answered at all. No I/O, no clock.
///
/// ```
/// answered ── calls, and none is answered for 4 s ──> in doubt: the worker asks a question of its own
///    ^                                                   │ not answered either
///    └── answers for 5 s, without a failure ── silent <──┘
/// ```
/// Any answer counts, also one that refuses: this is about the wire, not about a line. One worker's silence alone says
/// nothing; see ``cutOff(_:)``.
package struct Reach: Sendable, Hashable {
    /// What a worker tells the others; nil: it does not know.
    package enum Word: String, Sendable, Hashable {
        case answers, silent
    }

    /// Without an answer for that long there is doubt.
    private static let doubt: Duration = .seconds(4)
    /// An answer is news for that long. With the heartbeat it is shorter than doubt and question together: whoever says that
    /// it is answered, while another one is silent, was answered after that silence began.
    private static let presence: Duration = .seconds(5)
    /// Who was silent must be answered for that long.
    private static let proof: Duration = .seconds(5)
    private static let betweenQuestions: Duration = .seconds(2)

    private var inAir = 0
    /// Since when calls are made and none is answered.
    private var waitingSince: ContinuousClock.Instant?
    private var lastAnswer: ContinuousClock.Instant?
    private var lastQuestion: ContinuousClock.Instant?
    private var isSilent = false
    private var provenSince: ContinuousClock.Instant?

    package init() {}

    /// A call begins.
    package mutating func began(at now: ContinuousClock.Instant) {
        inAir += 1
        waitingSince = waitingSince ?? now
    }

    /// A call was answered, whatever the answer says.
    package mutating func answered(at now: ContinuousClock.Instant) {
        inAir = max(0, inAir - 1)
        lastAnswer = now
        waitingSince = inAir > 0 ? now : nil
        guard isSilent else { return }
        let since = provenSince ?? now
        provenSince = since
        if now - since >= Self.proof {
            isSilent = false
            provenSince = nil
        }
    }

    /// A call got no answer. `isQuestion`: it was asked because of the doubt.
    package mutating func failed(at now: ContinuousClock.Instant, isQuestion: Bool) {
        inAir = max(0, inAir - 1)
        provenSince = nil
        if isQuestion, let waitingSince, now - waitingSince >= Self.doubt { isSilent = true }
        waitingSince = waitingSince ?? now
    }

    /// A call was called off by this worker itself.
    package mutating func withdrawn() { inAir = max(0, inAir - 1) }

    /// Whether calls are made, or were, of which none is answered yet.
    package var isUnanswered: Bool { waitingSince != nil }

    /// Whether to ask a question now: there is doubt, or a silence that may be over.
    package func wantsQuestion(at now: ContinuousClock.Instant) -> Bool {
        guard mayAsk(at: now) else { return false }
        return isSilent || waitingSince.map { now - $0 >= Self.doubt } ?? false
    }

    /// Whether to ask for the sake of another worker, which is silent: its own word is missing, or grows old.
    package func canTestify(at now: ContinuousClock.Instant) -> Bool {
        mayAsk(at: now) && (lastAnswer.map { now - $0 >= Self.betweenQuestions } ?? true)
    }

    private func mayAsk(at now: ContinuousClock.Instant) -> Bool {
        lastQuestion.map { now - $0 >= Self.betweenQuestions } ?? true
    }

    /// The question begins. It is a call like any other.
    package mutating func asked(at now: ContinuousClock.Instant) { lastQuestion = now }

    /// What to tell the others.
    package func word(at now: ContinuousClock.Instant) -> Word? {
        if isSilent { return .silent }
        guard let lastAnswer, now - lastAnswer <= Self.presence else { return nil }
        if let waitingSince, now - waitingSince >= Self.doubt { return nil }
        return .answers
    }

    /// Workers that cannot reach the API although others can: silent towards every origin that they know anything of, while
    /// another worker is answered by one of these. `before`: those that were so at the last look; they stay it for as long as
    /// nobody is silent but they, so that a witness that pauses moves no shards.
    package static func cutOff<ID: Hashable>(_ words: [ID: [String: Word]], before: Set<ID> = []) -> Set<ID> {
        var answering: Set<String> = []
        for origins in words.values {
            for (origin, word) in origins where word == .answers { answering.insert(origin) }
        }
        // Whoever is silent everywhere is none of those that are answered.
        let silent = words.filter { _, origins in !origins.isEmpty && origins.values.allSatisfy { $0 == .silent } }
        let proven = silent.filter { _, origins in origins.keys.contains(where: answering.contains) }
        let stays = Set(silent.keys).isSubset(of: before) ? silent : [:]
        return Set(proven.keys).union(stays.keys)
    }
}
