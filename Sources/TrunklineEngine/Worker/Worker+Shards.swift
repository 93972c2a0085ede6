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
        control.execute(Statements.lines, [.int8(lineRevision)]) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
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

    // MARK: Loading

    /// Reads everything about a shard that its owner must know; for a new owner and after a lost connection alike.
    func load(_ shard: Shard) {
        shard.phase = .loading
        shard.generation += 1
        let generation = shard.generation
        let number = shard.number
        guard intake.isConnected else {
            reloadWanted = true
            return
        }
        let scope: [PostgresParameter] = [.int4(shardCount), .int4Array([number])]
        let gap = lines.values.map(\.pace.recipientGap).max() ?? .zero
        var kept: [KeptLane] = []
        var lastSends: [(Int32, Int64, Instant)] = []
        // Without pace, pause and gap of the former owner nothing may begin: what one of the three statements could not
        // read is as bad as what the last one could not.
        var failed: PostgresError?
        intake.execute(Statements.laneStates, scope) { [weak self] result in
            guard let self else { return }
            guard case .success(let rows) = result else {
                if case .failure(let error) = result { failed = error }
                return
            }
            let now = self.loop.present
            kept = (0..<rows.count).compactMap { KeptLane(rows, $0, now) }
        }
        intake.execute(Statements.lastSends, scope + [.int4(Int32(clamping: gap.wholeMilliseconds))]) { [loop] result in
            guard case .success(let rows) = result else {
                if case .failure(let error) = result { failed = failed ?? error }
                return
            }
            let now = loop.present
            for row in 0..<rows.count {
                if let lane = rows.int4(row, 0), let person = rows.int8(row, 1), let ago = rows.int8(row, 2) {
                    lastSends.append((lane, person, now - .milliseconds(ago)))
                }
            }
        }
        intake.execute(Statements.load, scope) { [weak self] result in
            guard let self, let shard = self.shards[number], shard.generation == generation, shard.phase == .loading
            else { return }
            switch failed.map({ .failure($0) }) ?? result {
            case .success(let rows):
                self.loaded(shard, SeenJob.all(rows), kept: kept, lastSends: lastSends)
            case .failure(let error):
                guard !error.isConnectionLost else { return }
                self.log.warning("shard could not be loaded", metadata: ["shard": "\(number)", "error": "\(error)"])
                self.loop.after(.seconds(1)) { [weak self] in
                    guard let self, let shard = self.shards[number], shard.generation == generation else { return }
                    self.load(shard)
                }
            }
        }
    }

    private func loaded(
        _ shard: Shard,
        _ jobs: [SeenJob],
        kept: [KeptLane],
        lastSends: [(Int32, Int64, Instant)]
    ) {
        shard.phase = .owned
        forgetLanes(of: shard.number)
        let now = loop.present
        for kept in kept {
            guard let lane = lane(kept.lane) else { continue }
            if kept.nextSend > now { lane.queue.resumePace(nextSend: kept.nextSend, at: now) }
            if kept.pausedUntil > now { lane.queue.paused(until: kept.pausedUntil) }
            lane.gate = Gate(kept.gate)
            lane.writtenGate = kept.word
            lane.writtenProbes = kept.gate.probes
            lane.heldSince = kept.heldSince
            lane.isHoldTold = kept.isHoldTold
        }
        for (number, person, instant) in lastSends { lane(number)?.queue.wroteTo(person: person, at: instant) }
        for call in calls.values where lineOfLane[call.lane].flatMap({ lines[$0]?.shard }) == shard.number {
            lane(call.lane)?.queue.resume(person: call.person)
        }
        for job in jobs { know(job, now) }
        adoptWanted = true
        if shard.queue == nil { subscribe(shard) }
    }

    /// The row is the truth: a shard is loaded again when the database has jobs that should have begun in a lane of which
    /// nothing is in memory. Every 10 s.
    func auditIfDue(_ now: Instant) {
        guard intake.isConnected, mayAct(at: now), lastAudit.map({ now - $0 >= .seconds(10) }) ?? true else { return }
        lastAudit = now
        var busy: Set<Int32> = []
        for lane in lanes.values where lane.queue.count > 0 || lane.queue.inAir > 0 { busy.insert(lane.number) }
        for attempt in foreign.values { busy.insert(attempt.lane) }
        let owned = shards.values.filter { $0.phase == .owned }.map(\.number).sorted()
        guard !owned.isEmpty else { return }
        forgetEndedRetries()
        intake.execute(Statements.forgotten, [.int4(shardCount), .int4Array(owned), .int4Array(busy.sorted())]) {
            [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            for row in 0..<rows.count {
                guard let number = rows.int4(row, 0), let shard = self.shards[number], shard.phase == .owned else {
                    continue
                }
                self.log.notice(
                    "shard loaded again: jobs in the database that were not in memory",
                    metadata: ["shard": "\(number)"]
                )
                self.load(shard)
            }
        }
    }

    /// A job that waits for its next try may have been cancelled or superseded meanwhile: what stands behind it must not
    /// wait for a try that never comes.
    private func forgetEndedRetries() {
        let asked = Array(retryWaits.keys.sorted().prefix(2_000))
        guard !asked.isEmpty else { return }
        intake.execute(Statements.watch, [.int8Array(asked)]) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let there = Set(SeenJob.all(rows).map(\.id))
            for id in asked where !there.contains(id) && calls[id] == nil {
                guard let wait = retryWaits.removeValue(forKey: id), let lane = lanes[wait.lane] else { continue }
                if lane.queue.remove(JobID(id), person: wait.person) { dueLanes.insert(wait.lane) }
            }
        }
    }

    /// Takes a row into memory, whatever its state.
    func know(_ job: SeenJob, _ now: Instant) {
        guard let lane = lane(job.lane) else { return }
        switch job.state {
        case "waiting", "unknown":
            guard calls[job.id] == nil else { return }
            lane.queue.remove(JobID(job.id), person: job.person)
            let queued = QueuedJob(
                id: JobID(job.id),
                person: job.person,
                place: job.place,
                jobClass: job.jobClass == 1 ? .bulk : .single,
                due: now + max(.zero, job.dueIn),
                attempt: job.attempt,
                tries: job.tries,
                isStamped: job.isStamped,
                isSuspect: job.isSuspect
            )
            if job.attempt > 0 {
                retryWaits[job.id] = RetryWait(lane: job.lane, person: job.person, attempt: job.attempt)
            }
            if job.place > 0 { lane.queue.add(queued) } else { lane.queue.schedule(queued) }
            dueLanes.insert(job.lane)
        case "sending":
            if calls[job.id] != nil { return }
            if job.claimedBy == boot {
                // The reply of the claim's COMMIT was lost: we began this attempt and never knew, so nothing has left.
                guard !isOff(.reread) else { return }
                lane.queue.hold(person: job.person)
                foreign[job.id] = ForeignAttempt(
                    attempt: job.attempt,
                    lane: job.lane,
                    person: job.person,
                    expiredSince: nil
                )
                outcomes.append(
                    Settlement(
                        job: job.id,
                        attempt: job.attempt,
                        outcome: "given_back",
                        reason: "claim_reply_lost",
                        dueIn: .zero,
                        mayHaveLeft: false,
                        remoteID: nil,
                        status: nil,
                        evidence: nil
                    )
                )
            } else {
                lane.queue.hold(person: job.person)
                foreign[job.id] = ForeignAttempt(
                    attempt: job.attempt,
                    lane: job.lane,
                    person: job.person,
                    expiredSince: nil
                )
            }
        default:
            break  // parked, or a state of a later version: left alone
        }
    }

    /// The lane's memory, made when first needed; nil when this worker does not own it.
    func lane(_ number: Int32) -> Lane? {
        if let lane = lanes[number] { return lane }
        guard let id = lineOfLane[number], let line = lines[id], let shard = shards[line.shard], shard.phase == .owned
        else { return nil }
        let lane = Lane(number: number, shard: line.shard, queue: LaneQueue(settings: line.pace))
        lanes[number] = lane
        return lane
    }

    private func forgetLanes(of shard: Int32) {
        for lane in lanes.values where lane.shard == shard { suspectLanes.remove(lane.number) }
        retryWaits = retryWaits.filter { lanes[$0.value.lane]?.shard != shard }
        lanes = lanes.filter { $0.value.shard != shard }
        foreign = foreign.filter { _, attempt in lineOfLane[attempt.lane].flatMap { lines[$0]?.shard } != shard }
    }

    /// After a lost connection nothing in memory is trusted; `load` builds it again. Calls in the air go on.
    func forgetMemoryOfShards() {
        for shard in shards.values where shard.phase != .leaving {
            shard.phase = .loading
            shard.generation += 1
            forgetLanes(of: shard.number)
        }
        for (id, attempt) in foreign {
            foreign[id] = ForeignAttempt(attempt: attempt.attempt, lane: attempt.lane, person: attempt.person)
        }
        adoptUnderWay = false
        watchUnderWay = false
    }

    // MARK: Subscribing, giving up, losing

    private func subscribe(_ shard: Shard) {
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
        forgetLanes(of: shard.number)
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
        forgetLanes(of: shard.number)
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

    /// The fences that a take or a claim of this moment must carry.
    func fencesOfOwned() -> (shards: [Int32], fences: [Int64]) {
        let held = shardsInOrder
        return (held.map(\.number), held.map(\.fence))
    }
}
