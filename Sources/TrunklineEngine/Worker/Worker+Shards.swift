internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// Who owns which shard (design D2): heartbeat, look, take-over, giving up, and loading what an owner must know.
extension Worker {
    // MARK: Heartbeat

    func renewIfDue(_ now: Instant) {
        // libpq waits for ever on a server that is frozen.
        if renewalUnderWay, let renewalSent, now - renewalSent > timing.actingLimit {
            return control.drop("the heartbeat was not answered in time")
        }
        guard shardCount > 0, !renewalUnderWay, control.isConnected, !lacksSessions(at: now) else { return }
        // A quarter early: the tick is coarse.
        guard renewedAt.map({ now - $0 >= timing.heartbeat * 0.75 }) ?? true else { return }
        renew(now)
    }

    func renew(_ now: Instant) {
        guard shardCount > 0, control.isConnected else { return }
        renewalUnderWay = true
        let known = backends.values.sorted { $0.pid < $1.pid }
        let words = wordsOfReach(now)
        // Origins that nothing was called of lately may still be silent.
        var counted = callCounts(now)
        for origin in words.keys where counted[origin] == nil { counted[origin] = CallCounts() }
        let origins = counted.sorted { $0.key < $1.key }.map {
            OriginReport(origin: $0.key, counts: $0.value, reach: words[$0.key])
        }
        let sent = now
        renewalSent = now
        control.beat(
            Heartbeat(
                boot: bootID,
                host: configuration.host,
                processID: ProcessID.own,
                version: configuration.version,
                backends: known,
                hasBroker: brokerHealth.isGood(at: now),
                isStopping: isDraining,
                origins: origins
            )
        ) { [weak self] result in
            guard let self else { return }
            self.renewalUnderWay = false
            switch result {
            case .success:
                // From the first heartbeat on nobody changes the number of shards; it may have changed right before.
                if self.renewedAt == nil { self.readShardCount() }
                // Counted from before it was sent: the database may have been slow, others count from its commit.
                self.renewedAt = max(self.renewedAt ?? sent, sent)
                self.databaseAnswered()
                // Over a slow wire the next one cannot wait for the tick.
                self.renewIfDue(self.loop.present)
            case .failure(let error):
                self.judgeIsFit = false
                if self.watch.heartbeat.began(error) {
                    self.log.warning("heartbeat failed", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    // MARK: The look

    /// Half-second look at fleet, fences and lines. Decisions are made when both answers are in.
    func look(_ now: Instant) {
        guard shardCount > 0, control.isConnected, !lookUnderWay, renewedAt != nil else { return }
        lookUnderWay = true
        // Fit to judge others only if the own renewals went through all the time.
        let fit = judgeIsFit && mayAct(at: now)
        judgeIsFit = true
        control.fleet { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.fleetSeen(rows, isJudgeFit: fit)
        }
        control.breakers { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.breakersSeen(rows)
            self.openBreakersIfSuspected(self.loop.present)
        }
        let again = linesToReread.sorted()
        control.lines(after: lineRevision, and: again) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.linesToReread.subtract(again)
            self.linesChanged(rows)
        }
        control.shards { [weak self] result in
            guard let self else { return }
            self.lookUnderWay = false
            guard case .success(let rows) = result else { return }
            self.shardsSeen(rows)
        }
    }

    private func fleetSeen(_ rows: [WorkerRow], isJudgeFit: Bool) {
        peerCounts.removeAll(keepingCapacity: true)
        reachWords.removeAll(keepingCapacity: true)
        for row in rows {
            for report in row.origins {
                peerCounts[row.boot, default: [:]][report.origin] = report.counts
                if let word = report.reach { reachWords[row.boot, default: [:]][report.origin] = word }
            }
        }
        let cutOff = cutOffWorkers(loop.present)
        let workers = rows.map { row in
            Fleet<BootID>.Observation(
                id: row.boot,
                beat: row.beat,
                isStopping: row.isStopping,
                hasBroker: row.hasBroker,
                isCutOff: cutOff.contains(row.boot)
            )
        }
        fleet.observed(workers, at: loop.present, isJudgeFit: isJudgeFit)
    }

    private func shardsSeen(_ rows: [ShardRow]) {
        let now = loop.present
        ownersSeen.removeAll(keepingCapacity: true)
        for row in rows { ownersSeen[row.shard] = row }
        for shard in shardsInOrder {
            if let seen = ownersSeen[shard.number], seen.owner == bootID, seen.fence == shard.fence { continue }
            // While an acquire is under way this look may be older than the fence.
            if let seen = ownersSeen[shard.number], seen.fence < shard.fence { continue }
            log.warning("shard lost to another worker", metadata: ["shard": "\(shard.number)"])
            lose(shard)
        }
        // Without a session that takes or settles a shard would only be kept from those who can.
        guard mayAct(at: now), !isDraining, linesLoaded, intake.isConnected, settler.isConnected else { return }
        consume()
        divide(now)
        forgetDeadWorkers(now)
    }

    /// Gives up what others should own, takes what is free or whose owner is dead.
    private func divide(_ now: Instant) {
        let me = bootID
        var owners: [Int: BootID] = [:]
        for (number, seen) in ownersSeen {
            if let owner = seen.owner { owners[Int(number)] = owner }
        }
        // Without a place in it (others have a broker, this worker has had none for too long) everything is theirs.
        guard let division = fleet.division(ofShards: Int(shardCount), owners: owners, at: now) else { return }
        var wanted: [ShardFence] = []
        var silent: Set<BootID> = []
        var unknown: [Int32] = []
        for number in 0..<shardCount {
            let rightful = division[Int(number)]
            if let shard = shards[number] {
                if rightful != me, shard.phase == .owned { leave(shard) }
                continue
            }
            guard let seen = ownersSeen[number] else { continue }
            guard rightful == me else {
                // Ours, and not known here: the reply of an acquire was lost. Nobody takes it while we live.
                if seen.owner == me, !acquiring { unknown.append(number) }
                continue
            }
            if let owner = seen.owner, owner != me {
                guard fleet.isDead(owner, at: now) || isUnknown(owner, now) else { continue }
                silent.insert(owner)
            }
            wanted.append(ShardFence(shard: number, fence: seen.fence))
        }
        if !wanted.isEmpty { acquire(wanted, from: silent) }
        // Once more with the next look when it fails.
        if !unknown.isEmpty { control.release(unknown, by: me) { _ in } }
    }

    /// An owner without a heartbeat row cannot renew it: it is gone as soon as that has been seen for the silence limit.
    private func isUnknown(_ id: BootID, _ now: Instant) -> Bool {
        if fleet.knows(id) {
            strangers[id] = nil
            return false
        }
        let since = strangers[id] ?? now
        strangers[id] = since
        return now - since >= timing.silenceLimit
    }

    /// Update the fence and commit; only then load rows; only then subscribe.
    private func acquire(_ wanted: [ShardFence], from silent: Set<BootID>) {
        guard !acquiring else { return }
        acquiring = true
        control.acquire(wanted, by: bootID) { [weak self] result in
            guard let self else { return }
            self.acquiring = false
            switch result {
            case .success(let taken):
                guard !self.isDraining else {
                    return self.control.release(wanted.map(\.shard), by: self.bootID) { _ in }
                }
                for taken in taken {
                    let shard = Shard(number: taken.shard, fence: taken.fence)
                    self.shards[shard.number] = shard
                    self.load(shard)
                }
                if !taken.isEmpty {
                    self.log.info(
                        "shards taken",
                        metadata: ["count": "\(taken.count)", "from_silent_workers": "\(silent.count)"]
                    )
                }
            case .failure(let error):
                // A frozen client in mid-statement holds its locks, and no time-out of PostgreSQL fires.
                if error.sqlState == "55P03" || error.sqlState == "57014", !silent.isEmpty {
                    self.terminateBackends(of: silent)
                } else if !error.isConnectionLost {
                    self.log.warning("shards could not be taken", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    private func terminateBackends(of silent: Set<BootID>) {
        guard !isOff(.terminate) else { return }
        log.notice("ending the database sessions of silent workers", metadata: ["workers": "\(silent.count)"])
        control.terminate(silent.sorted()) { [log] result in
            if case .failure(let error) = result {
                log.warning("sessions of silent workers could not be ended", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The heartbeat rows of the dead, once they own nothing.
    private func forgetDeadWorkers(_ now: Instant) {
        let owners = Set(ownersSeen.values.compactMap(\.owner))
        let gone = fleet.members.filter { fleet.isDead($0, at: now) && !owners.contains($0) }
        guard !gone.isEmpty else { return }
        control.forget(gone) { _ in }
    }

    // MARK: Subscribing, giving up, losing

    func subscribe(_ shard: Shard) {
        let queue = ConsumedQueue(
            kind: .shard(shard.number),
            name: Topology.shardQueue(Int(shard.number)),
            broker: broker,
            newTag: { [weak self] in self?.random.next() ?? 0 },
            onDelivery: { [weak self] queue, delivery in self?.arrived(queue, delivery) },
            onFailure: { [weak self] queue, error in self?.queueFailed(queue, error) },
            onLeft: { [weak self] _ in self?.release(shard) }
        )
        shard.queue = queue
        if isConsuming, broker.isConnected { queue.subscribe(prefetch: Self.shardPrefetch) }
    }

    /// Stop claiming; cancel; take and acknowledge what was delivered; release.
    func leave(_ shard: Shard) {
        guard shard.phase != .leaving else { return }
        shard.phase = .leaving
        shard.generation += 1
        forgetLanes(of: [shard.number])
        if let queue = shard.queue { queue.leave() } else { release(shard) }
    }

    private func release(_ shard: Shard) {
        guard shards[shard.number] === shard else { return }
        guard control.isConnected else {
            // The fence stays with us until the database is back or another worker takes over.
            loop.after(.seconds(1)) { [weak self] in self?.release(shard) }
            return
        }
        control.release([shard.number], by: bootID) { [weak self] result in
            guard let self, self.shards[shard.number] === shard else { return }
            switch result {
            case .success:
                self.shards[shard.number] = nil
                self.drainIfDue(loop.present)
            case .failure:
                self.loop.after(.milliseconds(200)) { [weak self] in self?.release(shard) }
            }
        }
    }

    /// Another worker owns it now: write nothing more for it and give its messages back.
    func lose(_ shard: Shard) {
        shard.queue?.abandon()
        shards[shard.number] = nil
        forgetLanes(of: [shard.number])
    }

    // MARK: The broker

    func brokerConnected() {
        brokerHealth.connected(at: loop.present)
        watch.brokerAsked = nil
        watch.brokerLife += 1
        log.info("broker connected", metadata: ["version": "\(broker.serverVersion ?? "unknown")"])
        if sharedQueues.isEmpty {
            for (kind, name) in [
                (.intake, Topology.intakeQueue), (.bulk, Topology.bulkQueue), (.webhook, Topology.webhookQueue),
                (.unrouted, Topology.unroutedQueue), (.dead, Topology.deadQueue),
            ] as [(ConsumedQueue.Kind, String)] {
                sharedQueues.append(
                    ConsumedQueue(
                        kind: kind,
                        name: name,
                        broker: broker,
                        newTag: { [weak self] in self?.random.next() ?? 0 },
                        onDelivery: { [weak self] queue, delivery in self?.arrived(queue, delivery) },
                        onFailure: { [weak self] queue, error in self?.queueFailed(queue, error) },
                        onLeft: { _ in }
                    )
                )
            }
        }
        if isConsuming, !isDraining { subscribeToAll() }
    }

    func brokerLost(_ error: RabbitError) {
        brokerHealth.lost(at: loop.present, silentSince: watch.brokerAsked)
        watch.brokerAsked = nil
        log.warning("broker connection lost", metadata: ["error": "\(error)"])
        for queue in sharedQueues { queue.connectionLost() }
        for shard in shardsInOrder { shard.queue?.connectionLost() }
        arrivals.dropStale()
    }

    private func queueFailed(_ queue: ConsumedQueue, _ error: RabbitError) {
        guard !error.isConnectionLost else { return }
        log.warning("queue cannot be consumed", metadata: ["queue": "\(queue.name)", "error": "\(error)"])
        let epoch = queue.epoch
        if error.replyCode == 404 {
            return declareAgain(because: queue.name) { [weak self, weak queue] in
                // A declaration that failed is not tried again at once.
                self?.loop.after(.milliseconds(500)) {
                    guard let self, let queue, queue.epoch == epoch else { return }
                    self.subscribeAgain(queue)
                }
            }
        }
        loop.after(.seconds(2)) { [weak self, weak queue] in
            guard let self, let queue, queue.epoch == epoch else { return }
            self.subscribeAgain(queue)
        }
    }

    // MARK: Attempts of others

    /// A new owner watches foreign attempts and goes on when they settle, or when it has itself seen them expired and
    /// unchanged for the patience of the design, without a break of the database connection.
    func lookAtForeign(_ now: Instant) {
        guard !foreign.isEmpty, !watchUnderWay, intake.isConnected, mayAct(at: now) else { return }
        watchUnderWay = true
        let asked = foreign
        intake.watch(asked.keys.sorted()) { [weak self] result in
            guard let self else { return }
            self.watchUnderWay = false
            guard case .success(let rows) = result else { return }
            let now = loop.present
            var seen: [Int64: SeenJob] = [:]
            for job in rows { seen[job.id] = job }
            var expired: [JobAttempt] = []
            for (id, known) in asked.sorted(by: { $0.key < $1.key }) {
                guard var attempt = self.foreign[id], attempt.attempt == known.attempt else { continue }
                guard let job = seen[id], job.state == .sending, job.attempt == attempt.attempt else {
                    self.foreign[id] = nil
                    if let job = seen[id] { self.know(job, now) }
                    if self.foreign[id] == nil, let lane = self.lanes[attempt.lane] {
                        // Its bytes may have left as late as this.
                        lane.queue.wroteTo(person: attempt.person, at: now)
                        lane.queue.release(person: attempt.person)
                    }
                    self.dueLanes.insert(attempt.lane)
                    continue
                }
                if isOff(.foreignLease) {
                    expired.append(JobAttempt(job: id, attempt: attempt.attempt))
                    continue
                }
                guard let left = job.leaseLeft, left < .zero else { continue }
                let since = attempt.expiredSince ?? now
                attempt.expiredSince = since
                self.foreign[id] = attempt
                if now - since >= self.timing.foreignPatience {
                    expired.append(JobAttempt(job: id, attempt: attempt.attempt))
                }
            }
            if !expired.isEmpty { self.abandon(expired) }
        }
    }

    private func abandon(_ attempts: [JobAttempt]) {
        intake.abandon(attempts, owner) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let now = loop.present
            for job in rows {
                guard let attempt = self.foreign.removeValue(forKey: job.id) else { continue }
                self.know(job, now)
                self.lanes[attempt.lane]?.queue.release(person: attempt.person)
                self.log.info(
                    "attempt of a lost worker taken over",
                    metadata: ["job": "\(job.id)", "attempt": "\(job.attempt)"]
                )
            }
        }
    }

    /// The fences that a take or a claim of this moment must carry. Not those of shards that are being loaded: what is
    /// taken meanwhile has no place before their owner knows everything that comes first.
    var owner: LedgerOwner {
        owner(of: shardsInOrder.filter { $0.phase != .loading })
    }

    func owner(of shards: [Shard]) -> LedgerOwner {
        LedgerOwner(boot: bootID, shardCount: shardCount, shards: shards.map(\.number), fences: shards.map(\.fence))
    }
}
