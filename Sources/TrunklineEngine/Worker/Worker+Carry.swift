internal import CurlDriver
internal import Logging
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// The calls: sends and health preflights.
extension Worker {
    // MARK: Sends

    /// Makes the call of a committed claim.
    func carry(_ id: Int64) {
        guard !isStopped, let call = calls[id] else { return }
        guard let line = lines[call.line], let base = line.base, let token = line.token else {
            return ended(id, .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human)), evidence: nil)
        }
        guard http.freeSlots > 0 else {
            // Preflights took the slot meanwhile: as soon as one is free, while the lease lasts.
            waitingCalls.append(id)
            return
        }
        var request = HTTPRequest(EZWhatsApp.textRequest(base: base, token: token, key: call.key, body: call.request))
        request.connectTimeout = timing.connectTimeout
        request.totalTimeout = timing.callTimeout
        self.call(request, of: line) { [weak self] in
            self?.mayLeave(id) ?? false
        } done: { [weak self] result in
            guard let self else { return }
            reached(.answered)
            poison(.job, self.calls[id]?.request ?? [])
            self.answered(id, result, token: token)
            self.carryWaiting()
        }
    }

    private func carryWaiting() {
        while http.freeSlots > 0, !waitingCalls.isEmpty { carry(waitingCalls.removeFirst()) }
    }

    /// The last local gate, after connecting and right before the bytes leave: the lease has more left than the call may
    /// take, the own renewal is young, the gate is open, nobody holds the line, and it is not too late for the notice.
    private func mayLeave(_ id: Int64) -> Bool {
        guard let call = calls[id] else { return false }
        let now = loop.present
        if isOff(.lastLook) { return true }
        guard call.claimSent + timing.lease - now > timing.callTimeout + timing.leaseMargin else { return false }
        guard mayAct(at: now) else { return false }
        guard let line = lines[call.line], !line.isOnHold(at: now), !isBroken(line) else { return false }
        // A lane that was given up since the claim has no gate here: what was known then counts as long as it did.
        guard lanes[call.lane]?.gate.mayLeave(begun: call.claimSent, at: now) ?? (call.gateOpenUntil > now) else {
            return false
        }
        if let sendBefore = call.sendBefore, sendBefore <= loop.wallTime.microseconds { return false }
        lanes[call.lane]?.queue.left(person: call.person, at: now)
        reached(.carried)
        return true
    }

    private func answered(_ id: Int64, _ result: Result<HTTPResponse, HTTPFailure>, token: EZWhatsApp.Token) {
        guard let call = calls[id] else { return }
        switch result {
        case .success(let response):
            let outcome = EZWhatsApp.outcome(
                status: response.status,
                body: response.body,
                retryAfter: response.retryAfter,
                now: loop.wallTime,
                stamped: call.isStamped,
                attempt: call.attempt
            )
            let evidence = EZWhatsApp.evidence(status: response.status, body: response.body, token: token)
            if case .recheckHealth = outcome {
                return recheck(id, evidence)
            }
            ended(id, outcome, evidence: evidence)
        case .failure(let failure):
            if failure.cause == .shortage { sayShortage() }
            let evidence = EZWhatsApp.evidence(status: failure.status, body: [], failure: failure.reason, token: token)
            ended(id, EZWhatsApp.outcome(failure: failure), evidence: evidence)
        }
    }

    /// At most once a minute: every call of a moment meets it.
    private func sayShortage() {
        let now = loop.present
        guard lastShortage.map({ now - $0 >= .seconds(60) }) ?? true else { return }
        lastShortage = now
        log.warning(
            "no descriptor or port for a call; it is tried again in a second",
            metadata: ["calls": "\(calls.count)", "advice": "raise the limit of open files, or lower --maximum-calls"]
        )
    }

    /// A 409 means a conflict or the line's state: its health decides.
    private func recheck(_ id: Int64, _ evidence: Evidence) {
        guard !isStopped, let call = calls[id], let line = lines[call.line], http.freeSlots > 0 else {
            return ended(id, EZWhatsApp.outcome(ofConflict: .keepLast(reason: .unreachable)), evidence: evidence)
        }
        let asked = loop.present
        askHealth(of: line) { [weak self] verdict in
            guard let self else { return }
            if let lane = self.lanes[call.lane], self.isStill(line) { self.tell(lane, verdict, asked: asked) }
            self.ended(id, EZWhatsApp.outcome(ofConflict: verdict), evidence: evidence)
        }
    }

    /// What an outcome does to lane and job. The design's D6 and the contract's section 7 are the source of every rule.
    private func ended(_ id: Int64, _ outcome: Outcome, evidence: Evidence?) {
        guard let call = calls[id], !call.hasOutcome else { return }
        calls[id]?.hasOutcome = true
        let now = loop.present
        let lane = lanes[call.lane]
        if let lane, let line = lines[call.line], outcome.reason?.isOurOwn != true {
            let wasRepeated = !call.isSuspect && (call.isStamped || call.tries > 1)
            noteCall(of: lane, line, isFailure: outcome.isProviderFailure, wasRepeated: wasRepeated, now)
        }
        if let lane {
            let effects = lane.gate.ended(
                outcome,
                begun: call.claimSent,
                at: now,
                jitter: .random(in: 0...1, using: &random)
            )
            apply(effects, to: lane)
        } else if outcome.dropsHealth {
            closeCalls(of: call.line)
        }
        switch outcome.laneTrouble {
        case .hold(let kind):
            log.warning(
                "line held",
                metadata: [
                    "line": "\(call.line)", "kind": "\(kind.rawValue)", "reason": "\(outcome.reason?.code ?? "")",
                ]
            )
        case .pause(let span):
            lane?.queue.paused(until: now + span)
            keepPause(of: call.lane, until: now + span)
        case nil: break
        }
        if outcome.reason == .credentialRefused { readTokenAgain(call.line) }
        outcomes.append(settlement(of: call, outcome, evidence))
        dueLanes.insert(call.lane)
    }

    private func settlement(of call: Call, _ outcome: Outcome, _ evidence: Evidence?) -> Settlement {
        var word: SettleOutcome
        var reason = outcome.reason?.code
        var dueIn = Duration.zero
        var remoteID: String?
        switch outcome {
        case .sent(let remote, let note):
            word = .sent
            remoteID = remote
            reason = note
        case .retry(let after, _, .definiteRefusal):
            (word, reason, dueIn) = counted(call, reason, after: after)
        case .retry(let after, let why, .notSent):
            word = .givenBack
            // Called off by ourselves: nothing is wrong with the other side.
            dueIn =
                why == .withdrawn
                ? .milliseconds(100)
                : after ?? Retry.delay(afterTries: min(call.attempt - call.tries + 1, 8), using: &random)
        case .park:
            word = .park
        case .laneUnhealthy(_, let trouble):
            word = .givenBack
            if case .pause = trouble, call.attempt - call.tries >= Retry.maximumGivenBack {
                (word, reason, dueIn) = counted(call, reason, after: nil)
            }
        case .unknown, .recheckHealth:
            word = .unknown
            dueIn = Retry.unknownDelay(afterAttempt: call.attempt, using: &random)
        }
        return Settlement(
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

    /// A definite refusal counts as a try; used-up tries end parked with the last answer as evidence.
    private func counted(_ call: Call, _ reason: String?, after: Duration?) -> (SettleOutcome, String?, Duration) {
        if call.tries >= Retry.maximumTries { return (.park, Reason.triesSpent.code, .zero) }
        return (.retry, reason, after ?? Retry.delay(afterTries: call.tries, using: &random))
    }

    // MARK: Preflights

    /// Asks the line's health when the gate wants it. Only called for lanes with work that could begin.
    func ask(_ lane: Lane, _ line: Line, _ now: Instant) {
        guard lane.gate.wantsQuestion(at: now), hasFreeSlot else { return }
        apply(lane.gate.asked(at: now), to: lane)
        let asked = now
        askHealth(of: line) { [weak self] verdict in
            guard let self, let current = self.lanes[lane.number], current === lane else { return }
            guard self.isStill(line) else { return lane.gate.unanswered(asked: asked) }
            let now = loop.present
            if !verdict.isOurOwn { self.noteCall(of: lane, line, isFailure: verdict.isProviderFailure, now) }
            self.tell(lane, verdict, asked: asked)
            if case .held(_, .credentialRefused, _) = verdict { self.readTokenAgain(line.id) }
        }
    }

    /// Tells the lane's gate what the question that was sent at `asked` has brought.
    private func tell(_ lane: Lane, _ verdict: HealthVerdict, asked: Instant) {
        let now = loop.present
        var counted = asked
        if isOff(.youngAnswer) {
            lane.gate.unanswered(asked: asked)
            counted = now
        }
        let jitter = Double.random(in: 0...1, using: &random)
        apply(lane.gate.answered(verdict, asked: counted, at: now, jitter: jitter), to: lane)
    }

    /// Whether a question that was sent with this token to this address asked the line as it is now.
    private func isStill(_ line: Line) -> Bool {
        guard let current = lines[line.id] else { return false }
        return current.token == line.token && current.base == line.base
    }

    /// What was known of the line's health when its calls in the air began is worth nothing any more. For calls whose lane
    /// was given up: the others ask its gate.
    func closeCalls(of line: String) {
        let now = loop.present
        for id in calls.keys where calls[id]?.line == line { calls[id]?.gateOpenUntil = now }
    }

    /// A token that is kept in a file or a variable may have been changed there: the next look reads it once more.
    func readTokenAgain(_ id: String) {
        linesToReread.insert(id)
    }

    func askHealth(of line: Line, isQuestion: Bool = false, _ done: @escaping (HealthVerdict) -> Void) {
        guard let base = line.base, let token = line.token else {
            return done(.held(.human, reason: .credentialRefused, detail: nil))
        }
        var request = HTTPRequest(EZWhatsApp.healthRequest(base: base, token: token))
        request.connectTimeout = timing.connectTimeout
        request.totalTimeout = timing.questionTimeout
        call(request, of: line, isQuestion: isQuestion, mayLeave: { true }) { [weak self] result in
            switch result {
            case .success(let response): done(EZWhatsApp.health(status: response.status, body: response.body))
            case .failure(let failure): done(EZWhatsApp.health(failure: failure))
            }
            self?.carryWaiting()
        }
    }
}

extension Evidence {
    /// As one text column: PostgreSQL's text cannot hold a NUL.
    var stored: String {
        let text = [failure, body.isEmpty ? nil : bodyText].compactMap { $0 }.joined(separator: "\n")
        return text.contains("\0") ? text.replacing("\0", with: "\u{FFFD}") : text
    }
}
