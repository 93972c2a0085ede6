internal import CurlDriver
internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Beginning attempts of waiting jobs: committed before anything leaves.
extension Worker {
    private static let batchLimit = 256
    /// Between two looks at a line that has sent what it may today: is a job due that may have been sent before?
    private static let cappedLook: Duration = .seconds(5)

    /// Whether another call could begin, what is promised to claims under way counted in.
    var hasFreeSlot: Bool { http.freeSlots - slotsPromised > 0 }

    /// Looks at the lanes that are due and claims what may begin. What it cannot begin says when to look again.
    func claimDue(_ now: Instant) {
        guard !dueLanes.isEmpty, !claimUnderWay, intake.isConnected, mayAct(at: now), !isDraining else { return }
        var chosen: [(job: QueuedJob, lane: Lane)] = []
        var later: Set<Int32> = []
        for number in dueLanes.sorted() {
            guard let lane = lanes[number], let line = lineOfLane[number].flatMap({ lines[$0] }) else { continue }
            guard shards[lane.shard]?.phase == .owned else { continue }
            if line.isOnHold(at: now) {
                wakeForScheduled(lane, now)
                if let ends = line.holdEnds { wakeLane(lane, at: ends, now) }
                continue
            }
            if let fault = line.fault {
                lane.gate.sendHeld(.human, reason: .lineUnusable, detail: fault, at: now, jitter: 0)
                gateWrites.insert(number)
                // Whatever is wrong (a token file that cannot be read now) may be mended without a change of the row.
                readTokenAgain(line.id)
                wakeForScheduled(lane, now)
                wakeLane(lane, at: now + .seconds(15), now)
                continue
            }
            // Its end makes every lane of the origin due again.
            if isBroken(line) {
                wakeForScheduled(lane, now)
                continue
            }
            applyPace(lane, line, now)
            let isCapped = lane.cappedUntil.map { $0 > now } ?? false
            if isCapped { wakeLane(lane, at: now + Self.cappedLook, now) }
            guard lane.queue.hasReadyWork(at: now, onlyStamped: isCapped) else {
                wakeLane(lane, now)
                continue
            }
            ask(lane, line, now)
            guard lane.gate.isOpen(at: now) else {
                // The answer makes it due again, or its timer; without a slot for the question the next turn does.
                if lane.gate.wantsQuestion(at: now) { later.insert(number) } else { wakeLane(lane, now) }
                continue
            }
            while chosen.count < Self.batchLimit {
                guard hasFreeSlot, !lane.record.isSuspect || suspectsHaveRoom() else {
                    later.insert(number)
                    break
                }
                guard let job = lane.queue.begin(at: now, onlyStamped: isCapped) else { break }
                if let wait = wait(for: job, line, chosen, now) {
                    putBack(job, lane, until: now + wait)
                    continue
                }
                retryWaits[job.id.value] = nil
                slotsPromised += 1
                chosen.append((job, lane))
            }
            if chosen.count >= Self.batchLimit { later.insert(number) }
            wakeLane(lane, now)
        }
        dueLanes = later
        if !chosen.isEmpty { claim(chosen) }
    }

    /// What holds a job up that its lane would let go: the budget for repeated calls, or another job that may be deadly.
    private func wait(for job: QueuedJob, _ line: Line, _ chosen: [(job: QueuedJob, lane: Lane)], _ now: Instant)
        -> Duration?
    {
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
        if next <= now, !lane.gate.isOpen(at: now) {
            guard let question = lane.gate.nextQuestion(after: now) else { return }
            next = question
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

    private func claim(_ chosen: [(job: QueuedJob, lane: Lane)]) {
        claimUnderWay = true
        let sent = loop.present
        let fences = fencesOfOwned()
        let pace = paceWrites(of: chosen.map(\.lane.number))
        intake.execute(
            Statements.claim,
            [
                .uuid(boot), .int4(shardCount), .int4Array(fences.shards), .int8Array(fences.fences),
                .int4(Int32(clamping: timing.lease.wholeMilliseconds)), .int8Array(chosen.map(\.job.id.value)),
                .int4Array(pace.lanes), .int4Array(pace.next),
            ]
        ) { [weak self] result in
            guard let self else { return }
            self.claimUnderWay = false
            self.slotsPromised -= chosen.count
            switch result {
            case .success(let rows):
                self.claimed(chosen, rows, sent: sent)
            case .failure(let error):
                // The connection's loss throws the lanes' memory away; what is left here is an error of the statement.
                for (job, lane) in chosen where self.lanes[lane.number] === lane {
                    lane.queue.takenBack(person: job.person)
                    var again = job
                    again.due = loop.present + .milliseconds(200)
                    lane.queue.add(again)
                    self.dueLanes.insert(lane.number)
                }
                if !error.isConnectionLost { self.log.warning("claim failed", metadata: ["error": "\(error)"]) }
            }
        }
    }

    private func claimed(_ chosen: [(job: QueuedJob, lane: Lane)], _ rows: PostgresRows, sent: Instant) {
        var waiting: [Int64: (job: QueuedJob, lane: Lane)] = [:]
        for entry in chosen { waiting[entry.job.id.value] = entry }
        let now = loop.present
        var claims: [Int64] = []
        for row in 0..<rows.count {
            guard let id = rows.int8(row, 0), let verdict = rows.text(row, 1), let (job, lane) = waiting[id] else {
                continue
            }
            let isCurrent = lanes[lane.number] === lane
            if verdict == "claimed" {
                guard let attempt = rows.int4(row, 2), let tries = rows.int4(row, 3), let key = rows.text(row, 4),
                    let request = rows.bytes(row, 5), let name = lineOfLane[lane.number]
                else { continue }
                guard let key = try? IdempotencyKey(key) else { continue }
                calls[id] = Call(
                    job: id,
                    attempt: attempt,
                    tries: tries,
                    lane: lane.number,
                    line: name,
                    person: job.person,
                    place: job.place,
                    jobClass: job.jobClass,
                    isStamped: job.isStamped,
                    isSuspect: job.isSuspect,
                    key: key,
                    request: request,
                    sendBefore: rows.timestamp(row, 6),
                    claimSent: sent
                )
                claims.append(id)
                if !isCurrent { lanes[lane.number]?.queue.resume(person: job.person) }
                continue
            }
            guard isCurrent else { continue }
            lane.queue.takenBack(person: job.person)
            dueLanes.insert(lane.number)
            var again = job
            switch verdict {
            case "held":
                // The operator's hold reached the database before it reached us.
                again.due = now + .milliseconds(500)
                lane.queue.add(again)
            case "early":
                again.due = now + .milliseconds(100)
                lane.queue.add(again)
            case "capped":
                let wait: Duration = .milliseconds(max(1_000, Int64(rows.int4(row, 7) ?? 0)))
                lane.cappedUntil = now + wait
                lane.queue.add(again)
            case "overtaken":
                // A row of that person that no owner has seen goes first.
                adoptWanted = true
                again.due = now + .milliseconds(20)
                lane.queue.add(again)
            case "lost":
                if let shard = shards[lane.shard] {
                    log.warning("shard lost to another worker", metadata: ["shard": "\(shard.number)"])
                    lose(shard)
                }
            case "busy":
                // Somebody began it, perhaps we, in a claim whose reply was lost.
                lookAgain(at: [id])
            default:
                break  // gone, expired, superseded, horizon: it ended or was parked
            }
        }
        reached(.claimed, times: claims.count)
        for id in claims { carry(id) }
    }

    /// When the next send of each paced lane may begin, to be kept for the next owner.
    func paceWrites(of numbers: [Int32]) -> (lanes: [Int32], next: [Int32]) {
        let now = loop.present
        var seen: Set<Int32> = []
        var result: (lanes: [Int32], next: [Int32]) = ([], [])
        for number in numbers.sorted() where seen.insert(number).inserted {
            guard let next = lanes[number]?.queue.nextSend, next > now else { continue }
            result.lanes.append(number)
            result.next.append(Int32(clamping: (next - now).wholeMilliseconds))
        }
        return result
    }
}
