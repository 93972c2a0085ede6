internal import TrunklineCore

/// What its owner keeps in memory of one lane with work: the order of its jobs, its gate, and how its calls went lately. A copy
/// of what the database says, which may be thrown away and built anew at any time.
final class Lane {
    let number: Int32
    let shard: Int32
    private var queue: LaneQueue
    private var gate: Gate
    private let policy: LanePolicy
    /// How the lane's calls went lately.
    private var record = CallRecord()
    /// The lane has sent what it may today; until its next midnight.
    private var cappedUntil: Instant?
    /// The gate's word and its number of probes as last written to lane_state; nil when that is not known.
    private var written: (word: Gate.Word?, probes: Int) = (nil, 0)
    /// Since when the lane is held, also by former owners, and whether that was said when it became long.
    private var heldSince: Instant?
    private var isHoldTold = false
    private var nextLook: Instant?

    init(_ settings: LaneSettings, at now: Instant) {
        number = settings.lane
        shard = settings.shard
        policy = settings.policy
        queue = LaneQueue(settings: settings.pace)
        gate = Gate(policy: policy, at: now)
    }

    /// What a former owner left.
    func takeOver(_ kept: KeptLane, at now: Instant) {
        if kept.nextSend > now { queue.resumePace(nextSend: kept.nextSend, at: now) }
        if kept.pausedUntil > now { queue.paused(until: kept.pausedUntil) }
        gate = Gate(policy: policy, memory: kept.gate, at: now)
        written = (kept.word.heard, kept.gate.probes)
        heldSince = kept.heldSince
        isHoldTold = kept.isHoldTold
    }

    // MARK: Jobs

    /// Jobs that wait, scheduled ones included.
    var count: Int { queue.count }
    /// Calls in the air.
    var inAir: Int { queue.inAir }
    /// The same, with those of former owners.
    private var allInAir: Int { queue.inAir + queue.othersInAir }
    /// Calls that a living former owner still has in the air count as the lane's own.
    func others(inAir count: Int) { queue.othersInAir = count }
    var isBusy: Bool { queue.count > 0 || queue.inAir > 0 }

    func waiting(_ job: JobID, person: Int64) -> QueuedJob? { queue.waiting(job, person: person) }

    /// The job waits, once, whatever was known of it.
    func wait(_ job: QueuedJob) {
        queue.remove(job.id, person: job.person)
        if job.place > 0 { queue.add(job) } else { queue.schedule(job) }
    }

    /// A job with a place waits.
    func add(_ job: QueuedJob) { queue.add(job) }

    /// Returns whether it waited here.
    @discardableResult
    func remove(_ job: JobID, person: Int64) -> Bool { queue.remove(job, person: person) }

    /// Scheduled jobs whose time has come; their owner gives them places.
    func takeScheduled(at now: Instant, limit: Int) -> [Int64] {
        queue.takeScheduled(at: now, limit: limit).map(\.id.value)
    }

    var nextScheduled: Instant? { queue.nextScheduled }

    /// Whether the time of a scheduled job has come.
    func hasScheduled(at now: Instant) -> Bool { queue.nextScheduled.map { $0 <= now } ?? false }

    /// What comes next is compared with `now`, so that what is due already need not be sorted out at the first look.
    func expectLooks(from now: Instant) { queue.look(at: now) }

    /// Forgets persons whose gap has passed.
    func forgetIdle(at now: Instant) { queue.forgetIdle(at: now) }

    // MARK: Beginning and ending

    /// Until when a job that begins now may go on, as far as the gate knows; nil: none may begin.
    func admission(at now: Instant) -> Instant? { gate.admission(at: now, inAir: allInAir) }

    /// Whether a job could begin now but for the gate.
    func hasReadyWork(at now: Instant) -> Bool { queue.hasReadyWork(at: now, onlyStamped: isCapped(at: now)) }

    /// Whether a job may begin now, as far as order, pace, cap and gate go.
    func mayBegin(at now: Instant) -> Bool {
        gate.admits(at: now, inAir: allInAir) && queue.mayBegin(at: now, onlyStamped: isCapped(at: now))
    }

    /// Begins the job that comes next, if one may begin now, and counts its call as in the air.
    func begin(at now: Instant) -> QueuedJob? { queue.begin(at: now, onlyStamped: isCapped(at: now)) }

    /// Begins a job that has just arrived, past the queue, if nothing of the lane speaks against it.
    ///
    /// - Returns: until when it may go on, as far as the gate knows; nil when it must wait.
    func beginNew(person: Int64, at now: Instant) -> Instant? {
        guard let gateOpenUntil = admission(at: now), !gate.isRamping(at: now), !record.isSuspect,
            queue.beginNew(person: person, jobClass: .single, at: now)
        else { return nil }
        return gateOpenUntil
    }

    /// A call that was counted did not begin after all: pace and gap are as before.
    func takenBack(person: Int64) { queue.takenBack(person: person) }

    /// A job that was begun in memory only waits on.
    func putBack(_ job: QueuedJob, until due: Instant) {
        queue.takenBack(person: job.person)
        var again = job
        again.due = due
        queue.add(again)
    }

    /// Its bytes leave at this moment.
    func left(person: Int64, at now: Instant) { queue.left(person: person, at: now) }

    func ended(person: Int64, at now: Instant) { queue.ended(person: person, at: now) }

    // MARK: Persons

    /// A call of ours is in the air that was begun before this memory was built.
    func resume(person: Int64) { queue.resume(person: person) }

    /// Another worker's call is in the air: it holds the person's order, not the lane.
    func hold(person: Int64) { queue.hold(person: person) }

    func release(person: Int64) { queue.release(person: person) }

    func wroteTo(person: Int64, at instant: Instant) { queue.wroteTo(person: person, at: instant) }

    /// The gap to the person's next message counts from the last attempt, whoever made it and whatever came of it.
    func noteLastSend(_ job: SeenJob, at now: Instant) {
        guard let ago = job.claimedAgo, ago < queue.settings.recipientGap else { return }
        queue.wroteTo(person: job.person, at: now - ago)
    }

    // MARK: Pace

    var nextSend: Instant? { queue.nextSend }

    func paused(until end: Instant) { queue.paused(until: end) }

    func isCapped(at now: Instant) -> Bool { cappedUntil.map { $0 > now } ?? false }

    /// Nil: it may send again.
    func capped(until end: Instant?) { cappedUntil = end }

    /// What the lane may use of its configured pace now: a part while it ramps, one call while it is suspect.
    ///
    /// - Returns: when that rises next, while it ramps; and whether a ramp has ended that is still written down.
    func applyPace(_ pace: Pace, at now: Instant) -> (nextStep: Instant?, rampIsOver: Bool) {
        let tenths = gate.rampTenths(at: now)
        let limited = pace.limited(toTenths: tenths, onlyOne: record.isSuspect)
        if queue.settings != limited { queue.settings = limited }
        return tenths < 10 ? (gate.nextRampStep(after: now), false) : (nil, written.word == .ramping)
    }

    // MARK: Looks

    /// When time alone changes something next, as far as queue and gate go; nil: only an event does.
    func nextChange(after now: Instant) -> Instant? {
        guard let next = queue.nextLook(after: now) else { return nil }
        if next > now { return next }
        // Ready work behind a closed gate waits for the gate, not for the clock. Ready, open and in pace, but not begun: a
        // slot or a reply is missing, and those come as events.
        guard !gate.admits(at: now, inAir: allInAir), let opening = gate.nextLook(after: now), opening > now
        else { return nil }
        return opening
    }

    /// Whether a timer for `next` is needed: none that is there already comes as early.
    func arm(_ next: Instant, at now: Instant) -> Bool {
        if let nextLook, nextLook > now, nextLook <= next { return false }
        nextLook = next
        return true
    }

    func rang(_ armed: Instant) { if nextLook == armed { nextLook = nil } }

    // MARK: The gate

    // Whoever tells the gate something has the board obey what comes of it (`LaneBoard.obey`).

    var hold: Gate.Hold? { gate.hold }
    func wantsQuestion(at now: Instant) -> Bool { gate.wantsQuestion(at: now) }

    /// The last look: whether the bytes of a job that began at `begun` may still leave.
    func mayLeave(begun: Instant, at now: Instant) -> Bool { gate.mayLeave(begun: begun, at: now) }

    func asked(at now: Instant) -> Gate.Effects { gate.asked(at: now) }
    func unanswered(asked: Instant) { gate.unanswered(asked: asked) }

    /// What the question that was sent at `asked` has brought.
    func answered(_ verdict: HealthVerdict, asked: Instant, at now: Instant, jitter: Double) -> Gate.Effects {
        gate.answered(verdict, asked: asked, at: now, jitter: jitter)
    }

    /// A job begins, by ``admission(at:)``.
    func began(at now: Instant) -> Gate.Effects { gate.began(at: now) }

    /// What the attempt that began at `begun` has brought.
    func ended(
        _ outcome: Outcome,
        begun: Instant,
        at now: Instant,
        jitter: @autoclosure () -> Double
    ) -> Gate.Effects {
        gate.ended(outcome, begun: begun, at: now, jitter: jitter())
    }

    /// It cannot be called as configured. May be told again and again.
    func unusable(_ fault: String, at now: Instant) -> Gate.Effects { gate.unusable(fault, at: now) }

    /// A person has changed something about it, or resumed it.
    func resumed(at now: Instant) -> Gate.Effects { gate.resumed(at: now) }

    /// It is called at another address or with another secret: what was learned is worth nothing.
    func forgetGate(at now: Instant) -> Gate.Effects { gate.forget(at: now) }

    // MARK: Calls

    /// Without a usable answer twice and more: it gets one call at a time.
    var isSuspect: Bool { record.isSuspect }
    func isActive(at now: Instant) -> Bool { record.isActive(at: now) }
    func isFailing(at now: Instant) -> Bool { record.isFailing(at: now) }
    func callFailed(at now: Instant) { record.failed(at: now) }
    func callAnswered(at now: Instant) { record.answered(at: now) }

    /// Everybody was silent and is back.
    func restarted(at now: Instant) -> Gate.Effects {
        record.forget()
        return gate.restarted(at: now)
    }

    // MARK: What is written down

    /// The gate as it is to be shown and kept; nil when that is written already. An OPEN answer that has aged is not news:
    /// nobody asks while there is no work.
    func gateToWrite(at now: Instant) -> GateRow? {
        noteHold(at: now)
        let word = gate.word(at: now)
        let memory = gate.memory(at: now)
        guard word != .unknown, word != written.word || memory.probes != written.probes else { return nil }
        written = (word, memory.probes)
        return GateRow(
            lane: number,
            gate: word,
            reason: memory.hold?.stored,
            probes: Int32(clamping: memory.probes),
            nextProbeIn: memory.nextProbe.map { max(.zero, $0 - now) },
            rampingFor: memory.rampBegan.map { now - $0 }
        )
    }

    /// It is written again with the next change at the latest.
    func gateWasNotWritten() { written.word = nil }

    /// Notes the beginning and the end of a hold, as the row does (`OutcomeLedger.keepGates`): asking again is no end.
    private func noteHold(at now: Instant) {
        if gate.hold != nil {
            heldSince = heldSince ?? now
        } else if gate.isOpen(at: now) {
            heldSince = nil
            isHoldTold = false
        }
    }

    /// Its hold, and for how long it has lasted, when that is news to a person: notices wait for it. Said once.
    func tellHold(longerThan limit: Duration, at now: Instant) -> (hold: Gate.Hold, lasted: Duration)? {
        guard !isHoldTold, let hold = gate.hold, let heldSince, now - heldSince >= limit, queue.count > 0 else {
            return nil
        }
        isHoldTold = true
        return (hold, now - heldSince)
    }
}

/// What a former owner left of a lane, as its next owner takes it over.
struct KeptLane {
    let lane: Int32
    let nextSend: Instant
    let pausedUntil: Instant
    let word: GateWord
    let gate: Gate.Memory
    let heldSince: Instant?
    let isHoldTold: Bool

    init(_ row: LaneRow, _ now: Instant) {
        lane = row.lane
        nextSend = now + row.nextSendIn
        pausedUntil = now + row.pausedFor
        word = row.gate
        var hold: Gate.Hold?
        if let word = row.gate.heard, word.isHold {
            // Written as "code: detail".
            let parts = (row.gateReason ?? "").split(separator: ": ", maxSplits: 1)
            hold = Gate.Hold(
                kind: word == .heldHuman ? .human : .transient,
                reason: parts.first.flatMap { Reason(rawValue: String($0)) } ?? .lineNotSendable,
                detail: parts.count > 1 ? String(parts[1]) : nil
            )
        }
        gate = Gate.Memory(
            hold: hold,
            probes: Int(row.probes),
            nextProbe: row.nextProbeIn.map { now + $0 },
            rampBegan: row.rampingFor.map { now - $0 }
        )
        heldSince = hold == nil ? nil : now - row.gateFor
        isHoldTold = row.isHoldTold
    }
}

extension Gate.Hold {
    /// `code` or `code: detail`, as `lane_state` has it.
    var stored: String { [reason.code, detail].compactMap { $0 }.joined(separator: ": ") }
}
