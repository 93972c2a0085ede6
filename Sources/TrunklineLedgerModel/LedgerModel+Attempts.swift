internal import TrunklineCore
package import TrunklineEngine

/// Beginning attempts and their effects, and what comes too late: claim, begin_effect, abandon, expire.
extension LedgerModel {
    private enum Look { case claimed, lost, busy, held, overtaken, early, expired, superseded, horizon, capped(Int64) }

    /// `trunkline.claim`.
    package func claim(_ request: ClaimRequest) -> [ClaimAnswer] {
        let held = held(request.owner)
        // Decided for all before anything changes: one snapshot.
        var looked = request.jobs.compactMap { id in row(id).map { (row: $0, look: look($0, held)) } }
        cap(&looked)
        var answers: [ClaimAnswer] = []
        for (row, look) in looked {
            answers.append(ClaimAnswer(job: row.id, verdict: apply(look, row, request)))
        }
        for id in request.jobs where !looked.contains(where: { $0.row.id == id }) {
            note(.gone)
            answers.append(ClaimAnswer(job: id, verdict: .gone))
        }
        keepPace(request.pace)
        return answers
    }

    private func look(_ row: JobRow, _ held: Set<Int32>) -> Look {
        if lockedJobs.contains(row.id) { return .early }
        guard let lane = lane(row.lane), held.contains(shard(of: lane)) else { return .lost }
        if ![.waiting, .unknown].contains(row.state) || row.place <= 0 { return .busy }
        if row.dueAt > now + 50_000 { return .early }
        if let before = row.sendBefore, before <= now { return .expired }
        if isReplaced(row) { return .superseded }
        if isHeld(lane), weakness != .hold { return .held }
        if let stamp = row.stamp, stamp < now - horizon(ofLane: row.lane), mutation != .horizonForgotten {
            return .horizon
        }
        if weakness == .order { return .claimed }
        let others = jobs.filter { $0.lane == row.lane && $0.person == row.person && $0.id != row.id && !$0.isParked }
        if row.state != .unknown,
            others.contains(where: { $0.place < row.place && ($0.place > 0 || $0.dueAt <= now) })
        {
            return .overtaken
        }
        if others.contains(where: { $0.place > 0 && [.sending, .unknown].contains($0.state) }) { return .overtaken }
        return .claimed
    }

    /// `trunkline.cap`.
    private func cap(_ looked: inout [(row: JobRow, look: Look)]) {
        guard mutation != .capIgnored else { return }
        var begun: [Int32: Int32] = [:]
        for (index, entry) in looked.enumerated() {
            guard let lane = lane(entry.row.lane), let limit = lane.dailyCap else { continue }
            let here = localTime(now, lane)
            let state = laneStates[lane.number] ?? LaneState()
            let isToday =
                state.sentOn == Self.floorDay(here) || mutation == .capOfYesterdayCounts && state.sentOn != nil
            let room = limit - (isToday ? state.sentToday : 0)
            guard case .claimed = entry.look, entry.row.stamp == nil || mutation == .capCountsStamped else {
                begun[lane.number, default: 0] += 0
                continue
            }
            if begun[lane.number, default: 0] >= room {
                looked[index].look = .capped((Self.floorDay(here) + 1) * Self.dayLength - here)
                begun[lane.number, default: 0] += 0
            } else {
                begun[lane.number, default: 0] += 1
            }
        }
        for (number, count) in begun {
            guard let lane = lane(number) else { continue }
            let day = Self.floorDay(localTime(now, lane))
            guard var state = laneStates[number] else { continue }
            state.sentToday = (state.sentOn == day ? state.sentToday : 0) + count
            state.sentOn = day
            laneStates[number] = state
        }
    }

    private func apply(_ look: Look, _ row: JobRow, _ request: ClaimRequest) -> ClaimVerdict {
        switch look {
        case .claimed:
            row.state = .sending
            row.reason = nil
            row.attempt += 1
            row.tries += 1
            row.claimedAt = now
            row.claimedBy = request.owner.boot
            row.leaseUntil = now + request.lease.microseconds
            row.isQuiet = lane(row.lane)?.beginsQuietly ?? false
            onClaim?(row, request.owner.boot)
            guard let key = try? IdempotencyKey(row.key) else { return .unheard("claimed") }
            return .claimed(
                ClaimedJob(
                    attempt: row.attempt,
                    tries: row.tries,
                    key: key,
                    request: row.request,
                    sendBefore: row.sendBefore,
                    isQuiet: row.isQuiet
                )
            )
        case .expired:
            if mutation == .lateClaimExpiresNothing { return .expired }
            if row.stamp == nil {
                note(.expired, row.key)
                end(row.id, "expired", Reason.sendBeforePassed.code)
            } else {
                park(row, .sendBeforePassedUnknown)
            }
            return .expired
        case .superseded:
            if row.stamp == nil {
                note(.superseded, row.key)
                end(row.id, "superseded", Reason.newerFact.code)
            } else {
                park(row, .supersededUnknown)
            }
            return .superseded
        case .horizon:
            park(row, .unknownHorizon)
            return .horizon
        case .held:
            note(.held)
            return .held
        case .overtaken:
            note(.overtaken)
            return .overtaken
        case .busy:
            note(.busy)
            return .busy
        case .lost:
            note(.fenceLost, "claim")
            return .lost
        case .early: return .early
        case .capped(let wait): return .capped(wait: .milliseconds((wait + 999) / 1_000))
        }
    }

    /// `trunkline.begin_effect`.
    package func beginEffect(_ given: [JobAttempt], by boot: BootID, lease: Duration) -> [JobAttempt] {
        given.compactMap { entry in
            guard !lockedJobs.contains(entry.job), let row = row(entry.job), row.state == .sending,
                row.attempt == entry.attempt || mutation == .effectOfAnotherAttempt,
                row.claimedBy == boot || mutation == .effectOfAnotherWorker,
                !row.cancelWanted || row.stamp != nil || mutation == .effectOfTheCancelled
            else { return nil }
            if mutation != .effectStaysQuiet { row.isQuiet = false }
            if mutation != .effectKeepsTheLease { row.leaseUntil = now + lease.microseconds }
            return JobAttempt(job: row.id, attempt: row.attempt)
        }
    }

    /// `trunkline.abandon`.
    package func abandon(_ given: [JobAttempt], _ owner: LedgerOwner) -> [SeenJob] {
        let held = held(owner)
        var marked: [JobRow] = []
        for entry in given {
            guard !lockedJobs.contains(entry.job), let row = row(entry.job),
                row.attempt == entry.attempt, row.state == .sending, let claimed = row.claimedAt,
                let lease = row.leaseUntil, lease < now,
                held.contains(shard(ofLane: row.lane))
            else { continue }
            note(.abandoned, row.key)
            if abandon(row, claimed) { marked.append(row) }
            let name = Self.attemptName(row.id, row.attempt, Self.floorDay(claimed))
            if attempts[name] == nil {
                attempts[name] = Attempt(outcome: "abandoned", reason: Reason.workerLost.code)
            }
        }
        return seen(marked)
    }

    /// Whether the job is still there.
    private func abandon(_ row: JobRow, _ claimed: Int64) -> Bool {
        let isHarmless =
            row.isQuiet && (row.stamp == nil || mutation == .quietOnesForgetTheirStamp)
            && mutation != .quietOnesAreStamped
        let isCancelled = isHarmless && row.cancelWanted && mutation != .quietCancelForgotten
        let isPoison = !isCancelled && row.isSuspect && row.crashes >= (mutation == .poisonAtTheSecond ? 1 : 2)
        row.state = isPoison ? .parked : isHarmless ? .waiting : .unknown
        row.reason = isPoison ? Reason.poison.code : Reason.workerLost.code
        row.parkedAt = isPoison ? now : nil
        if row.isSuspect { row.crashes += 1 }
        row.isSuspect = true
        row.dueAt = now
        row.stamp = isHarmless ? nil : row.stamp ?? claimed
        if row.isQuiet, mutation != .quietTriesCount { row.tries -= 1 }
        if isHarmless, mutation != .quietOnesKeepTheCap { giveBackCap(row) }
        guard isCancelled else { return true }
        note(.cancelled, row.key)
        end(row.id, "cancelled", Reason.cancelled.code)
        return false
    }

    /// `trunkline.expire`.
    package func expire(_ owner: LedgerOwner, limit: Int32) -> [JobOfPerson] {
        let held = held(owner)
        func isLate(_ row: JobRow) -> Bool { row.sendBefore.map { $0 <= now } ?? false }
        let mine = jobs.filter { held.contains(shard(ofLane: $0.lane)) && !$0.isParked }
        let late = mine.filter { isLate($0) && [.accepted, .waiting, .unknown].contains($0.state) }
            .sorted { ($0.sendBefore ?? 0) < ($1.sendBefore ?? 0) }.prefix(Int(limit))
        let old = mine.filter { row in
            row.state == .unknown && row.stamp.map { $0 < now - horizon(ofLane: row.lane) } ?? false
                && mutation != .horizonForgotten
        }.sorted { ($0.stamp ?? 0) < ($1.stamp ?? 0) }.prefix(Int(limit))
        let all = (late + old.filter { row in !late.contains { $0 === row } }).filter { !lockedJobs.contains($0.id) }
        for row in all {
            if row.stamp == nil {
                note(.expired, row.key)
                end(row.id, "expired", Reason.sendBeforePassed.code)
            } else {
                park(row, isLate(row) ? .sendBeforePassedUnknown : .unknownHorizon)
            }
        }
        return all.map { JobOfPerson(job: $0.id, lane: $0.lane, person: $0.person) }
    }
}
