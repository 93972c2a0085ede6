internal import CurlDriver
internal import Logging
internal import TrunklineCore

/// What this worker knows of each origin that its lanes call: whether its breaker is open, how many calls may be repeated, and
/// whether calls are answered at all.
final class Origins {
    private let here: Surroundings
    /// Origins to which nothing may be sent.
    private var broken: Set<String> = []
    private var budgets: [String: RetryBudget] = [:]
    private var reaches: [String: Reach] = [:]
    /// How the last question to find out whether an origin answers has ended: what the breaker counts.
    private var questions: [String: (end: Instant, isFailure: Bool)] = [:]

    init(_ here: Surroundings) { self.here = here }

    // MARK: Breakers

    func isBroken(_ origin: String) -> Bool { broken.contains(origin) }

    /// Whether nothing may be sent to where the lane calls.
    func isBroken(_ settings: LaneSettings) -> Bool {
        guard !broken.isEmpty, let origin = settings.origin else { return false }
        return broken.contains(origin)
    }

    /// These breakers are open, and no others.
    ///
    /// - Returns: which of them were not, and which were and are not any more.
    func broke(_ origins: Set<String>) -> (opened: Set<String>, closed: Set<String>) {
        defer { broken = origins }
        let closed = broken.subtracting(origins)
        // Everybody was silent: what was learned says nothing about this worker.
        for origin in closed {
            reaches[origin] = nil
            if questions[origin]?.isFailure == true { questions[origin] = nil }
        }
        return (origins.subtracting(broken), closed)
    }

    // MARK: Budgets

    /// A call was answered, whatever the answer says.
    func answered(_ origin: String, wasRepeated: Bool) {
        budgets[origin, default: RetryBudget()].answered(wasRepeated: wasRepeated)
    }

    /// How long a job that would repeat a call must wait for the budget of its lane's origin; nil: not at all, and it is
    /// spent.
    func wait(for job: QueuedJob, _ settings: LaneSettings, _ now: Instant) -> Duration? {
        guard job.isRepeat, let origin = settings.origin else { return nil }
        guard let wait = budgets[origin, default: RetryBudget()].spend(at: now) else { return nil }
        // Many wait for the same token: they must not all come back for it at once.
        return wait * Double.random(in: 1...4, using: &here.chance)
    }

    // MARK: Reach

    /// `isQuestion`: the call is made to find out whether it is answered.
    func callBegan(_ origin: String, isQuestion: Bool, at now: Instant) {
        if isQuestion { reaches[origin, default: Reach()].asked(at: now) }
        reaches[origin, default: Reach()].began(at: now)
    }

    /// - Returns: whether the others should know of it before the next heartbeat.
    func callEnded(_ origin: String, _ result: Result<HTTPResponse, HTTPFailure>, isQuestion: Bool, at now: Instant)
        -> Bool
    {
        let before = reaches[origin]?.word(at: now)
        switch result {
        case .success: reaches[origin]?.answered(at: now)
        case .failure(let failure):
            switch failure.cause {
            case .held, .cancelled, .refused: reaches[origin]?.withdrawn()
            // The head of an answer was read.
            case _ where failure.status != nil: reaches[origin]?.answered(at: now)
            default: reaches[origin]?.failed(at: now, isQuestion: isQuestion)
            }
        }
        let after = reaches[origin]?.word(at: now)
        guard before != after, before == .silent || after == .silent || isQuestion else { return false }
        if after == .silent {
            here.log.warning(
                "the API answers nothing; if it answers others, they get the shards",
                metadata: ["origin": "\(origin)"]
            )
        }
        return true
    }

    /// Whether calls are made, or were, of which none is answered yet.
    func isUnanswered(_ origin: String) -> Bool { reaches[origin]?.isUnanswered ?? false }

    /// A question to find out whether an origin answers has ended. `isFailure`: without a usable answer.
    func questionEnded(_ origin: String, isFailure: Bool, at now: Instant) { questions[origin] = (now, isFailure) }

    /// No lane calls it any more: nobody could ever end a silence about it.
    func forget(_ origin: String) {
        reaches[origin] = nil
        questions[origin] = nil
    }

    /// Where no lane of this worker called lately, its questions count as one that did. Without them a worker whose own wire is
    /// dead, and that alone has work, would be all that the breaker knows of the origin.
    func countQuestions(into counts: inout [String: CallCounts], at now: Instant) {
        for (origin, question) in questions where counts[origin] == nil && now - question.end <= CallRecord.window {
            counts[origin] = CallCounts(active: 1, failing: question.isFailure ? 1 : 0)
        }
    }

    /// What this worker tells the others.
    func words(at now: Instant) -> [String: Reach.Word] {
        here.isOff(.reach) ? [:] : reaches.compactMapValues { $0.word(at: now) }
    }

    /// Origins of which it is to be asked whether they answer.
    func inDoubt(at now: Instant) -> [String] { reaches.filter { $0.value.wantsQuestion(at: now) }.keys.sorted() }

    /// Whether to ask for the sake of another worker, to which the origin is silent.
    func canTestify(of origin: String, at now: Instant) -> Bool {
        reaches[origin, default: Reach()].canTestify(at: now)
    }
}
