package import PostgresDriver
internal import TrunklineCore
package import TrunklineEngine

/// Heartbeats, fences, lanes as configured, and breakers.
extension LedgerModel {
    package func beat(_ heartbeat: Heartbeat) {
        let beat = workers[heartbeat.boot].map { $0.beat + 1 } ?? 0
        workers[heartbeat.boot] = Worker(heartbeat: heartbeat, beat: beat)
    }

    package func fleet() -> [WorkerRow] {
        workers.sorted { $0.key < $1.key }.map { boot, worker in
            WorkerRow(
                boot: boot,
                beat: worker.beat,
                isStopping: worker.heartbeat.isStopping,
                hasBroker: worker.heartbeat.hasBroker,
                origins: worker.heartbeat.origins
            )
        }
    }

    package func shardRows() -> [ShardRow] {
        shards.enumerated().map { ShardRow(shard: Int32($0), owner: $1.owner, fence: $1.fence) }
    }

    static let lockTimeout = PostgresError(code: .server, sqlState: "55P03", message: "lock not granted")

    package func acquire(_ wanted: [ShardFence], by boot: BootID) -> Result<[ShardFence], PostgresError> {
        if isLocked?(wanted.map(\.shard)) == true { return .failure(Self.lockTimeout) }
        var taken: [ShardFence] = []
        for wish in wanted where shards[Int(wish.shard)].fence == wish.fence {
            let index = Int(wish.shard)
            note(shards[index].owner == nil ? .handover : .takeover, "shard \(wish.shard)")
            shards[index].owner = boot
            shards[index].fence += 1
            taken.append(ShardFence(shard: wish.shard, fence: shards[index].fence))
        }
        return .success(taken)
    }

    package func release(_ numbers: [Int32], by boot: BootID) -> Result<Void, PostgresError> {
        let mine = numbers.filter { shards[Int($0)].owner == boot }
        if isLocked?(mine) == true { return .failure(Self.lockTimeout) }
        for number in mine {
            shards[Int(number)].owner = nil
            if mutation != .releaseKeepsFence { shards[Int(number)].fence += 1 }
        }
        return .success(())
    }

    package func terminate(_ boots: [BootID]) {
        for backend in boots.flatMap({ workers[$0]?.heartbeat.backends ?? [] }) { onTerminate?(backend) }
    }

    package func forget(_ boots: [BootID]) {
        for boot in boots where !shards.contains(where: { $0.owner == boot }) { workers[boot] = nil }
    }

    package func configuredLanes(after revision: Int64, and numbers: [Int32]) -> [ConfiguredLane] {
        lanes.filter { $0.revision > revision || numbers.contains($0.number) }.sorted { $0.revision < $1.revision }.map
        {
            lane in
            ConfiguredLane(
                number: lane.number,
                name: lane.name.value,
                shardHash: lane.hash,
                carrier: lane.carrier,
                address: lane.address,
                mayBePrivate: true,
                secret: lane.secret,
                unknownHorizon: Self.milliseconds(lane.horizon),
                interval: .milliseconds(lane.interval),
                concurrency: lane.concurrency,
                recipientGap: .milliseconds(lane.gap),
                dailyCap: lane.dailyCap,
                isHeld: lane.isHeld && weakness != .hold,
                holdLeft: lane.holdUntil.map { Self.milliseconds($0 - now) },
                isRemoved: lane.isRemoved,
                revision: lane.revision
            )
        }
    }

    // MARK: The breaker

    package func breakerRows() -> [BreakerRow] {
        breakers.filter { $0.value.openedAt != nil }.sorted { $0.key < $1.key }.map {
            BreakerRow(origin: $0, isProbeDue: $1.nextProbe <= now)
        }
    }

    package func openBreaker(_ opening: BreakerOpening) -> Bool {
        if let known = breakers[opening.origin] {
            let pause: Int64 = mutation == .breakerReopensAtOnce ? 0 : 10_000_000
            guard known.openedAt == nil, let closed = known.closedAt, closed < now - pause else { return false }
        }
        note(.breakerOpened, opening.origin)
        breakers[opening.origin] = Breaker(openedAt: now, nextProbe: now + opening.nextProbeIn.microseconds)
        return true
    }

    package func probeBreaker(_ origin: String, by boot: BootID) -> Int32? {
        guard var breaker = breakers[origin], breaker.openedAt != nil,
            breaker.nextProbe <= now || mutation == .probeForEverybody
        else { return nil }
        breaker.prober = boot
        breaker.probes += 1
        breaker.nextProbe = now + 20_000_000
        breakers[origin] = breaker
        return breaker.probes
    }

    package func endProbe(_ end: ProbeEnd, by boot: BootID) {
        guard var breaker = breakers[end.origin], breaker.prober == boot else { return }
        breaker.prober = nil
        breaker.nextProbe = now + end.nextProbeIn.microseconds
        if end.isAnswered {
            breaker.openedAt = nil
            breaker.closedAt = now
            note(.breakerClosed, end.origin)
        }
        breakers[end.origin] = breaker
    }

    // MARK: People

    /// `trunkline.cancel` of one key.
    package func cancel(_ key: String) {
        for row in jobs where row.key == key && row.stamp == nil {
            if row.state == .sending {
                row.cancelWanted = true
            } else {
                end(row.id, "cancelled", Reason.cancelled.code)
            }
        }
    }

    /// `trunkline.reschedule`: its owner sees it anew. False: nothing changed.
    @discardableResult
    package func reschedule(_ id: Int64, to time: Int64) -> Bool {
        let due = max(time, now)
        guard let row = row(id), [.accepted, .waiting].contains(row.state), row.attempt == 0, row.stamp == nil,
            due < row.sendBefore ?? .max
        else { return false }
        row.state = .accepted
        row.place = 0
        row.arrival = nextNumber()
        row.reason = nil
        row.notBefore = due
        row.dueAt = due
        return true
    }

    /// `trunkline.parked` with `replay`, of one job.
    package func replay(_ id: Int64) {
        guard let row = row(id), row.isParked, row.stamp == nil else { return }
        if row.cancelWanted { return end(id, "cancelled", Reason.cancelled.code) }
        guard row.sendBefore ?? .max > now, !isReplaced(row) else { return }
        row.state = .accepted
        row.parkedAt = nil
        row.reason = nil
        row.place = 0
        row.arrival = nextNumber()
        row.tries = 0
        row.crashes = 0
        row.dueAt = max(now, row.notBefore ?? now)
    }
}
