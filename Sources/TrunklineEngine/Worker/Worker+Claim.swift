internal import CurlDriver
internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Beginning attempts of waiting jobs: committed before anything leaves.
extension Worker {
    private static let batchLimit = 256
    /// Between two looks at a line that has sent what it may today: is a job due that may have been sent before?
    private static let cappedLook: Duration = .seconds(5)

    /// A job whose attempt is to be claimed.
    struct Chosen {
        let job: QueuedJob
        let lane: Lane
        let gateOpenUntil: Instant
    }

    /// Call slots that are free, without those that were promised to claims under way and to calls that wait for one.
    var freeSlots: Int { http.freeSlots - slotsPromised - waitingCalls.count }

    /// Whether another call could begin.
    var hasFreeSlot: Bool { freeSlots > 0 }

    /// Whether a job that has just arrived may have a slot: not one that a lane waits for.
    var hasSlotForNewcomer: Bool { isOff(.rotation) ? hasFreeSlot : turns.leavesOne(of: freeSlots) }

    /// Looks at the lanes that are due: those that could use a call slot wait for their turn, the others say when to look
    /// again.
    func lookAtDueLanes(_ now: Instant) {
        guard !dueLanes.isEmpty, intake.isConnected, mayAct(at: now), !isDraining else { return }
        for number in dueLanes.sorted() {
            if hasScheduled(number, now) { placing.join(number) }
            if let lane = lanes[number], wantsSlot(lane, now) { turns.join(number) } else { turns.leave(number) }
        }
        dueLanes.removeAll(keepingCapacity: true)
    }

    /// Gives out the free call slots by turns, and claims what may begin.
    func claimDue(_ now: Instant) {
        guard !claimUnderWay, !turns.isEmpty, intake.isConnected, mayAct(at: now), !isDraining else { return }
        var chosen: [Chosen] = []
        var roomForSuspects: Int?
        while chosen.count < Self.batchLimit, hasFreeSlot {
            if isOff(.rotation) { turns.beginRound() }
            guard let number = turns.next() else { break }
            guard let lane = lanes[number], wantsSlot(lane, now), let line = lineOfLane[number].flatMap({ lines[$0] })
            else { continue }
            ask(lane, line, now)
            // A closed gate: the answer makes the lane due again.
            guard let gateOpenUntil = lane.gate.admission(at: now, inAir: lane.queue.inAir) else { continue }
            guard hasFreeSlot else {
                turns.join(number)
                break
            }
            if lane.record.isSuspect {
                let room = roomForSuspects ?? self.roomForSuspects()
                roomForSuspects = room - 1
                guard room > 0 else {
                    suspectsWithoutRoom.insert(number)
                    continue
                }
            }
            if let job = begin(lane, line, chosen, now) {
                apply(lane.gate.began(at: now), to: lane)
                chosen.append(Chosen(job: job, lane: lane, gateOpenUntil: gateOpenUntil))
            }
            if mayBegin(lane, now) {
                turns.join(number)
            } else {
                wakeLane(lane, now)
            }
        }
        if !chosen.isEmpty { claim(chosen) }
    }

    /// Whether the lane could use a call slot, for a job or for a question about its health. If not, its timer says when to
    /// look again, or an event will.
    private func wantsSlot(_ lane: Lane, _ now: Instant) -> Bool {
        guard let line = lineOfLane[lane.number].flatMap({ lines[$0] }), shards[lane.shard]?.phase == .owned else {
            return false
        }
        wakeForScheduled(lane, now)
        if line.isOnHold(at: now) {
            if let ends = line.holdEnds { wakeLane(lane, at: ends, now) }
            return false
        }
        if let fault = line.fault {
            apply(lane.gate.unusable(fault, at: now), to: lane)
            // Whatever is wrong (a token file that cannot be read now) may be mended without a change of the row.
            readTokenAgain(line.id)
            wakeLane(lane, at: now + .seconds(15), now)
            return false
        }
        // Its end makes every lane of the origin due again.
        if isBroken(line) { return false }
        applyPace(lane, line, now)
        let isCapped = lane.isCapped(at: now)
        if isCapped { wakeLane(lane, at: now + Self.cappedLook, now) }
        if lane.queue.hasReadyWork(at: now, onlyStamped: isCapped),
            lane.gate.wantsQuestion(at: now) || mayBegin(lane, now)
        {
            return true
        }
        wakeLane(lane, now)
        return false
    }

    /// Whether a job of the lane may begin now, as far as order, pace, cap and gate go.
    private func mayBegin(_ lane: Lane, _ now: Instant) -> Bool {
        lane.gate.admits(at: now, inAir: lane.queue.inAir)
            && lane.queue.mayBegin(at: now, onlyStamped: lane.isCapped(at: now))
    }

    /// Begins the lane's next job that nothing holds up, and promises it a slot.
    private func begin(_ lane: Lane, _ line: Line, _ chosen: [Chosen], _ now: Instant) -> QueuedJob? {
        while let job = lane.queue.begin(at: now, onlyStamped: lane.isCapped(at: now)) {
            if let wait = wait(for: job, line, chosen, now) {
                putBack(job, lane, until: now + wait)
                continue
            }
            retryWaits[job.id.value] = nil
            slotsPromised += 1
            return job
        }
        return nil
    }

    /// What holds a job up that its lane would let go: the budget for repeated calls, or another job that may be deadly.
    private func wait(for job: QueuedJob, _ line: Line, _ chosen: [Chosen], _ now: Instant) -> Duration? {
        if job.isSuspect, !maySuspectBegin(chosen) { return .milliseconds(100) }
        return budgetWait(job, line, now)
    }

    /// A job that was begun in memory only waits on.
    private func putBack(_ job: QueuedJob, _ lane: Lane, until due: Instant) {
        lane.queue.takenBack(person: job.person)
        var again = job
        again.due = due
        lane.queue.add(again)
    }

    /// Arms the lane's timer for the moment at which time alone changes something.
    func wakeLane(_ lane: Lane, _ now: Instant) {
        wakeForScheduled(lane, now)
        guard var next = lane.queue.nextLook(after: now) else { return }
        // Ready work behind a closed gate waits for the gate, not for the clock.
        if next <= now, !lane.gate.admits(at: now, inAir: lane.queue.inAir) {
            guard let opening = lane.gate.nextLook(after: now) else { return }
            next = opening
        }
        // Ready, open and in pace, but not begun: a slot or a reply is missing, and those come as events.
        if next <= now { return }
        wakeLane(lane, at: next, now)
    }

    /// A scheduled job gets its place when its time has come, also on a line that may not send.
    private func wakeForScheduled(_ lane: Lane, _ now: Instant) {
        if let due = lane.queue.nextScheduled, due > now { wakeLane(lane, at: due, now) }
    }

    func wakeLane(_ lane: Lane, at next: Instant, _ now: Instant) {
        if let known = lane.nextLook, known > now, known <= next { return }
        lane.nextLook = next
        guard !isOff(.ownerTimer) else { return }
        let number = lane.number
        loop.at(next) { [weak self] in
            guard let self, let lane = self.lanes[number] else { return }
            if lane.nextLook == next { lane.nextLook = nil }
            self.dueLanes.insert(number)
        }
    }

    private func claim(_ chosen: [Chosen]) {
        claimUnderWay = true
        let sent = loop.present
        let request = ClaimRequest(
            jobs: chosen.map(\.job.id.value),
            owner: owner,
            lease: timing.lease,
            pace: paceWrites(of: chosen.map(\.lane.number))
        )
        intake.claim(request) { [weak self] result in
            guard let self else { return }
            self.claimUnderWay = false
            self.slotsPromised -= chosen.count
            switch result {
            case .success(let answers):
                self.claimed(chosen, answers, sent: sent)
            case .failure(let error):
                // The connection's loss throws the lanes' memory away; what is left here is an error of the statement.
                for entry in chosen where self.lanes[entry.lane.number] === entry.lane {
                    self.putBack(entry.job, entry.lane, until: self.loop.present + .milliseconds(200))
                    self.dueLanes.insert(entry.lane.number)
                }
                if !error.isConnectionLost { self.log.warning("claim failed", metadata: ["error": "\(error)"]) }
            }
        }
    }

    private func claimed(_ chosen: [Chosen], _ answers: [ClaimAnswer], sent: Instant) {
        var waiting: [Int64: Chosen] = [:]
        for entry in chosen { waiting[entry.job.id.value] = entry }
        var claims: [Int64] = []
        for answer in answers {
            guard let entry = waiting[answer.job] else { continue }
            if case .claimed(let claimed) = answer.verdict {
                if begun(entry, claimed, sent: sent) { claims.append(answer.job) }
            } else {
                notBegun(entry, answer.verdict)
            }
        }
        reached(.claimed, times: claims.count)
        for id in claims { carry(id) }
    }

    private func begun(_ entry: Chosen, _ claimed: ClaimedJob, sent: Instant) -> Bool {
        let (job, lane) = (entry.job, entry.lane)
        guard let name = lineOfLane[lane.number] else { return false }
        calls[job.id.value] = Call(
            job: job.id.value,
            attempt: claimed.attempt,
            tries: claimed.tries,
            lane: lane.number,
            line: name,
            person: job.person,
            place: job.place,
            jobClass: job.jobClass,
            isStamped: job.isStamped,
            isSuspect: job.isSuspect,
            key: claimed.key,
            request: claimed.request,
            sendBefore: claimed.sendBefore,
            gateOpenUntil: entry.gateOpenUntil,
            claimSent: sent
        )
        if job.isSuspect { suspectCall = job.id.value }
        if lanes[lane.number] !== lane { lanes[lane.number]?.queue.resume(person: job.person) }
        return true
    }

    private func notBegun(_ entry: Chosen, _ verdict: ClaimVerdict) {
        let (job, lane, now) = (entry.job, entry.lane, loop.present)
        // A lane that was given up has forgotten it.
        guard lanes[lane.number] === lane else { return }
        lane.queue.takenBack(person: job.person)
        dueLanes.insert(lane.number)
        func again(in wait: Duration) {
            var again = job
            again.due = now + wait
            lane.queue.add(again)
        }
        switch verdict {
        case .held:
            // The operator's hold reached the database before it reached us.
            again(in: .milliseconds(500))
        case .early:
            again(in: .milliseconds(100))
        case .capped(let wait):
            lane.cappedUntil = now + max(.seconds(1), wait)
            lane.queue.add(job)
        case .overtaken:
            // A row of that person that no owner has seen goes first.
            adoptWanted = true
            again(in: .milliseconds(20))
        case .lost:
            if let shard = shards[lane.shard] {
                log.warning("shard lost to another worker", metadata: ["shard": "\(shard.number)"])
                lose(shard)
            }
        case .busy:
            // Somebody began it, perhaps we, in a claim whose reply was lost.
            lookAgain(at: [job.id.value])
        case .gone, .expired, .superseded, .horizon, .claimed:
            break  // it ended or was parked
        case .unheard(let word):
            unheard(word, of: "claim")
            again(in: .seconds(10))
        }
    }

    /// When the next send of each paced lane may begin, to be kept for the next owner.
    func paceWrites(of numbers: [Int32]) -> PaceWrites {
        let now = loop.present
        var seen: Set<Int32> = []
        var result = PaceWrites()
        for number in numbers.sorted() where seen.insert(number).inserted {
            guard let next = lanes[number]?.queue.nextSend, next > now else { continue }
            result.lanes.append(number)
            result.next.append(Int32(clamping: (next - now).wholeMilliseconds))
        }
        return result
    }
}
