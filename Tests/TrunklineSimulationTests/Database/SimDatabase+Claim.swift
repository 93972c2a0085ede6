import PostgresDriver

/// Beginning and ending attempts: claim, abandon, expire, settle; and what people do to jobs.
extension SimDatabase {
    /// `trunkline.claim`.
    func claim(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid!
        let held = held(boot, p[2].int4s, p[3].int8s)
        let lease = Int64(p[4].int4) * 1_000
        var verdicts: [(id: Int64, row: JobRow?, verdict: String)] = []
        for id in p[5].int8s {
            guard let row = row(id) else {
                verdicts.append((id, nil, "gone"))
                world.hits[.gone] += 1
                continue
            }
            verdicts.append((id, row, verdict(row, held)))
        }
        // Decided for all before anything changes: one snapshot.
        var answers: [[PostgresParameter]] = []
        for (id, row, verdict) in verdicts {
            var begun: JobRow?
            world.trace("\(row?.key ?? "job \(id)"): \(verdict)")
            if let row {
                switch verdict {
                case "claimed":
                    row.state = "sending"
                    row.reason = nil
                    row.attempt += 1
                    row.tries += 1
                    row.claimedAt = clock
                    row.claimedBy = boot
                    row.leaseUntil = clock + lease
                    begun = row
                    onClaim?(row, boot)
                case "expired", "superseded":
                    if row.stamp == nil {
                        world.hit(verdict == "expired" ? .expired : .superseded, row.key)
                        finish([id], verdict, verdict == "expired" ? "send_before_passed" : "newer_fact")
                    } else {
                        park(row, verdict == "expired" ? "send_before_passed_unknown" : "superseded_unknown")
                    }
                case "horizon": park(row, "unknown_horizon")
                case "held": world.hits[.heldByPeople] += 1
                case "overtaken": world.hits[.overtaken] += 1
                case "busy": world.hits[.busy] += 1
                case "lost": world.hit(.fenceLost, "claim")
                default: break
                }
            }
            answers.append([
                .int8(id), .text(verdict), PostgresParameter(begun?.attempt), PostgresParameter(begun?.tries),
                PostgresParameter(begun?.key), begun.map { .bytes($0.request) } ?? .null,
                begun?.sendBefore.map { .timestamp(microseconds: $0) } ?? .null, .null,
            ])
        }
        keepPace(p[6].int4s, p[7].int4s)
        return table([.int8, .text, .int4, .int4, .text, .bytea, .timestamptz, .int4], answers)
    }

    private func verdict(_ row: JobRow, _ held: Set<Int32>) -> String {
        if !held.contains(shard(ofLane: row.lane)) { return "lost" }
        if !["waiting", "unknown"].contains(row.state) || row.place <= 0 { return "busy" }
        if row.dueAt > clock + 50_000 { return "early" }
        if let before = row.sendBefore, before <= clock { return "expired" }
        if let key = row.supersedeKey, let fact = facts[key], fact.at > row.factAt! { return "superseded" }
        if line(ofLane: row.lane)!.isHeld, weakness != .hold { return "held" }
        if let stamp = row.stamp, stamp < clock - 12 * 3_600_000_000 { return "horizon" }
        if weakness == .order { return "claimed" }
        let others = jobs.filter { $0.lane == row.lane && $0.person == row.person && $0.id != row.id }
        if row.state != "unknown",
            others.contains(where: {
                $0.place < row.place && $0.state != "parked" && ($0.place > 0 || $0.dueAt <= clock)
            })
        {
            return "overtaken"
        }
        if others.contains(where: { $0.place > 0 && ["sending", "unknown"].contains($0.state) }) { return "overtaken" }
        return "claimed"
    }

    private func park(_ row: JobRow, _ reason: String) {
        row.state = "parked"
        row.reason = reason
        row.dueAt = clock
        world.hits[.parked] += 1
    }

    /// `trunkline.abandon`.
    func abandon(_ p: [PostgresParameter]) -> Answer {
        let held = held(p[0].uuid, p[2].int4s, p[3].int8s)
        var marked: [JobRow] = []
        for (id, attempt) in zip(p[4].int8s, p[5].int4s) {
            guard let row = row(id), row.attempt == attempt, row.state == "sending", row.leaseUntil! < clock,
                held.contains(shard(ofLane: row.lane))
            else { continue }
            world.hit(.abandoned, row.key)
            let isPoison = row.isSuspect && row.crashes >= 2
            row.state = isPoison ? "parked" : "unknown"
            row.reason = isPoison ? "poison" : "worker_lost"
            if row.isSuspect { row.crashes += 1 }
            row.isSuspect = true
            row.dueAt = clock
            row.stamp = row.stamp ?? row.claimedAt
            marked.append(row)
        }
        return seen(marked)
    }

    /// `trunkline.expire`.
    func expire(_ p: [PostgresParameter]) -> Answer {
        let held = held(p[0].uuid, p[2].int4s, p[3].int8s)
        let late = jobs.filter {
            ($0.sendBefore.map { $0 <= clock } ?? false) && ["accepted", "waiting", "unknown"].contains($0.state)
                && held.contains(shard(ofLane: $0.lane))
        }
        for row in late {
            if row.stamp == nil {
                world.hit(.expired, row.key)
                finish([row.id], "expired", "send_before_passed")
            } else {
                park(row, "send_before_passed_unknown")
            }
        }
        return table([.int8, .int4, .int8], late.map { [.int8($0.id), .int4($0.lane), .int8($0.person)] })
    }

    /// `trunkline.settle`.
    func settle(_ p: [PostgresParameter]) -> Answer {
        let ids = p[1].int8s
        let attempts = p[2].int4s
        let outcomes = p[3].texts.map { $0! }
        let left = p[6].bools
        var looked: [(row: JobRow?, verdict: String)] = []
        for (index, id) in ids.enumerated() {
            let row = row(id)
            looked.append((row, verdict(row, attempts[index], outcomes[index], left[index])))
        }
        var answers: [[PostgresParameter]] = []
        for (index, id) in ids.enumerated() {
            let (row, verdict) = looked[index]
            world.trace("\(row?.key ?? "job \(id)") attempt \(attempts[index]): \(outcomes[index]), \(verdict)")
            var answer = verdict
            switch verdict {
            case "sent", "late_sent":
                if let row, self.row(id) != nil {
                    if verdict == "late_sent" { world.hit(.lateSent, row.key) }
                    finish([id], "sent", verdict == "late_sent" ? "late" : "")
                    onSettledSent?(row)
                }
            case "waiting", "unknown", "parked", "parked_unknown", "cancelled":
                let row = row!
                row.state = verdict == "parked_unknown" ? "parked" : verdict == "cancelled" ? "waiting" : verdict
                row.reason = verdict == "parked_unknown" ? "unknown_horizon" : p[4].texts[index]
                row.dueAt = clock + Int64(p[5].int4s[index]) * 1_000
                if outcomes[index] == "given_back" {
                    row.tries -= 1
                    world.hits[.givenBack] += 1
                } else {
                    row.isSuspect = false
                }
                if left[index], weakness != .stamp { row.stamp = row.stamp ?? row.claimedAt }
                if verdict == "unknown" { world.hits[.unknown] += 1 }
                if row.state == "parked" {
                    world.hits[.parked] += 1
                    answer = "parked"
                }
                if verdict == "cancelled" {
                    world.hit(.cancelled, row.key)
                    finish([id], "cancelled", "cancelled")
                }
            case "stale": world.hit(.stale, "job \(id)")
            default:
                if outcomes[index] == "sent", var end = finished[id] {
                    answer = "evidence"
                    if end.state != "sent" {
                        end.state = "sent"
                        end.reason = "late"
                        finished[id] = end
                    }
                } else {
                    answer = "stale"
                    world.hit(.stale, "job \(id)")
                }
            }
            answers.append([.int8(id), .text(answer), .int4(attempts[index])])
        }
        return table([.int8, .text, .int4], answers)
    }

    private func verdict(_ row: JobRow?, _ attempt: Int32, _ outcome: String, _ mayHaveLeft: Bool) -> String {
        guard let row else { return "ended" }
        let isCurrent = row.attempt == attempt && row.state == "sending"
        if outcome == "sent" { return isCurrent ? "sent" : "late_sent" }
        if !isCurrent { return "stale" }
        if outcome == "park" { return "parked" }
        if row.cancelWanted, row.stamp == nil, !mayHaveLeft { return "cancelled" }
        if row.stamp != nil || mayHaveLeft && weakness != .stamp {
            return (row.stamp ?? row.claimedAt!) < clock - 12 * 3_600_000_000 ? "parked_unknown" : "unknown"
        }
        return "waiting"
    }

    func pause(_ p: [PostgresParameter]) -> Answer {
        let lane = p[0].int4
        if let known = laneStates[lane]?.pausedUntil {
            laneStates[lane]!.pausedUntil = max(known, clock + Int64(p[1].int4) * 1_000)
        }
        return .success(Self.none)
    }

    func gate(_ p: [PostgresParameter]) -> Answer {
        for (index, lane) in p[0].int4s.enumerated() {
            guard var state = laneStates[lane] else { continue }
            let before = state
            state.gate = p[1].texts[index]!
            state.isHoldTold = before.isHoldTold && state.isHeld
            if before.gate != state.gate, !(before.isHeld && state.isHeld) { state.gateSince = clock }
            state.reason = p[2].texts[index]
            if p.count > 3 {
                state.probes = p[3].int4s[index]
                state.nextProbe = p[4].maybeInt4s[index].map { clock + Int64($0) * 1_000 }
                state.rampStarted = p[5].maybeInt4s[index].map { clock - Int64($0) * 1_000 }
            }
            laneStates[lane] = state
        }
        return .success(Self.none)
    }

    func holdTold(_ p: [PostgresParameter]) -> Answer {
        for lane in p[0].int4s { laneStates[lane]?.isHoldTold = true }
        return .success(Self.none)
    }

    func refuse(_ p: [PostgresParameter]) -> Answer {
        for (index, kind) in p[1].texts.enumerated() {
            world.hit(.refusal, kind!)
            refusals.append((kind!, p[5].texts[index], p[7].byteas[index]))
        }
        return .success(Self.none)
    }

    func suspect(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid!
        var known = suspects[p[1].bytes!] ?? (boot, 1)
        if known.reader != boot { known = (boot, known.readers + 1) }
        suspects[p[1].bytes!] = known
        world.hits[.suspectMessage] += 1
        return table([.int4], [[.int4(known.readers)]])
    }

    func unsuspect(_ p: [PostgresParameter]) -> Answer {
        suspects[p[0].bytes!] = nil
        return .success(Self.none)
    }

    // MARK: People

    func cancel(_ key: String) {
        guard let row = row(ofKey: key) else { return }
        if ["accepted", "waiting"].contains(row.state), row.stamp == nil {
            world.hit(.cancel, key)
            finish([row.id], "cancelled", "cancelled")
        } else if row.state == "sending" {
            world.hit(.cancel, "\(key), in the air")
            row.cancelWanted = true
        }
    }

    /// The row becomes unseen again, until its owner's sweep.
    func reschedule(_ key: String, to time: Int64) {
        guard let row = row(ofKey: key), ["accepted", "waiting"].contains(row.state), row.stamp == nil,
            time < row.sendBefore ?? .max
        else { return }
        world.hit(.reschedule, key)
        row.state = "accepted"
        row.place = 0
        row.notBefore = time
        row.dueAt = time
    }
}
