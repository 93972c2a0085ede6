internal import TrunklineCore
package import TrunklineEngine

/// Outcomes, pauses and gates.
extension LedgerModel {
    private enum Look { case ended, sent, lateSent, stale, parked, cancelled, parkedUnknown, unknown, waiting }

    private struct Looked {
        let outcome: Settlement
        let row: JobRow?
        let look: Look
        /// As they were before.
        let attempt: Int32?
        let stamp: Int64?
    }

    /// `trunkline.settle`. At most one outcome of a job in a call.
    package func settle(_ outcomes: [Settlement], by boot: BootID) -> [SettleAnswer] {
        let looked = outcomes.filter { !lockedJobs.contains($0.job) }.map { outcome in
            let row = row(outcome.job)
            return Looked(
                outcome: outcome,
                row: row,
                look: look(outcome, row),
                attempt: row?.attempt,
                stamp: row?.stamp
            )
        }
        for entry in looked { apply(entry) }
        for entry in looked { record(entry) }
        for entry in looked { settleLate(entry) }
        return looked.map { entry in
            SettleAnswer(job: entry.outcome.job, attempt: entry.outcome.attempt, verdict: verdict(entry))
        }
    }

    private func look(_ outcome: Settlement, _ row: JobRow?) -> Look {
        guard let row else { return .ended }
        let isCurrent = row.attempt == outcome.attempt && row.state == .sending
        if outcome.outcome == .sent {
            return isCurrent ? .sent : mutation == .lateSentIsStale ? .stale : .lateSent
        }
        if !isCurrent { return mutation == .staleChangesTheJob && row.attempt == outcome.attempt ? .waiting : .stale }
        if outcome.outcome == .park { return .parked }
        if row.cancelWanted, row.stamp == nil, !outcome.mayHaveLeft, mutation != .cancelForgotten { return .cancelled }
        if row.stamp != nil || outcome.mayHaveLeft && weakness != .stamp {
            return row.stamp ?? row.claimedAt ?? now < now - horizon(ofLane: row.lane) ? .parkedUnknown : .unknown
        }
        return .waiting
    }

    private func verdict(_ entry: Looked) -> SettleVerdict {
        switch entry.look {
        case .ended: entry.outcome.outcome == .sent ? .evidence : .stale
        case .sent: .sent
        case .lateSent: .lateSent
        case .stale: .stale
        case .parked, .parkedUnknown: .parked
        case .cancelled: .cancelled
        case .unknown: .unknown
        case .waiting: .waiting
        }
    }

    private func apply(_ entry: Looked) {
        let outcome = entry.outcome
        switch entry.look {
        case .ended, .stale: note(.stale, "job \(outcome.job)")
        case .sent, .lateSent:
            guard let row = entry.row else { return }
            if entry.look == .lateSent { note(.lateSent, row.key) }
            end(
                row.id,
                "sent",
                nil,
                attempt: outcome.attempt,
                remoteID: outcome.remoteID,
                evidence: outcome.evidence
            )
            countSent(row.lane)
            onSent?(row)
        case .waiting, .unknown, .parked, .parkedUnknown, .cancelled:
            guard let row = entry.row else { return }
            change(row, entry)
            if entry.stamp == nil, !outcome.mayHaveLeft, [.waiting, .parked, .cancelled].contains(entry.look) {
                giveBackCap(row)
            }
            if entry.look == .cancelled {
                note(.cancelled, row.key)
                end(row.id, "cancelled", Reason.cancelled.code)
            }
        }
    }

    private func change(_ row: JobRow, _ entry: Looked) {
        let outcome = entry.outcome
        let isParked = entry.look == .parked || entry.look == .parkedUnknown
        row.state = isParked ? .parked : entry.look == .unknown ? .unknown : .waiting
        row.reason = entry.look == .parkedUnknown ? Reason.unknownHorizon.code : outcome.reason
        row.parkedAt = isParked ? now : nil
        row.dueAt = now + outcome.dueIn.microseconds
        if outcome.outcome == .givenBack {
            if mutation != .triesNotGivenBack { row.tries -= 1 }
            note(.givenBack)
        } else if mutation != .suspicionStays {
            row.isSuspect = false
        }
        if outcome.mayHaveLeft, weakness != .stamp { row.stamp = row.stamp ?? row.claimedAt }
        row.evidence = outcome.evidence ?? row.evidence
        if entry.look == .unknown { note(.unknown) }
        if isParked { note(.parked) }
    }

    /// `trunkline.give_back_cap`, for one job.
    func giveBackCap(_ row: JobRow) {
        guard mutation != .capNotGivenBack, let lane = lane(row.lane), lane.dailyCap != nil,
            let claimed = row.claimedAt,
            Self.floorDay(localTime(claimed, lane)) == Self.floorDay(localTime(now, lane))
        else { return }
        let count = laneStates[lane.number]?.sentToday ?? 0
        laneStates[lane.number]?.sentToday = max(0, count - 1)
    }

    private func countSent(_ lane: Int32) {
        let known = sentToday[lane]
        sentToday[lane] = (today, 1 + (known?.day == today ? known?.jobs ?? 0 : 0))
    }

    /// A first attempt that was sent lives in the finished row; every other one has its own.
    private func record(_ entry: Looked) {
        let outcome = entry.outcome
        guard entry.look != .ended, outcome.attempt == entry.attempt, !(entry.look == .sent && outcome.attempt == 1)
        else {
            return
        }
        let name = Self.attemptName(outcome.job, outcome.attempt, Self.floorDay(entry.row?.claimedAt ?? now))
        guard attempts[name] == nil else { return }
        let word =
            switch entry.look {
            case .stale: "stale"
            case .parked: "parked"
            default: outcome.outcome.rawValue
            }
        attempts[name] = Attempt(outcome: word, reason: outcome.reason, status: outcome.status)
    }

    /// `trunkline.settle_late`.
    private func settleLate(_ entry: Looked) {
        let outcome = entry.outcome
        let isOvertaken = entry.attempt.map { $0 != outcome.attempt } ?? false
        guard entry.look == .lateSent || entry.look == .ended || isOvertaken else { return }
        let isSent = outcome.outcome == .sent
        let end = entry.look == .ended ? finished[outcome.job] : nil
        let recorded = attempts.keys.first { $0.hasPrefix("\(outcome.job) \(outcome.attempt) ") }
        if isSent, let end, end.state != "sent" {
            ledger[Scoped(end.scope, end.key)]?.finalState = "sent"
            if Self.floorDay(end.at) == today { countSent(end.lane) }
        }
        if let recorded {
            if isSent, attempts[recorded]?.outcome == "abandoned" {
                attempts[recorded] = Attempt(outcome: "sent", reason: outcome.reason, status: outcome.status)
            }
        } else if entry.look != .ended && isOvertaken
            || end.map({ !(isSent && outcome.attempt == 1 && $0.attempt == 1) }) ?? false
        {
            attempts[Self.attemptName(outcome.job, outcome.attempt, today)] = Attempt(
                outcome: isSent ? "sent" : "stale",
                reason: outcome.reason,
                status: outcome.status
            )
        }
        if isSent, let end, end.state != "sent" {
            finished[outcome.job]?.state = "sent"
            finished[outcome.job]?.reason = Reason.late.code
            finished[outcome.job]?.remoteID = outcome.remoteID
        }
    }

    // MARK: Lanes

    package func pause(_ lane: Int32, for span: Duration) {
        guard let known = laneStates[lane]?.pausedUntil else { return }
        laneStates[lane]?.pausedUntil = max(known, now + span.microseconds)
    }

    package func keepGates(_ gates: [GateRow]) {
        for row in gates {
            guard var state = laneStates[row.lane] else { continue }
            let isHold = row.gate.isHold
            let goesOn = state.gate == row.gate || state.gate.isHold && isHold
            if !goesOn || mutation == .gateForgetsHold { state.gateSince = now }
            state.gate = row.gate
            state.isHoldTold = state.isHoldTold && isHold
            state.reason = row.reason
            state.probes = row.probes
            state.nextProbe = row.nextProbeIn.map { now + $0.microseconds }
            state.rampStarted = row.rampingFor.map { now - $0.microseconds }
            laneStates[row.lane] = state
        }
    }

    package func holdTold(_ lanes: [Int32]) {
        for lane in lanes { laneStates[lane]?.isHoldTold = true }
    }
}
