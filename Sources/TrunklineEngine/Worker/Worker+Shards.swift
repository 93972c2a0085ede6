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
        let counts = counted.sorted { $0.key < $1.key }
        let sent = now
        renewalSent = now
        control.execute(
            Statements.beat,
            [
                .uuid(boot), .text(configuration.host), .int4(ProcessID.own), .text(configuration.version),
                .int4Array(known.map(\.pid)), .timestampArray(known.map(\.start)), .bool(brokerHealth.isGood(at: now)),
                .bool(isDraining), .textArray(counts.map(\.key)),
                .int4Array(counts.map { Int32(clamping: $0.value.active) }),
                .int4Array(counts.map { Int32(clamping: $0.value.failing) }),
                .textArray(counts.map { words[$0.key]?.rawValue }),
            ]
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
        control.execute(Statements.fleet, []) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.peerCounts.removeAll(keepingCapacity: true)
            self.reachWords = Reach.words(rows)
            let cutOff = self.cutOffWorkers(self.loop.present)
            let workers = (0..<rows.count).compactMap { row -> Fleet<BootID>.Observation? in
                guard let boot = rows.uuid(row, 0), let beat = rows.int8(row, 1) else { return nil }
                self.peerCounts[BootID(bytes: boot)] = CallCounts.byOrigin(rows, row)
                return .init(
                    id: BootID(bytes: boot),
                    beat: beat,
                    isStopping: rows.bool(row, 2) ?? false,
                    hasBroker: rows.bool(row, 3) ?? false,
                    isCutOff: cutOff.contains(BootID(bytes: boot))
                )
            }
            self.fleet.observed(workers, at: loop.present, isJudgeFit: fit)
        }
        control.execute(Statements.breakers, []) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.breakersSeen(rows)
            self.openBreakersIfSuspected(self.loop.present)
        }
        let again = linesToReread.sorted()
        control.execute(Statements.lines, [.int8(lineRevision), .textArray(again)]) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            self.linesToReread.subtract(again)
            self.linesChanged(rows)
        }
        control.execute(Statements.shards, []) { [weak self] result in
            guard let self else { return }
            self.lookUnderWay = false
            guard case .success(let rows) = result else { return }
            self.shardsSeen(rows)
        }
    }

    private func shardsSeen(_ rows: PostgresRows) {
        let now = loop.present
        ownersSeen.removeAll(keepingCapacity: true)
        for row in 0..<rows.count {
            guard let shard = rows.int4(row, 0), let fence = rows.int8(row, 2) else { continue }
            ownersSeen[shard] = (rows.uuid(row, 1), fence)
        }
        for shard in shardsInOrder {
            if let seen = ownersSeen[shard.number], seen.owner == boot, seen.fence == shard.fence { continue }
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
        let me = BootID(bytes: boot)
        var owners: [Int: BootID] = [:]
        for (number, seen) in ownersSeen {
            if let owner = seen.owner { owners[Int(number)] = BootID(bytes: owner) }
        }
        // Without a place in it (others have a broker, this worker has had none for too long) everything is theirs.
        guard let division = fleet.division(ofShards: Int(shardCount), owners: owners, at: now) else { return }
        var wanted: [(shard: Int32, fence: Int64)] = []
        var silent: Set<[UInt8]> = []
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
                if seen.owner == boot, !acquiring { unknown.append(number) }
                continue
            }
            if let owner = seen.owner, owner != boot {
                guard fleet.isDead(BootID(bytes: owner), at: now) || isUnknown(owner, now) else { continue }
                silent.insert(owner)
            }
            wanted.append((number, seen.fence))
        }
        if !wanted.isEmpty { acquire(wanted, from: silent) }
        // Once more with the next look when it fails.
        if !unknown.isEmpty { control.execute(Statements.release, [.uuid(boot), .int4Array(unknown)]) { _ in } }
    }

    /// An owner without a heartbeat row cannot renew it: it is gone as soon as that has been seen for the silence limit.
    private func isUnknown(_ owner: [UInt8], _ now: Instant) -> Bool {
        let id = BootID(bytes: owner)
        if fleet.knows(id) {
            strangers[id] = nil
            return false
        }
        let since = strangers[id] ?? now
        strangers[id] = since
        return now - since >= timing.silenceLimit
    }

    /// Update the fence and commit; only then load rows; only then subscribe.
    private func acquire(_ wanted: [(shard: Int32, fence: Int64)], from silent: Set<[UInt8]>) {
        guard !acquiring else { return }
        acquiring = true
        control.execute(
            Statements.acquire,
            [.uuid(boot), .int4Array(wanted.map(\.shard)), .int8Array(wanted.map(\.fence))]
        ) { [weak self] result in
            guard let self else { return }
            self.acquiring = false
            switch result {
            case .success(let rows):
                guard !self.isDraining else {
                    self.control.execute(Statements.release, [.uuid(self.boot), .int4Array(wanted.map(\.shard))]) { _ in
                    }
                    return
                }
                var numbers: [Int32] = []
                for row in 0..<rows.count {
                    guard let number = rows.int4(row, 0), let fence = rows.int8(row, 1) else { continue }
                    let shard = Shard(number: number, fence: fence)
                    self.shards[number] = shard
                    numbers.append(number)
                    self.load(shard)
                }
                if !numbers.isEmpty {
                    self.log.info(
                        "shards taken",
                        metadata: ["count": "\(numbers.count)", "from_silent_workers": "\(silent.count)"]
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

    private func terminateBackends(of silent: Set<[UInt8]>) {
        guard !isOff(.terminate) else { return }
        log.notice("ending the database sessions of silent workers", metadata: ["workers": "\(silent.count)"])
        control.execute(Statements.terminate, [.uuidArray(silent.map { $0 })]) { [log] result in
            if case .failure(let error) = result {
                log.warning("sessions of silent workers could not be ended", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The heartbeat rows of the dead, once they own nothing.
    private func forgetDeadWorkers(_ now: Instant) {
        let owners = Set(ownersSeen.values.compactMap(\.owner))
        let gone = fleet.members.filter { fleet.isDead($0, at: now) && !owners.contains($0.bytes) }
        guard !gone.isEmpty else { return }
        control.execute(Statements.forget, [.uuidArray(gone.map(\.bytes))]) { _ in }
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
        control.execute(Statements.release, [.uuid(boot), .int4Array([shard.number])]) { [weak self] result in
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
        intake.execute(Statements.watch, [.int8Array(asked.keys.sorted())]) { [weak self] result in
            guard let self else { return }
            self.watchUnderWay = false
            guard case .success(let rows) = result else { return }
            let now = loop.present
            var seen: [Int64: SeenJob] = [:]
            for job in SeenJob.all(rows) { seen[job.id] = job }
            var expired: [(Int64, Int32)] = []
            for (id, known) in asked.sorted(by: { $0.key < $1.key }) {
                guard var attempt = self.foreign[id], attempt.attempt == known.attempt else { continue }
                guard let job = seen[id], job.state == "sending", job.attempt == attempt.attempt else {
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
                    expired.append((id, attempt.attempt))
                    continue
                }
                guard let left = job.leaseLeft, left < .zero else { continue }
                let since = attempt.expiredSince ?? now
                attempt.expiredSince = since
                self.foreign[id] = attempt
                if now - since >= self.timing.foreignPatience { expired.append((id, attempt.attempt)) }
            }
            if !expired.isEmpty { self.abandon(expired) }
        }
    }

    private func abandon(_ attempts: [(Int64, Int32)]) {
        let fences = fencesOfOwned()
        intake.execute(
            Statements.abandon,
            [
                .uuid(boot), .int4(shardCount), .int4Array(fences.shards), .int8Array(fences.fences),
                .int8Array(attempts.map(\.0)), .int4Array(attempts.map(\.1)),
            ]
        ) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let now = loop.present
            for job in SeenJob.all(rows) {
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
    func fencesOfOwned() -> (shards: [Int32], fences: [Int64]) {
        let held = shardsInOrder.filter { $0.phase != .loading }
        return (held.map(\.number), held.map(\.fence))
    }
}
