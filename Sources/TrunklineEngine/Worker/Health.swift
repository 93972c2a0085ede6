internal import CurlDriver
internal import TrunklineCore

/// Questions for the health of lanes: for their gates, for a call whose answer does not decide, for a breaker's probe, and to
/// find out whether anything is answered at all.
final class Health {
    private let here: Surroundings
    private let directory: LaneDirectory
    private let origins: Origins
    private let board: LaneBoard
    private let caller: Caller

    init(
        _ here: Surroundings,
        _ directory: LaneDirectory,
        _ origins: Origins,
        _ board: LaneBoard,
        _ caller: Caller
    ) {
        self.here = here
        self.directory = directory
        self.origins = origins
        self.board = board
        self.caller = caller
    }

    // MARK: Gates

    /// Asks if the lane's gate wants it. Only called for lanes with work that could begin.
    func askIfWanted(_ lane: Lane, _ settings: LaneSettings, at asked: Instant) {
        guard lane.wantsQuestion(at: asked), caller.hasFreeSlot(for: settings) else { return }
        board.obey(lane.asked(at: asked), of: lane)
        ask(settings) { [weak self] verdict in
            guard let self, board.isCurrent(lane) else { return }
            guard directory.isCurrent(settings) else { return lane.unanswered(asked: asked) }
            answered(lane, settings, verdict, asked: asked)
        }
    }

    private func answered(_ lane: Lane, _ settings: LaneSettings, _ verdict: HealthVerdict, asked: Instant) {
        if !verdict.isOurOwn {
            board.noteCall(of: lane, settings, isFailure: verdict.isProviderFailure, at: here.now)
        }
        tell(lane, verdict, asked: asked)
        if case .held(_, .credentialRefused, _) = verdict { directory.readAgain(settings.id) }
    }

    /// Tells the lane's gate what the question that was sent at `asked` has brought.
    private func tell(_ lane: Lane, _ verdict: HealthVerdict, asked: Instant) {
        let now = here.now
        var counted = asked
        if here.isOff(.youngAnswer) {
            lane.unanswered(asked: asked)
            counted = now
        }
        board.obey(lane.answered(verdict, asked: counted, at: now, jitter: here.jitter()), of: lane)
    }

    /// Asks because a call's answer does not decide. The lane's gate, if it has one here, is told too.
    func askAfterCall(_ number: Int32, _ settings: LaneSettings, _ done: @escaping (HealthVerdict) -> Void) {
        let asked = here.now
        ask(settings) { [weak self] verdict in
            if let self, let lane = board.lane(number), directory.isCurrent(settings) {
                tell(lane, verdict, asked: asked)
            }
            done(verdict)
        }
    }

    // MARK: Origins

    /// Twice a second: asks where there is doubt, and for the sake of another worker that is silent.
    func askOrigins(_ membership: Membership, at now: Instant) {
        guard !here.isDraining, !here.isOff(.reach) else { return }
        let doubted = origins.inDoubt(at: now)
        let silent = membership.originsSilentElsewhere(at: now).filter { origins.canTestify(of: $0, at: now) }
        for origin in Set(doubted + silent).sorted() where !origins.isBroken(origin) {
            let lanes = directory.all.filter { $0.origin == origin && $0.account != nil && !$0.isRemoved }
                .sorted { $0.lane < $1.lane }
            // Not always the same one: a lane whose own answers hang must not speak for the whole origin.
            guard let lane = lanes.randomElement(using: &here.chance) else {
                origins.forget(origin)
                continue
            }
            if caller.canCall { ask(lane, isQuestion: true) { _ in } }
        }
    }

    // MARK: The question

    /// For it there must be a slot. Only lanes whose gate opens by health are asked. `isQuestion`: it is asked to find out whether it is answered.
    func ask(_ settings: LaneSettings, isQuestion: Bool = false, _ done: @escaping (HealthVerdict) -> Void) {
        guard let account = settings.account, let question = account.healthQuestion else {
            return done(.held(.human, reason: .credentialRefused, detail: nil))
        }
        here.telemetry.questions += 1
        var request = HTTPRequest(question)
        request.connectTimeout = here.timing.connectTimeout
        request.totalTimeout = here.timing.questionTimeout
        caller.call(
            request,
            of: settings,
            isQuestion: isQuestion,
            mayLeave: { true },
            done: { [weak self] result in
                let verdict = account.health(CallResult(result))
                if let self, isQuestion, !verdict.isOurOwn, let origin = settings.origin {
                    origins.questionEnded(origin, isFailure: verdict.isProviderFailure, at: here.now)
                }
                done(verdict)
            }
        )
    }
}
