import PostgresDriver

/// Accepting jobs, and seeing rows: take, adopt, place_due, load, watch, forgotten, last_sends, lane_states.
extension SimDatabase {
    private struct Item {
        let number: Int
        let id: Int64
        let line: Line?
        let key: String
        let digest: [UInt8]
        let supersedeKey: String?
        let factAt: Int64?
        let isMine: Bool
        let isLost: Bool
    }

    /// `trunkline.take`.
    func take(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid
        let asked = p[2].int4s
        let held = held(boot, asked, p[3].int8s)
        let lease = Int64(p[4].int4) * 1_000
        let parked = p[6].text
        let keys = p[8].texts.map { $0! }
        let requests = p[13].byteas
        let persons = p[11].int8s
        let digests = p[10].byteas
        let fast = p[20].bools
        var items: [Item] = []
        for (index, key) in keys.enumerated() {
            let line = lines.first { $0.id == p[7].texts[index] }
            let shard = line.map { Int32($0.hash % Int64(shardCount)) }
            let supersedeKey = p[18].texts[index]
            items.append(
                Item(
                    number: index,
                    id: nextNumber(),
                    line: line,
                    key: key,
                    digest: digests[index],
                    supersedeKey: supersedeKey,
                    factAt: supersedeKey == nil ? nil : p[19].timestamps[index] ?? clock + Int64(index) + 1,
                    isMine: shard.map { held.contains($0) } ?? false,
                    isLost: boot != nil && shard.map { asked.contains($0) && !held.contains($0) } ?? false
                )
            )
        }
        var answers: [[PostgresParameter]] = []
        // What the statement's own snapshot sees: rows of this very take do not stand in each other's way.
        let before = jobs
        var entered: Set<Int64> = []
        for item in items {
            guard let line = item.line, !item.isLost, ledger[item.key] == nil || weakness == .ledger else { continue }
            ledger[item.key] = Entry(digest: item.digest, job: item.id, lane: line.lane)
            entered.insert(item.id)
        }
        for item in items where entered.contains(item.id) {
            guard let line = item.line else { continue }
            let person = persons[item.number]
            let notBefore = p[16].timestamps[item.number]
            let sendBefore = p[17].timestamps[item.number]
            let begins =
                item.isMine && fast[item.number] && !line.isHeld && parked == nil && item.supersedeKey == nil
                && notBefore ?? clock <= clock && sendBefore ?? .max > clock
                && (weakness == .head
                    || !before.contains {
                        $0.lane == line.lane && $0.person == person && $0.state != "parked"
                            && !($0.place <= 0 && $0.dueAt > clock)
                    })
            let isScheduled = notBefore.map { $0 > clock } ?? false
            let row = JobRow(
                id: item.id,
                lane: line.lane,
                key: item.key,
                person: person,
                request: requests[item.number],
                notBefore: notBefore,
                sendBefore: sendBefore,
                supersedeKey: item.supersedeKey,
                factAt: item.factAt,
                jobClass: p[5].int4,
                state: parked != nil ? "parked" : begins ? "sending" : item.isMine ? "waiting" : "accepted",
                reason: parked,
                place: parked != nil ? -1 : !item.isMine ? 0 : isScheduled ? -1 : item.id,
                dueAt: max(notBefore ?? clock, clock),
                acceptedAt: clock
            )
            if begins {
                world.hit(.fastPath)
                row.attempt = 1
                row.tries = 1
                row.claimedAt = clock
                row.claimedBy = boot
                row.leaseUntil = clock + lease
            }
            jobs.append(row)
            world.trace("\(row.key) is \(row.state), place \(row.place)")
            if begins { onClaim?(row, boot!) }
            answers.append([
                .int4(Int32(item.number + 1)), .text("new"), .int8(row.id), .int4(row.lane), .text(row.state),
                .int8(row.place), .int8(Self.milliseconds(row.dueAt - clock)), .int4(row.attempt), .null,
                .text(line.id),
            ])
            if let key = item.supersedeKey, let at = item.factAt, facts[key].map({ at > $0.at }) ?? true {
                facts[key] = Fact(at: at, job: row.id)
            }
        }
        for item in items where !entered.contains(item.id) {
            let entry = item.isLost || item.line == nil ? nil : ledger[item.key]
            let verdict: String
            if item.line == nil {
                verdict = "unknown_line"
            } else if item.isLost {
                verdict = "lost"
                world.hit(.fenceLost, "take")
            } else if entry?.digest == item.digest {
                verdict = "repeat"
                world.hit(.repeatedKey, item.key)
            } else {
                verdict = "conflict"
                world.hit(.keyConflict, item.key)
            }
            answers.append([
                .int4(Int32(item.number + 1)), .text(verdict), PostgresParameter(entry?.job),
                PostgresParameter(entry?.lane), .null, .null, .null, .null,
                PostgresParameter(entry.flatMap { finished[$0.job]?.state }),
                PostgresParameter(entry.flatMap { line(ofLane: $0.lane)?.id }),
            ])
        }
        supersedeOld(Set(items.compactMap(\.supersedeKey)))
        if boot != nil { keepPace(p[21].int4s, p[22].int4s) }
        return table([.int4, .text, .int8, .int4, .text, .int8, .int8, .int4, .text, .text], answers)
    }

    /// `trunkline.supersede`.
    private func supersedeOld(_ keys: Set<String>) {
        let old = jobs.filter { row in
            guard let key = row.supersedeKey, keys.contains(key), let fact = facts[key] else { return false }
            return row.factAt! < fact.at && ["accepted", "waiting"].contains(row.state) && row.stamp == nil
        }
        for row in old { world.hit(.superseded, row.key) }
        finish(old.map(\.id), "superseded", "newer_fact")
    }

    func keepPace(_ lanes: [Int32], _ next: [Int32]) {
        guard weakness != .pace else { return }
        for (lane, wait) in zip(lanes, next) { laneStates[lane]?.nextSend = clock + Int64(wait) * 1_000 }
    }

    // MARK: Rows as their owner sees them

    private static let seenColumns: [PostgresType] = [
        .int8, .int4, .int8, .int4, .text, .int8, .int8, .int4, .int4, .bool, .uuid, .int8, .bool, .int8,
    ]

    func seen(_ rows: [JobRow]) -> Answer {
        table(
            Self.seenColumns,
            rows.map { row in
                [
                    .int8(row.id), .int4(row.lane), .int8(row.person), .int4(row.jobClass), .text(row.state),
                    .int8(row.place), .int8(Self.milliseconds(row.dueAt - clock)), .int4(row.attempt), .int4(row.tries),
                    .bool(row.stamp != nil), PostgresParameter(row.claimedBy),
                    PostgresParameter(row.leaseUntil.map { ($0 - clock) / 1_000 }), .bool(row.isSuspect),
                    weakness == .gap ? .null : PostgresParameter(row.claimedAt.map { (clock - $0) / 1_000 }),
                ]
            }
        )
    }

    func adopt(_ p: [PostgresParameter]) -> Answer {
        let held = held(p[0].uuid, p[2].int4s, p[3].int8s)
        let latest = clock - Int64(p[4].int4) * 1_000
        let unseen = jobs.filter {
            $0.place == 0 && $0.id > p[6].int8 && held.contains(shard(ofLane: $0.lane)) && $0.acceptedAt <= latest
        }.prefix(Int(p[5].int4))
        for row in unseen {
            world.hits[.adopted] += 1
            row.state = "waiting"
            row.place = row.dueAt > clock || row.notBefore.map { $0 > row.acceptedAt } ?? false ? -1 : row.id
        }
        return seen(Array(unseen))
    }

    func placeDue(_ p: [PostgresParameter]) -> Answer {
        let held = held(p[0].uuid, p[2].int4s, p[3].int8s)
        let ids = Set(p[4].int8s)
        let persons = Set(
            jobs.filter {
                ids.contains($0.id) && $0.place == -1 && $0.state == "waiting" && $0.dueAt <= clock
                    && held.contains(shard(ofLane: $0.lane))
            }.map { [Int64($0.lane), $0.person] }
        )
        let due = jobs.filter {
            persons.contains([Int64($0.lane), $0.person]) && (-1...0).contains($0.place)
                && $0.state != "parked" && $0.dueAt <= clock && ($0.place == -1 || ($0.notBefore ?? 0) > $0.acceptedAt)
        }.sorted { ($0.dueAt, $0.id) < ($1.dueAt, $1.id) }
        for row in due {
            world.hits[.placedDue] += 1
            row.state = "waiting"
            row.place = nextNumber()
        }
        return seen(due)
    }

    func load(_ p: [PostgresParameter]) -> Answer {
        var after = (p[1].int8, p[2].int8, p[3].int8)
        var rows: [JobRow] = []
        for lane in p[0].int4s {
            rows += jobs.filter {
                $0.lane == lane && ($0.person, $0.place, $0.id) > after && $0.place != 0 && $0.state != "parked"
            }
            .sorted { ($0.person, $0.place, $0.id) < ($1.person, $1.place, $1.id) }
            after = (.min, .min, .min)
        }
        return seen(Array(rows.prefix(Int(p[4].int4))))
    }

    func watch(_ p: [PostgresParameter]) -> Answer {
        let ids = Set(p[0].int8s)
        return seen(jobs.filter { ids.contains($0.id) })
    }

    func forgotten(_ p: [PostgresParameter]) -> Answer {
        let asked = Set(p[1].int4s)
        let busy = Set(p.count > 2 ? p[2].int4s : [])
        let found = Set(
            jobs.filter {
                asked.contains(shard(ofLane: $0.lane)) && !busy.contains($0.lane) && $0.place != 0
                    && $0.state != "parked" && $0.dueAt < clock - 5_000_000
            }.map { shard(ofLane: $0.lane) }
        )
        return table([.int4], found.sorted().map { [.int4($0)] })
    }

    func lastSends(_ p: [PostgresParameter]) -> Answer {
        let asked = Set(p[1].int4s)
        func since(_ row: JobRow) -> Int64 {
            clock - Int64(line(ofLane: row.lane)?.gap ?? 0) * 1_000
        }
        var last: [String: (Int32, Int64, Int64)] = [:]
        func note(_ row: JobRow) {
            guard weakness != .gap, let at = row.claimedAt, asked.contains(shard(ofLane: row.lane)) else { return }
            let name = "\(row.lane) \(row.person)"
            if let known = last[name], known.2 >= at { return }
            last[name] = (row.lane, row.person, at)
        }
        for end in finished.values where end.at > since(end.row) { note(end.row) }
        for row in jobs where row.state == "parked" && row.claimedAt.map({ $0 > since(row) }) ?? false { note(row) }
        return table(
            [.int4, .int8, .int8],
            last.sorted { $0.key < $1.key }.map { [.int4($1.0), .int8($1.1), .int8((clock - $1.2) / 1_000)] }
        )
    }

    func laneStateRows(_ p: [PostgresParameter]) -> Answer {
        let asked = Set(p[1].int4s)
        func left(_ time: Int64) -> Int64 { max(0, min(86_400_000, (time - clock) / 1_000)) }
        return table(
            [.int4, .int8, .int8, .text, .text, .int4, .int8, .int8, .int8, .bool],
            laneStates.sorted { $0.key < $1.key }.filter { lane, state in
                asked.contains(shard(ofLane: lane))
                    && (max(state.nextSend, state.pausedUntil) > clock || !["unknown", "open"].contains(state.gate))
            }.map { lane, state in
                [
                    .int4(lane), .int8(left(state.nextSend)), .int8(left(state.pausedUntil)), .text(state.gate),
                    PostgresParameter(state.reason), .int4(state.probes), PostgresParameter(state.nextProbe.map(left)),
                    PostgresParameter(state.rampStarted.map { max(0, (clock - $0) / 1_000) }),
                    .int8(max(0, (clock - state.gateSince) / 1_000)), .bool(state.isHoldTold),
                ]
            }
        )
    }
}
