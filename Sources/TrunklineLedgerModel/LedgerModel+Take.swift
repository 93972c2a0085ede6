internal import TrunklineCore
package import TrunklineEngine

/// Accepting: take, received events, refusals, suspect messages.
extension LedgerModel {
    private struct Item {
        let index: Int
        let id: Int64
        let lane: Lane?
        let key: String
        let digest: [UInt8]
        let supersedeKey: String?
        let factAt: Int64?
        let isMine: Bool
        let isLost: Bool

        var isEnterable: Bool { lane != nil && !isLost }
    }

    /// `trunkline.take`.
    package func take(_ request: TakeRequest) -> [TakeAnswer] {
        let items = items(of: request)
        // What the statement's own snapshot sees: rows of this very take do not stand in each other's way.
        let before = jobs
        var entered: Set<Int64> = []
        for item in items {
            guard let lane = item.lane, item.isEnterable, !lane.isRemoved || mutation == .removedLaneTakes else {
                continue
            }
            guard entry(of: item, lane) == nil || weakness == .ledger else { continue }
            ledger[Scoped(scope(of: lane), item.key)] = Entry(digest: item.digest, job: item.id, lane: lane.number)
            entered.insert(item.id)
        }
        var answers: [TakeAnswer] = []
        for item in items where entered.contains(item.id) {
            guard let lane = item.lane else { continue }
            raise(item, lane, first: items[0].id)
            let row = make(item, lane, request, before)
            answers.append(
                TakeAnswer(
                    item: item.index,
                    verdict: .new(
                        TakenJob(
                            job: row.id,
                            lane: row.lane,
                            state: row.state,
                            place: row.place,
                            dueIn: dueIn(row),
                            attempt: row.attempt
                        )
                    )
                )
            )
        }
        for item in items where !entered.contains(item.id) {
            answers.append(TakeAnswer(item: item.index, verdict: known(item)))
        }
        supersede(items)
        if request.owner != nil { keepPace(request.pace) }
        return answers
    }

    private func items(of request: TakeRequest) -> [Item] {
        let batch = request.batch
        let held = held(request.owner)
        let asked = Set(request.owner?.shards ?? [])
        return (0..<batch.count).map { index in
            let lane = lanes.first { $0.name.value == batch.lane[index] }
            let shard = lane.map { self.shard(of: $0) }
            let supersedeKey = batch.supersedeKey[index]
            return Item(
                index: index,
                id: nextNumber(),
                lane: lane,
                key: batch.key[index] ?? "",
                digest: batch.contentDigest[index] ?? [],
                supersedeKey: supersedeKey,
                // Who does not say when the fact happened says it now, in order of arrival.
                factAt: supersedeKey == nil ? nil : batch.factAt[index] ?? now + Int64(index) + 1,
                isMine: shard.map { held.contains($0) } ?? false,
                isLost: shard.map { asked.contains($0) && !held.contains($0) } ?? false
            )
        }
    }

    private func entry(of item: Item, _ lane: Lane) -> Entry? {
        if mutation == .keysOfAllScopes { return ledger.first { $0.key.name == item.key }?.value }
        return ledger[Scoped(scope(of: lane), item.key)]
    }

    /// `first`: the first number of the take.
    private func raise(_ item: Item, _ lane: Lane, first: Int64) {
        guard let key = item.supersedeKey, let at = item.factAt else { return }
        let name = Scoped(scope(of: lane), key)
        // Of the same moment the last one of a take counts, and that of an earlier take stays.
        let isNewer = facts[name].map { at > $0.at || at == $0.at && $0.job >= first } ?? true
        if mutation == .olderFactWins ? facts[name] == nil : isNewer { facts[name] = Fact(at: at, job: item.id) }
    }

    private func make(_ item: Item, _ lane: Lane, _ request: TakeRequest, _ before: [JobRow]) -> JobRow {
        let (batch, index, parked) = (request.batch, item.index, request.parked != nil)
        let person = batch.person[index] ?? 0
        let (notBefore, sendBefore) = (batch.notBefore[index], batch.sendBefore[index])
        let isFree =
            weakness == .head
            || !before.contains {
                $0.lane == lane.number && $0.person == person && !$0.isParked && !($0.place <= 0 && $0.dueAt > now)
            }
        // What may be superseded or capped, or begins quietly, is looked at by claim.
        let begins =
            item.isMine && batch.fast[index] == true && !isHeld(lane) && !parked && item.supersedeKey == nil
            && (lane.dailyCap == nil || mutation == .capIgnored)
            && (!lane.beginsQuietly || mutation == .quietOnTheFastPath) && notBefore ?? now <= now
            && sendBefore ?? .max > now && isFree
        let isScheduled = notBefore.map { $0 > now } ?? false && mutation != .scheduledGetPlacesAtOnce
        let row = JobRow(
            id: item.id,
            lane: lane,
            scope: scope(of: lane),
            key: item.key,
            person: person,
            request: batch.request[index] ?? [],
            notBefore: notBefore,
            sendBefore: sendBefore,
            supersedeKey: item.supersedeKey,
            factAt: item.factAt,
            jobClass: request.jobClass,
            state: parked ? .parked : begins ? .sending : item.isMine ? .waiting : .accepted,
            place: parked ? -1 : !item.isMine ? 0 : isScheduled ? -1 : item.id,
            dueAt: max(notBefore ?? now, now),
            acceptedAt: now
        )
        row.reason = request.parked?.code
        if parked { row.parkedAt = now }
        jobs.append(row)
        if begins, let owner = request.owner {
            note(.begunByTake, row.key)
            row.attempt = 1
            row.tries = 1
            row.claimedAt = now
            row.claimedBy = owner.boot
            row.leaseUntil = now + request.lease.microseconds
            onClaim?(row, owner.boot)
        }
        return row
    }

    /// `trunkline.take_known`.
    private func known(_ item: Item) -> TakeVerdict {
        guard let lane = item.lane else { return .unknownLane }
        if lane.isRemoved { return .removedLane }
        if item.isLost {
            note(.fenceLost, "take")
            return .lost
        }
        guard let entry = entry(of: item, lane) else { return .unheard("no entry") }
        let other = self.lane(entry.lane)?.name
        if entry.digest == item.digest, mutation != .repeatIsConflict {
            note(.repeated, item.key)
            return .repeat(job: entry.job, lane: other, finalState: entry.finalState)
        }
        note(.conflict, item.key)
        return .conflict(job: entry.job, lane: other)
    }

    /// `trunkline.supersede`.
    private func supersede(_ items: [Item]) {
        let things = Set(
            items.compactMap { item in
                item.lane.flatMap { lane in item.supersedeKey.map { Scoped(scope(of: lane), $0) } }
            }
        )
        let old = jobs.filter { row in
            guard let key = row.supersedeKey, things.contains(Scoped(row.scope, key)), isReplaced(row) else {
                return false
            }
            return [.accepted, .waiting].contains(row.state) && row.stamp == nil
        }
        for row in old {
            note(.superseded, row.key)
            end(row.id, "superseded", Reason.newerFact.code)
        }
    }

    /// `trunkline.keep_pace`.
    func keepPace(_ pace: PaceWrites) {
        guard weakness != .pace else { return }
        for (lane, wait) in zip(pace.lanes, pace.next) { laneStates[lane]?.nextSend = now + Int64(wait) * 1_000 }
    }

    // MARK: Beside jobs

    /// `trunkline.accept_events`.
    package func acceptEvents(_ events: [NamedEvent]) -> [EventAnswer] {
        func name(_ event: NamedEvent) -> String { event.event.source.value + " " + event.key.value }
        let numbers = events.map { _ in nextNumber() }
        var fresh: Set<Int> = []
        var repeated: Set<String> = []
        for (index, event) in events.enumerated() where inbox[name(event)] == nil {
            guard let lane = lanes.first(where: { $0.name.source == event.event.source }), !lane.isRemoved else {
                continue
            }
            let digest = Digest.sha256(event.event.body)
            inbox[name(event)] = (digest, 0, numbers[index])
            let key = "event:" + Digest.hex(Digest.sha256(event.key.value.utf8).prefix(16))
            ledger[Scoped(scope(of: lane), key)] = Entry(
                digest: Array(digest.prefix(16)),
                job: numbers[index],
                lane: lane.number
            )
            jobs.append(
                JobRow(
                    id: numbers[index],
                    lane: lane,
                    scope: scope(of: lane),
                    key: key,
                    person: event.person,
                    request: Array(event.key.value.utf8),
                    notBefore: nil,
                    sendBefore: nil,
                    supersedeKey: nil,
                    factAt: nil,
                    jobClass: .single,
                    state: .accepted,
                    place: 0,
                    dueAt: now,
                    acceptedAt: now
                )
            )
            fresh.insert(index)
        }
        let answers = events.enumerated().map { index, event in
            if fresh.contains(index) { return EventAnswer(item: index, verdict: .new, job: numbers[index]) }
            guard let lane = lanes.first(where: { $0.name.source == event.event.source }) else {
                return EventAnswer(item: index, verdict: .unknownLane)
            }
            if lane.isRemoved { return EventAnswer(item: index, verdict: .removedLane) }
            repeated.insert(name(event))
            let isSame = inbox[name(event)]?.digest == Digest.sha256(event.event.body)
            return EventAnswer(item: index, verdict: isSame || mutation == .eventsRepeat ? .repeat : .conflict)
        }
        for name in repeated { inbox[name]?.repeats += 1 }
        return answers
    }

    /// `trunkline.refuse`.
    package func refuse(_ refused: [RefusalRow]) {
        for (digest, row) in Dictionary(refused.map { ($0.digest, $0) }, uniquingKeysWith: { first, _ in first }) {
            note(.refused, row.refusal.kind.rawValue)
            if refusals[digest] != nil {
                refusals[digest]?.times += 1
            } else {
                refusals[digest] = Refused(kind: row.refusal.kind.rawValue, key: row.key, raw: row.raw)
            }
        }
    }

    /// `trunkline.suspect`.
    package func suspect(_ message: SuspectMessage, by boot: BootID) -> Int32 {
        note(.suspectMessage)
        var known = suspects[message.digest] ?? Suspect(reader: boot, readers: 1, lastAt: now)
        if known.lastAt < now - 3_600_000_000 {
            known.readers = 1
        } else if known.reader != boot || mutation == .readersCountTwice {
            known.readers += 1
        }
        known.reader = boot
        known.lastAt = now
        suspects[message.digest] = known
        return known.readers
    }

    package func unsuspect(digest: [UInt8]) { suspects[digest] = nil }
}

extension Duration {
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
