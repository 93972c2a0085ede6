internal import EventLoop
internal import Logging
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// What the calls say about the provider and the network: suspect lines, the retry budget, and the one breaker for all
/// lines of an origin.
extension Worker {
    // MARK: What calls say

    /// A call of the lane ended. `isFailure`: without a usable answer.
    func noteCall(of lane: Lane, _ line: Line, isFailure: Bool, wasRepeated: Bool = false, _ now: Instant) {
        if isFailure {
            lane.record.failed(at: now)
            if lane.record.isSuspect { suspectLanes.insert(lane.number) }
        } else {
            lane.record.answered(at: now)
            if suspectLanes.remove(lane.number) != nil { lookAtSuspectsWithoutRoom() }
            if let origin = line.base?.origin {
                budgets[origin, default: RetryBudget()].answered(wasRepeated: wasRepeated)
            }
        }
    }

    /// What the lane may use of its line's pace now: a part while it ramps, one call while it is suspect.
    func applyPace(_ lane: Lane, _ line: Line, _ now: Instant) {
        let tenths = lane.gate.rampTenths(at: now)
        let pace = line.pace.limited(toTenths: tenths, onlyOne: lane.record.isSuspect)
        if lane.queue.settings != pace { lane.queue.settings = pace }
        if tenths < 10 {
            if let step = lane.gate.nextRampStep(after: now) { wakeLane(lane, at: step, now) }
        } else if lane.writtenGate == .ramping {
            gateWrites.insert(lane.number)
        }
    }

    /// Suspect lines together get at most half of the call slots: how many more calls they may have.
    func roomForSuspects() -> Int {
        var inAir = 0
        for number in suspectLanes { inAir += lanes[number]?.queue.inAir ?? 0 }
        return (configuration.maximumCalls + 1) / 2 - inAir
    }

    /// A call of a suspect line has ended, or a line is not suspect any more.
    func lookAtSuspectsWithoutRoom() {
        guard !suspectsWithoutRoom.isEmpty else { return }
        dueLanes.formUnion(suspectsWithoutRoom)
        suspectsWithoutRoom.removeAll(keepingCapacity: true)
    }

    /// How long a job that would repeat a call must wait for the budget of its line's origin; nil: not at all, and it is
    /// spent.
    func budgetWait(_ job: QueuedJob, _ line: Line, _ now: Instant) -> Duration? {
        guard job.isRepeat, let origin = line.base?.origin else { return nil }
        guard let wait = budgets[origin, default: RetryBudget()].spend(at: now) else { return nil }
        // Many wait for the same token: they must not all come back for it at once.
        return wait * Double.random(in: 1...4, using: &random)
    }

    /// Whether a job of a lost worker may begin: only one such job is in the air of a process.
    func maySuspectBegin(_ chosen: [Chosen]) -> Bool {
        suspectCall.flatMap { calls[$0] } == nil && !chosen.contains(where: \.job.isSuspect)
    }

    // MARK: The breaker

    /// Whether nothing may be sent to the line's origin.
    func isBroken(_ line: Line) -> Bool {
        guard !openBreakers.isEmpty, let origin = line.base?.origin else { return false }
        return openBreakers.contains(origin)
    }

    /// Lines of this worker that called lately, and those that failed, by origin.
    func callCounts(_ now: Instant) -> [String: CallCounts] {
        var counts: [String: CallCounts] = [:]
        for lane in lanes.values where lane.record.isActive(at: now) {
            guard let origin = lineOfLane[lane.number].flatMap({ lines[$0]?.base?.origin }) else { continue }
            counts[origin, default: CallCounts()].active += 1
            if lane.record.isFailing(at: now) { counts[origin]!.failing += 1 }
        }
        return counts
    }

    /// Opens the breaker of an origin when what the living workers counted says so. One of them wins, and it is the one
    /// that raises the alarm.
    func openBreakersIfSuspected(_ now: Instant) {
        for (origin, own) in callCounts(now).sorted(by: { $0.key < $1.key })
        where own.failing > 0 && !openBreakers.contains(origin) {
            let others = peerCounts.compactMap { boot, counts in
                boot.bytes == self.boot || fleet.isDead(boot, at: now) ? nil : counts[origin]
            }
            guard Breaker.suspects(others + [own]) else { continue }
            let wait = Breaker.wait(afterProbes: 0, jitter: .random(in: 0...1, using: &random))
            let opening = BreakerOpening(
                origin: origin,
                reason: "\(own.failing) of \(own.active) lines of one worker got no answer",
                nextProbeIn: wait
            )
            control.openBreaker(opening, by: bootID) { [weak self] result in
                guard let self, case .success(true) = result else { return }
                self.log.error(
                    "many lines fail at once: the provider or the network is suspected; nothing is sent until a probe is answered",
                    metadata: ["origin": "\(origin)", "failing": "\(own.failing)", "active": "\(own.active)"]
                )
            }
        }
    }

    /// The rows of open breakers, at every look.
    func breakersSeen(_ rows: [BreakerRow]) {
        let now = loop.present
        var open: Set<String> = []
        for row in rows {
            open.insert(row.origin)
            if row.isProbeDue { probe(row.origin, now) }
        }
        let closed = openBreakers.subtracting(open)
        for origin in open.subtracting(openBreakers) {
            log.notice("breaker open", metadata: ["origin": "\(origin)"])
        }
        openBreakers = open
        for origin in closed {
            // Everybody was silent: what was learned says nothing about this worker.
            reaches[origin] = nil
            log.notice("breaker closed; lines go on by the ramp", metadata: ["origin": "\(origin)"])
            for lane in lanes.values where lineOfLane[lane.number].flatMap({ lines[$0]?.base?.origin }) == origin {
                lane.record.forget()
                if suspectLanes.remove(lane.number) != nil { lookAtSuspectsWithoutRoom() }
                apply(lane.gate.restarted(at: now), to: lane)
            }
        }
    }

    /// Asks the health of one line with work, if this worker is the one in the fleet that may.
    private func probe(_ origin: String, _ now: Instant) {
        guard mayAct(at: now), !isDraining, !probing.contains(origin), hasFreeSlot else { return }
        let candidates = lanes.values.filter { $0.queue.count > 0 && shards[$0.shard]?.phase == .owned }
            .sorted { $0.number < $1.number }
            .compactMap { lineOfLane[$0.number].flatMap { lines[$0] } }
            .filter { $0.base?.origin == origin && $0.token != nil && !$0.isRemoved }
        guard let line = candidates.randomElement(using: &random) else { return }
        probing.insert(origin)
        control.probeBreaker(origin, by: bootID) { [weak self] result in
            guard let self else { return }
            guard case .success(let probes?) = result else {
                self.probing.remove(origin)
                return
            }
            // Calls that still hang may have taken the slot meanwhile.
            guard self.hasFreeSlot else { return self.probed(origin, probes, isAnswered: false) }
            self.askHealth(of: line) { [weak self] verdict in
                self?.probed(origin, probes, isAnswered: !verdict.isProviderFailure)
            }
        }
    }

    private func probed(_ origin: String, _ probes: Int32, isAnswered: Bool) {
        probing.remove(origin)
        let wait = Breaker.wait(afterProbes: Int(probes), jitter: .random(in: 0...1, using: &random))
        control.endProbe(ProbeEnd(origin: origin, isAnswered: isAnswered, nextProbeIn: wait), by: bootID) { _ in }
    }
}

/// What a former owner left of a lane, as its next owner takes it over.
struct KeptLane {
    let lane: Int32
    let nextSend: ContinuousClock.Instant
    let pausedUntil: ContinuousClock.Instant
    let word: GateWord
    let gate: Gate.Memory
    let heldSince: ContinuousClock.Instant?
    let isHoldTold: Bool

    init(_ row: LaneRow, _ now: ContinuousClock.Instant) {
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
