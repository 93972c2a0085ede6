internal import CurlDriver
internal import Logging
internal import TrunklineCore

/// Attempts in the air: makes the calls of a committed claim's exchange, looks a last time before bytes leave, and says what the
/// outcome does to lane and job.
final class Calls {
    private let here: Surroundings
    private let agenda: Agenda
    private let membership: Membership
    private let directory: LaneDirectory
    private let origins: Origins
    private let board: LaneBoard
    private let attempts: Attempts
    private let caller: Caller
    private let health: Health
    private let credentials: CredentialKeeper
    private let effects: Effects
    private let settling: Settling
    private let events: Events
    /// Exchanges whose next call found no slot, by job.
    private var stopped: [Int64: (running: Running, request: HTTPRequest, mayTakeEffect: Bool)] = [:]
    /// When the machine last had nothing for a call, and this was said.
    private var lastShortage: Instant?

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ membership: Membership,
        _ directory: LaneDirectory,
        _ origins: Origins,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ caller: Caller,
        _ health: Health,
        _ credentials: CredentialKeeper,
        _ effects: Effects,
        _ settling: Settling,
        _ events: Events
    ) {
        self.here = here
        self.agenda = agenda
        self.membership = membership
        self.directory = directory
        self.origins = origins
        self.board = board
        self.attempts = attempts
        self.caller = caller
        self.health = health
        self.credentials = credentials
        self.effects = effects
        self.settling = settling
        self.events = events
    }

    // MARK: The exchange

    /// An attempt's exchange with the outside, while it goes on.
    private final class Running {
        let job: Int64
        let settings: LaneSettings
        var exchange: any Exchange
        var steps = 0
        /// Nothing of it may take effect before that is committed.
        var isQuiet: Bool
        /// A call was made that may have taken effect.
        var mayHaveEffect = false

        init(_ call: Call, _ settings: LaneSettings, _ exchange: any Exchange) {
            job = call.job
            isQuiet = call.isQuiet
            self.settings = settings
            self.exchange = exchange
        }
    }

    /// Begins the exchange of an attempt that has begun, or goes on with one that found no slot.
    func carry(_ job: Int64) {
        let next = stopped.removeValue(forKey: job)
        guard !here.isStopped, let call = attempts[job] else { return }
        if let next { return make(next.request, mayTakeEffect: next.mayTakeEffect, of: next.running) }
        if directory[call.line]?.isRun == true { return events.run(call) }
        guard let settings = directory[call.line], let account = settings.account else {
            // It cannot be called as configured.
            return ended(job, .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human)), evidence: nil)
        }
        // Questions took the slot meanwhile.
        guard caller.canCall else { return caller.wait(job) }
        let attempt = CarriedAttempt(
            key: call.key,
            request: call.request,
            number: call.attempt,
            isStamped: call.isStamped
        )
        go(on: Running(call, settings, account.exchange(attempt)), after: .begin(at: here.loop.wallTime))
    }

    /// Once a turn: calls that found no slot.
    func carryWaiting() { while let job = caller.nextWaiting() { carry(job) } }

    /// Tells the exchange what has happened, and does what it says next.
    private func go(on running: Running, after event: ExchangeEvent) {
        guard attempts.has(running.job) else { return }
        running.steps += 1
        guard running.steps <= ExchangeLimits.longest else {
            here.log.error("an exchange has no end", metadata: ["job": "\(running.job)"])
            return ended(running.job, .park(reason: .unexpectedStatus), evidence: nil)
        }
        switch running.exchange.next(event) {
        case .call(let call, let mayTakeEffect):
            var request = HTTPRequest(call)
            request.connectTimeout = here.timing.connectTimeout
            request.totalTimeout = here.timing.callTimeout
            make(request, mayTakeEffect: mayTakeEffect, of: running)
        case .askHealth:
            askHealth(running)
        case .needsCredentials(let refused):
            needCredentials(running, refused)
        case .done(let outcome, let evidence):
            ended(running.job, outcome, evidence: evidence)
        }
    }

    private func needCredentials(_ running: Running, _ refused: Credentials?) {
        credentials.need(running.settings, refused: refused) { [weak self] answer in
            guard let self else { return }
            switch answer {
            case .have(let credentials): go(on: running, after: .credentials(credentials))
            case .refused where !running.mayHaveEffect:
                ended(
                    running.job,
                    .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human)),
                    evidence: nil
                )
            // What the attempt has done decides how it ends, and only its exchange knows.
            case .none, .refused: go(on: running, after: .credentials(nil))
            }
        }
    }

    private func make(_ request: HTTPRequest, mayTakeEffect: Bool, of running: Running) {
        let job = running.job
        guard caller.canCall else {
            stopped[job] = (running, request, mayTakeEffect)
            return caller.wait(job)
        }
        if mayTakeEffect, running.isQuiet, let call = attempts[job] {
            return effects.begin(call) { [weak self] mayCall in
                guard let self else { return }
                running.isQuiet = false
                if mayCall { return make(request, mayTakeEffect: true, of: running) }
                // Not at once: a look-up comes before the next one, too.
                ended(job, .retry(after: .seconds(1), reason: .withdrawn, cause: .notSent), evidence: nil)
            }
        }
        here.telemetry.called += 1
        if mayTakeEffect { running.mayHaveEffect = true }
        caller.call(request, of: running.settings) { [weak self] in
            self?.mayLeave(job, mayTakeEffect: mayTakeEffect) ?? false
        } done: { [weak self] result in
            guard let self else { return }
            here.reached(.answered)
            here.poison(.job, attempts[job]?.request ?? [])
            if case .failure(let failure) = result, failure.cause == .shortage { sayShortage() }
            go(on: running, after: .called(CallResult(result), at: here.loop.wallTime))
        }
    }

    /// The answer does not decide: the lane's health does, and its gate is told, too.
    private func askHealth(_ running: Running) {
        guard !here.isStopped, let call = attempts[running.job], let settings = directory[call.line], caller.canCall
        else { return go(on: running, after: .health(.keepLast(reason: .unreachable))) }
        health.askAfterCall(call.lane, settings) { [weak self] in self?.go(on: running, after: .health($0)) }
    }

    /// The last local gate, after connecting and right before the bytes leave: the lease has more left than the call may
    /// take, the own renewal is young, the gate is open, nobody holds the lane, and it is not too late for the job.
    private func mayLeave(_ job: Int64, mayTakeEffect: Bool) -> Bool {
        guard let call = attempts[job] else { return false }
        let now = here.now
        if here.isOff(.lastLook) { return true }
        guard call.leaseBegan + here.timing.lease - now > here.timing.callTimeout + here.timing.leaseMargin else {
            return false
        }
        guard membership.mayAct(at: now) else { return false }
        guard let settings = directory[call.line], !settings.isOnHold(at: now), !origins.isBroken(settings) else {
            return false
        }
        let lane = board.lane(call.lane)
        // A lane that was given up since the claim has no gate here: what was known then counts as long as it did.
        guard lane?.mayLeave(begun: call.claimSent, at: now) ?? (call.gateOpenUntil > now) else { return false }
        if let sendBefore = call.sendBefore, sendBefore <= here.loop.wallTime.microseconds { return false }
        // A look-up is no message to anybody.
        guard mayTakeEffect else {
            here.reached(.asked)
            return true
        }
        lane?.left(person: call.person, at: now)
        here.reached(.carried)
        return true
    }

    // MARK: The answer

    /// At most once a minute: every call of a moment meets it.
    private func sayShortage() {
        let now = here.now
        guard lastShortage.map({ now - $0 >= .seconds(60) }) ?? true else { return }
        lastShortage = now
        here.log.warning(
            "no descriptor or port for a call; it is tried again in a second",
            metadata: [
                "calls": "\(attempts.count)", "advice": "raise the limit of open files, or lower --maximum-calls",
            ]
        )
    }

    /// What an outcome does to lane and job. The design's D6 and the contract's section 7 are the source of every rule.
    private func ended(_ job: Int64, _ outcome: Outcome, evidence: Evidence?) {
        guard let call = attempts.gotOutcome(job) else { return }
        let now = here.now
        let lane = board.lane(call.lane)
        if let lane, let settings = directory[call.line], outcome.reason?.isOurOwn != true {
            let wasRepeated = !call.isSuspect && (call.isStamped || call.tries > 1)
            board.noteCall(
                of: lane,
                settings,
                isFailure: outcome.isProviderFailure,
                wasRepeated: wasRepeated,
                at: now
            )
        }
        if let lane {
            board.obey(lane.ended(outcome, begun: call.claimSent, at: now, jitter: here.jitter()), of: lane)
        } else if outcome.dropsHealth {
            attempts.closeGate(of: call.line, at: now)
        }
        if let trouble = outcome.laneTrouble { meet(trouble, outcome.reason, call, lane, now) }
        if outcome.reason == .credentialRefused { directory.readAgain(call.line) }
        let maximumTries = directory[call.line]?.policy.maximumTries ?? Retry.maximumTries
        settling.add(Settlement(of: call, outcome, evidence, maximumTries: maximumTries, using: &here.chance))
        agenda.look(at: call.lane)
    }

    private func meet(_ trouble: LaneTrouble, _ reason: Reason?, _ call: Call, _ lane: Lane?, _ now: Instant) {
        switch trouble {
        case .hold(let kind):
            guard let settings = directory[call.line] else { return }
            here.log.warning(
                "\(settings.noun) held",
                metadata: settings.logged(["kind": "\(kind.rawValue)", "reason": "\(reason?.code ?? "")"])
            )
        case .pause(let span):
            lane?.paused(until: now + span)
            settling.keepPause(of: call.lane, until: now + span)
        }
    }
}

extension Settlement {
    /// How an attempt's outcome is recorded: as what, and when the job is due again.
    init(
        of call: Call,
        _ outcome: Outcome,
        _ evidence: Evidence?,
        maximumTries: Int32,
        using random: inout some RandomNumberGenerator
    ) {
        var word: SettleOutcome
        var reason = outcome.reason?.code
        var dueIn = Duration.zero
        var remoteID: String?
        /// A definite refusal counts as a try; used-up tries end parked with the last answer as evidence.
        func counted(after: Duration?, using random: inout some RandomNumberGenerator) -> (
            SettleOutcome, String?, Duration
        ) {
            if call.tries >= maximumTries { return (.park, Reason.triesSpent.code, .zero) }
            return (.retry, reason, after ?? Retry.delay(afterTries: call.tries, using: &random))
        }
        switch outcome {
        case .sent(let remote, let note):
            word = .sent
            remoteID = remote
            reason = note
        case .retry(let after, _, .definiteRefusal):
            (word, reason, dueIn) = counted(after: after, using: &random)
        case .retry(let after, let why, .notSent):
            word = .givenBack
            // Called off by ourselves: nothing is wrong with the other side.
            dueIn =
                why == .withdrawn
                ? after ?? .milliseconds(100)
                : after ?? Retry.delay(afterTries: min(call.attempt - call.tries + 1, 8), using: &random)
        case .park:
            word = .park
        case .laneUnhealthy(_, let trouble):
            word = .givenBack
            // What may have been sent ends by its horizon, never by its tries.
            if case .pause = trouble, !outcome.mayHaveSent,
                call.attempt - call.tries >= Retry.maximumGivenBack
            {
                (word, reason, dueIn) = counted(after: nil, using: &random)
            }
        case .unknown, .recheckHealth:
            word = .unknown
            dueIn = Retry.unknownDelay(afterAttempt: call.attempt, using: &random)
        }
        self.init(
            job: call.job,
            attempt: call.attempt,
            outcome: word,
            reason: reason,
            dueIn: dueIn,
            mayHaveLeft: outcome.mayHaveSent,
            remoteID: remoteID,
            status: evidence?.status.map { Int32(clamping: $0) },
            evidence: evidence.map(\.stored)
        )
    }
}

extension Evidence {
    /// As one text column: PostgreSQL's text cannot hold a NUL.
    fileprivate var stored: String {
        let text = [failure, body.isEmpty ? nil : bodyText].compactMap { $0 }.joined(separator: "\n")
        return text.contains("\0") ? text.replacing("\0", with: "\u{FFFD}") : text
    }
}
