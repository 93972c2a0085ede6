internal import Synchronization

/// What the producers share: numbers of tries, what each key was promised, and when who may publish.
final class Book: Sendable {
    struct Counts: Sendable {
        var tries = 0
        var promised = 0
        var again = 0
        var unknown = 0
        var notTaken = 0
        var refused = 0
        var cancelled = 0
    }

    private struct State {
        var counts = Counts()
        var lastNumber = 0
        var isPromised: [Bool]
        var isPaused = false
        var onTheWire = 0
    }

    private let state: Mutex<State>
    let jobs: Int

    init(jobs: Int) {
        self.jobs = jobs
        state = Mutex(State(isPromised: Array(repeating: false, count: jobs)))
    }

    var counts: Counts { state.withLock { $0.counts } }

    /// Numbers for `count` tries.
    func numbers(_ count: Int) -> ClosedRange<Int> {
        state.withLock { state in
            state.lastNumber += count
            state.counts.tries += count
            return state.lastNumber - count + 1...state.lastNumber
        }
    }

    /// Returns whether it is the first promise of this job.
    func heard(_ answer: ProducerRecord.Answer, of job: Int) -> Bool {
        state.withLock { state in
            switch answer {
            case .unknown: state.counts.unknown += 1
            case .notTaken: state.counts.notTaken += 1
            case .refused: state.counts.refused += 1
            case .promised, .again:
                guard !state.isPromised[job] else {
                    state.counts.again += 1
                    return false
                }
                state.isPromised[job] = true
                state.counts.promised += 1
                return true
            }
            return false
        }
    }

    func cancelled(_ count: Int) { state.withLock { $0.counts.cancelled += count } }

    var isDone: Bool { state.withLock { $0.counts.promised + $0.counts.refused >= jobs } }

    // MARK: A pause of everybody who publishes

    /// False while a pause lasts; else the batch counts as on the wire until ``landed()``.
    func mayPublish() -> Bool {
        state.withLock { state in
            guard !state.isPaused else { return false }
            state.onTheWire += 1
            return true
        }
    }

    func landed() { state.withLock { $0.onTheWire -= 1 } }

    var onTheWire: Int { state.withLock { $0.onTheWire } }

    func setPaused(_ paused: Bool) { state.withLock { $0.isPaused = paused } }
}
