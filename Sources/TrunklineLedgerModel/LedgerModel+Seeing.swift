internal import TrunklineCore
package import TrunklineEngine

/// Rows as their owner sees them: adopt, place, load, watch, lanes, last sends, forgotten shards.
extension LedgerModel {
    func seen(_ rows: [JobRow]) -> [SeenJob] {
        rows.map { row in
            SeenJob(
                id: row.id,
                lane: row.lane,
                person: row.person,
                jobClass: row.jobClass,
                state: row.state,
                place: row.place,
                dueIn: dueIn(row),
                attempt: row.attempt,
                tries: row.tries,
                isStamped: row.stamp != nil,
                claimedBy: row.claimedBy,
                leaseLeft: row.leaseUntil.map { Self.milliseconds($0 - now) },
                isSuspect: row.isSuspect,
                claimedAgo: weakness == .gap ? nil : row.claimedAt.map { Self.milliseconds(now - $0) }
            )
        }
    }

    /// `trunkline.adopt`.
    package func adopt(_ owner: LedgerOwner, age: Duration, after start: Int64, limit: Int32) -> [SeenJob] {
        let held = held(owner)
        let latest = now - age.microseconds
        let unseen = jobs.filter {
            $0.place == 0 && !$0.isParked && $0.arrival > start && !lockedJobs.contains($0.id)
                && held.contains(shard(ofLane: $0.lane)) && ($0.acceptedAt <= latest || mutation == .adoptIgnoresAge)
        }.sorted { $0.arrival < $1.arrival }.prefix(Int(limit))
        for row in unseen {
            note(.adopted)
            row.state = .waiting
            row.place = row.dueAt > now || row.notBefore.map { $0 > row.acceptedAt } ?? false ? -1 : row.arrival
        }
        return seen(Array(unseen))
    }

    /// `trunkline.place_due`.
    package func place(_ ids: [Int64], _ owner: LedgerOwner) -> [SeenJob] {
        let held = held(owner)
        let persons = Set(
            jobs.filter {
                ids.contains($0.id) && $0.place == -1 && $0.state == .waiting && $0.dueAt <= now
                    && held.contains(shard(ofLane: $0.lane))
            }.map { [Int64($0.lane), $0.person] }
        )
        var due = jobs.filter {
            persons.contains([Int64($0.lane), $0.person]) && (-1...0).contains($0.place) && !$0.isParked
                && $0.dueAt <= now && ($0.place == -1 || ($0.notBefore ?? 0) > $0.acceptedAt)
        }
        let heldUp = Set(due.filter { lockedJobs.contains($0.id) }.map { [Int64($0.lane), $0.person] })
        due.removeAll { heldUp.contains([Int64($0.lane), $0.person]) }
        let inOrder =
            mutation == .placesInOrderOfNumbers
            ? due.sorted { $0.id < $1.id } : due.sorted { ($0.dueAt, $0.id) < ($1.dueAt, $1.id) }
        for row in inOrder {
            note(.placedDue)
            row.state = .waiting
            row.place = nextNumber()
        }
        return seen(due)
    }

    /// `trunkline.load`.
    package func load(_ lanes: [Int32], after key: RowKey, limit: Int32) -> [SeenJob] {
        var after = (key.person, key.place, key.job)
        var rows: [JobRow] = []
        for lane in lanes {
            rows += jobs.filter {
                $0.lane == lane && ($0.person, $0.place, $0.id) > after
                    && ($0.place != 0 || mutation == .loadShowsUnseen)
                    && !$0.isParked
            }
            .sorted { ($0.person, $0.place, $0.id) < ($1.person, $1.place, $1.id) }
            after = (.min, .min, .min)
        }
        return seen(Array(rows.prefix(Int(limit))))
    }

    package func watch(_ ids: [Int64]) -> [SeenJob] { seen(jobs.filter { ids.contains($0.id) }) }

    package func forgotten(_ asked: [Int32], busy: [Int32]) -> [Int32] {
        let found = jobs.filter {
            asked.contains(shard(ofLane: $0.lane)) && !busy.contains($0.lane) && $0.place != 0 && !$0.isParked
                && $0.dueAt < now - 5_000_000
        }
        return Set(found.map { shard(ofLane: $0.lane) }).sorted()
    }

    /// `trunkline.last_sends`.
    package func lastSends(_ asked: [Int32]) -> [LastSend] {
        guard weakness != .gap else { return [] }
        var last: [JobOfPerson: Int64] = [:]
        func note(_ lane: Int32, _ person: Int64, _ at: Int64) {
            guard let known = self.lane(lane), asked.contains(shard(of: known)),
                known.gap > 0, at > now - Int64(known.gap) * 1_000
            else { return }
            let name = JobOfPerson(job: 0, lane: lane, person: person)
            last[name] = max(last[name] ?? at, at)
        }
        for end in finished.values where end.claimedAt != nil { note(end.lane, end.person, end.at) }
        for row in jobs where row.isParked { if let at = row.claimedAt { note(row.lane, row.person, at) } }
        return last.sorted { ($0.key.lane, $0.key.person) < ($1.key.lane, $1.key.person) }.map {
            LastSend(lane: $0.key.lane, person: $0.key.person, ago: Self.milliseconds(now - $0.value))
        }
    }

    package func lanes(ofShards asked: [Int32]) -> [LaneRow] {
        func left(_ time: Int64) -> Duration {
            time <= now ? .zero : .milliseconds(min(86_400_000, (time - now) / 1_000))
        }
        func since(_ time: Int64, limit: Int64) -> Duration { .milliseconds(max(0, min(limit, (now - time) / 1_000))) }
        return laneStates.sorted { $0.key < $1.key }.filter { lane, state in
            asked.contains(shard(ofLane: lane))
                && (max(state.nextSend, state.pausedUntil) > now || ![.unknown, .open].contains(state.gate))
        }.map { lane, state in
            LaneRow(
                lane: lane,
                nextSendIn: left(state.nextSend),
                pausedFor: left(state.pausedUntil),
                gate: .heard(state.gate),
                gateReason: state.reason,
                probes: state.probes,
                nextProbeIn: state.nextProbe.map(left),
                rampingFor: state.rampStarted.map { since($0, limit: 86_400_000) },
                gateFor: since(state.gateSince, limit: 8_640_000_000),
                isHoldTold: state.isHoldTold
            )
        }
    }
}
