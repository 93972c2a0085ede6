internal import Crypto
internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// From the broker into PostgreSQL: one commit, then the acknowledgement.
extension Worker {
    /// Deliveries in one take; beyond it a statement gets longer, not cheaper.
    private static let batchLimit = 256
    /// Scheduled jobs that get their places in one statement, and those of one lane before the next one's turn.
    private static let placeLimit = 500
    private static let placesOfTurn = 50

    /// A refusal as it is recorded.
    struct Refused {
        let refusal: Refusal
        let arrival: Arrivals.Arrival
        let line: String?
        let key: String?
    }

    private struct Item {
        let job: SendJob
        let arrival: Arrivals.Arrival
        let request: [UInt8]
        /// The slot that the job took on the fast path; its call begins with the commit.
        let fast: FastPath?
    }

    private struct FastPath {
        let lane: Int32
        let gateOpenUntil: Instant
    }

    func arrived(_ queue: ConsumedQueue, _ delivery: RabbitDelivery) {
        arrivals.append(
            .init(
                queue: queue,
                epoch: queue.epoch,
                tag: delivery.tag,
                redelivered: delivery.redelivered,
                isSuspect: delivery.deliveryCount >= 2,
                body: delivery.body,
                bodySize: delivery.bodySize
            )
        )
        if isOff(.ackAfterCommit) {
            queue.commit(delivery.tag, epoch: queue.epoch)
            _ = queue.acknowledge()
        }
    }

    /// Takes the next batch unless one is under way: what arrives meanwhile is the batch after it.
    func takeArrivals(_ now: Instant) {
        guard !takeUnderWay, !arrivals.isEmpty, intake.isConnected, linesLoaded, mayAct(at: now) else { return }
        if let takeRetryAt, takeRetryAt > now { return }
        guard let (way, batch) = arrivals.next(limit: takeLimit) else { return }
        if noteIfSuspect(batch, way) { return }
        take(batch, way, now)
    }

    /// Halved after a statement failed on a lock or on data, down to the one message at fault.
    private var takeLimit: Int { takeHalvings == 0 ? Self.batchLimit : max(1, Self.batchLimit >> takeHalvings) }

    private func take(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, _ now: Instant) {
        takeUnderWay = true
        let wall = loop.wallTime
        let sent = loop.present
        let owner = owner
        let owned = Set(owner.shards)
        var sends: [Item] = []
        var events: [(event: WebhookJob, arrival: Arrivals.Arrival)] = []
        var refused: [Refused] = []
        var jobs = TakeBatch()
        var waitingPersons: Set<LanePerson> = []

        for arrival in batch {
            poison(.message, arrival.body)
            do throws(Refusal) {
                if arrival.bodySize > UInt64(arrival.body.count) {
                    throw Refusal(
                        kind: .tooLarge,
                        reason: "the message has \(arrival.bodySize) bytes, more than any message may have"
                    )
                }
                switch try QueueMessage.decode(arrival.body) {
                case .wake(let wake):
                    // It only makes the owner look at rows; when it is lost, the sweep looks.
                    adoptWanted = true
                    // One that came through a retry tier is a second alarm clock beside the lane's own timer.
                    if let known = retryWaits[wake.job.value] { dueLanes.insert(known.lane) }
                    if case .shard(let number) = arrival.queue.kind { woken(wake, shard: number, now) }
                    arrival.queue.commit(arrival.tag, epoch: arrival.epoch)
                case .webhook(let event):
                    events.append((event, arrival))
                case .send(let job):
                    do throws(Refusal) {
                        try check(job, wall)
                    } catch  where error.kind == .late && arrival.redelivered {
                        // It came in time and was taken then, or it ends as expired, in sight.
                    } catch {
                        refused.append(
                            Refused(refusal: error, arrival: arrival, line: job.line.value, key: job.key.value)
                        )
                        continue
                    }
                    let fast = way == .shard ? beginNew(job, owned, &waitingPersons, now) : nil
                    let item = Item(
                        job: job,
                        arrival: arrival,
                        request: EZWhatsApp.textRequestBody(job),
                        fast: fast
                    )
                    jobs.append(job, requestBytes: item.request, fast: fast != nil)
                    sends.append(item)
                }
            } catch {
                refused.append(Refused(refusal: error, arrival: arrival, line: nil, key: nil))
            }
        }
        reached(.accepted, times: batch.count)

        var open = 1
        var failed: PostgresError?
        // The batch is done when its last statement is.
        let finish: () -> Void = { [weak self] in
            open -= 1
            guard let self, open == 0 else { return }
            self.takeUnderWay = false
            if let error = failed {
                self.takeFailed(batch, way, error)
            } else {
                if self.takeHalvings > 0 { self.takeHalvings -= 1 }
                self.clearSuspect(batch)
            }
        }
        if !refused.isEmpty {
            open += 1
            refuse(refused) { error in
                failed = failed ?? error
                finish()
            }
        }
        if !events.isEmpty {
            open += 1
            take(events, way) { error in
                failed = failed ?? error
                finish()
            }
        }
        if !sends.isEmpty {
            open += 1
            let request = TakeRequest(
                batch: jobs,
                owner: way == .shard ? owner : nil,
                lease: timing.lease,
                jobClass: way == .bulk ? .bulk : .single,
                parked: way == .dead ? .deadLettered : nil,
                pace: paceWrites(of: sends.compactMap(\.fast?.lane))
            )
            intake.take(request) { [weak self] result in
                guard let self else { return }
                switch result {
                case .success(let answers):
                    open += 1
                    self.taken(sends, way, answers, sent: sent) { error in
                        failed = failed ?? error
                        finish()
                    }
                case .failure(let error):
                    for item in sends {
                        guard let lane = item.fast?.lane else { continue }
                        self.slotsPromised -= 1
                        self.lanes[lane]?.queue.takenBack(person: item.job.person)
                    }
                    failed = failed ?? error
                }
                finish()
            }
        }
        finish()
    }

    private func check(_ job: SendJob, _ now: Timestamp) throws(Refusal) {
        guard PhoneNumbers.isPossible(e164: job.to.value) else {
            throw Refusal(kind: .invalid, field: "to", reason: "no country has numbers of that length")
        }
        try job.validate(now: now)
    }

    /// Whether a job that just arrived may be claimed in the commit that takes it (design, section 3): gate open, pace
    /// allows, a slot is free, it is the head of its person, and nothing of its class waits.
    private func beginNew(_ job: SendJob, _ owned: Set<Int32>, _ waiting: inout Set<LanePerson>, _ now: Instant)
        -> FastPath?
    {
        guard let line = lines[job.line.value], !line.isRemoved, line.fault == nil else { return nil }
        let person = LanePerson(lane: line.lane, person: job.person)
        if !waiting.contains(person), owned.contains(line.shard), shards[line.shard]?.phase == .owned,
            !line.isOnHold(at: now), job.notBefore == nil, job.supersedeKey == nil, line.dailyCap == nil,
            !isBroken(line),
            hasSlotForNewcomer, let lane = lane(line.lane),
            let gateOpenUntil = lane.gate.admission(at: now, inAir: lane.queue.inAir), !lane.gate.isRamping(at: now),
            !lane.record.isSuspect,
            lane.queue.beginNew(person: job.person, jobClass: .single, at: now)
        {
            apply(lane.gate.began(at: now), to: lane)
            slotsPromised += 1
            return FastPath(lane: line.lane, gateOpenUntil: gateOpenUntil)
        }
        waiting.insert(person)
        return nil
    }

    /// What answers ask for beside what they do to single jobs.
    private struct Aftermath {
        var refused: [Refused] = []
        var lost: Set<Int32> = []
        var givenBack: [Arrivals.Arrival] = []
        /// Jobs that may be in nobody's memory.
        var unsure: Set<Int64> = []
        var unknown: [Arrivals.Arrival] = []
        var wakes: [Int32: JobID] = [:]
    }

    private func taken(
        _ items: [Item],
        _ way: Arrivals.Way,
        _ answers: [TakeAnswer],
        sent: Instant,
        done: @escaping (PostgresError?) -> Void
    ) {
        var after = Aftermath()
        reached(.taken, times: items.count)
        for answer in answers where items.indices.contains(answer.item) {
            let item = items[answer.item]
            if let fast = item.fast {
                slotsPromised -= 1
                if !answer.verdict.hasBegun { lanes[fast.lane]?.queue.takenBack(person: item.job.person) }
            }
            taken(item, answer.verdict, sent: sent, &after)
        }
        leaveAside(after.unknown, way)
        // The fence fell: nothing of these shards was written, their messages go back by closing their channels.
        for number in after.lost.sorted() {
            if let shard = shards[number] {
                log.warning("shard lost to another worker", metadata: ["shard": "\(number)"])
                lose(shard)
            }
        }
        for arrival in after.givenBack where arrival.epoch == arrival.queue.epoch {
            arrival.queue.restart(prefetch: 300)
        }
        lookAgain(at: after.unsure)
        wake(after.wakes)
        if after.refused.isEmpty { done(nil) } else { refuse(after.refused, done: done) }
    }

    private func taken(_ item: Item, _ verdict: TakeVerdict, sent: Instant, _ after: inout Aftermath) {
        let line = lines[item.job.line.value]
        func refused(_ kind: Refusal.Kind, _ field: String, _ reason: String) {
            after.refused.append(
                Refused(
                    refusal: Refusal(kind: kind, field: field, reason: reason),
                    arrival: item.arrival,
                    line: item.job.line.value,
                    key: item.job.key.value
                )
            )
        }
        switch verdict {
        case .new(let job):
            accepted(item, job, sent: sent, &after)
            item.arrival.queue.commit(item.arrival.tag, epoch: item.arrival.epoch)
        case .repeat(let job, _, let finalState):
            // An unfinished one may be in nobody's memory: its first take's reply was lost and came after a reload.
            if finalState == nil, calls[job] == nil, foreign[job] == nil { after.unsure.insert(job) }
            item.arrival.queue.commit(item.arrival.tag, epoch: item.arrival.epoch)
        case .lost:
            if let line { after.lost.insert(line.shard) }
            after.givenBack.append(item.arrival)
        case .conflict(let job, let other):
            let place = other.map { " on line \($0)" } ?? ""
            refused(.conflict, "key", "the key belongs to job \(job)\(place), whose content is another")
        case .unknownLine: refused(.unknownLine, "line", "there is no line of that id")
        case .removedLine: refused(.unknownLine, "line", "the line was removed")
        case .unheard(let word):
            unheard(word, of: "take")
            after.unknown.append(item.arrival)
        }
    }

    /// A new job: called, remembered, or left to whoever owns it.
    private func accepted(_ item: Item, _ taken: TakenJob, sent: Instant, _ after: inout Aftermath) {
        let now = loop.present
        switch taken.state {
        case .sending:
            calls[taken.job] = Call(
                job: taken.job,
                attempt: taken.attempt,
                tries: 1,
                lane: taken.lane,
                line: item.job.line.value,
                person: item.job.person,
                place: taken.place,
                jobClass: .single,
                isStamped: false,
                key: item.job.key,
                request: item.request,
                sendBefore: item.job.sendBefore?.microseconds,
                gateOpenUntil: item.fast?.gateOpenUntil ?? now,
                claimSent: sent
            )
            reached(.claimed)
            carry(taken.job)
        case .waiting:
            let queued = QueuedJob(
                id: JobID(taken.job),
                person: item.job.person,
                place: taken.place,
                jobClass: .single,
                due: now + max(.zero, taken.dueIn),
                attempt: 0,
                tries: 0,
                isStamped: false
            )
            // A lane that was lost finds the row by itself.
            if let loading = loading(of: taken.lane) {
                loading.doubtful.insert(taken.job)
            } else if let lane = lane(taken.lane) {
                if lane.queue.waiting(queued.id, person: queued.person) == nil {
                    if taken.place > 0 { lane.queue.add(queued) } else { lane.queue.schedule(queued) }
                }
                dueLanes.insert(lane.number)
            }
        case .accepted:
            guard let line = lines[item.job.line.value] else { return }
            if shards[line.shard]?.phase == .owned {
                adoptWanted = true
            } else {
                after.wakes[line.shard] = JobID(taken.job)
            }
        case .parked:
            break  // it came from the dead-letter queue
        case .unknown:
            unheard("unknown", of: "take's state")
        case .unheard(let word):
            unheard(word, of: "take's state")
        }
    }

    /// A word that this program does not know, of a later schema: what it stands for is left alone. Said once, and again
    /// when it has come ten times as often.
    func unheard(_ word: String, of statement: String) {
        let count = unknownWords[statement + " " + word, default: 0] + 1
        unknownWords[statement + " " + word] = count
        var power = 1
        while power < count { power *= 10 }
        guard power == count else { return }
        log.error(
            "the database speaks of something that this version does not know: left alone",
            metadata: ["statement": "\(statement)", "word": "\(word)", "times": "\(count)"]
        )
    }

    /// Messages of which it is not known what became of them are neither acknowledged nor refused. They are taken again:
    /// by this worker after a while, or by another one when this one has ended.
    private func leaveAside(_ arrivals: [Arrivals.Arrival], _ way: Arrivals.Way) {
        guard !arrivals.isEmpty else { return }
        loop.after(.seconds(5)) { [weak self] in self?.arrivals.putBack(arrivals, way: way) }
    }

    /// One message per shard is enough: its owner looks at every row that no owner has seen.
    private func wake(_ jobs: [Int32: JobID]) {
        guard !jobs.isEmpty else { return }
        let messages = jobs.sorted { $0.key < $1.key }.map { shard, job in
            RabbitMessage(
                exchange: Topology.jobsExchange,
                routingKey: Route.shard(Int(shard)),
                body: WakeUp(job: job, attempt: AttemptNumber(0)).encode()
            )
        }
        // Lost ones cost latency only.
        publisher.publishWakeUps(messages)
    }

    func takeFailed(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, _ error: PostgresError) {
        if error.isConnectionLost || error.outcomeUnknown {
            // Taken again: what was committed is found by its key.
            arrivals.putBack(batch, way: way)
            return
        }
        if batch.count > 1 {
            takeHalvings = min(takeHalvings + 1, 8)
            arrivals.putBack(batch, way: way)
            takeRetryAt = loop.present + .milliseconds(5)
            loop.after(.milliseconds(6)) {}
            return
        }
        if error.isRetriable || error.sqlState == "55P03" || error.sqlState == "57014" {
            // It failed on a lock: it stays unacknowledged, with what is behind it, and is tried again here.
            arrivals.putBack(batch, way: way)
            takeRetryAt = loop.present + .milliseconds(100)
            loop.after(.milliseconds(110)) {}
            return
        }
        // The data itself: put aside with its bytes, so that its neighbours go on.
        log.error("message cannot be stored", metadata: ["error": "\(error)"])
        takeUnderWay = true
        refuse([
            Refused(
                refusal: Refusal(
                    kind: .invalid,
                    reason: "the database cannot store the message (SQLSTATE \(error.sqlState ?? "none"))"
                ),
                arrival: batch[0],
                line: nil,
                key: nil
            )
        ]) { [weak self] error in
            guard let self else { return }
            self.takeUnderWay = false
            if error != nil {
                self.arrivals.putBack(batch, way: way)
                self.takeRetryAt = loop.present + .seconds(1)
                self.loop.after(.milliseconds(1_010)) {}
            }
        }
    }

    // MARK: Events and refusals

    private func take(
        _ events: [(event: WebhookJob, arrival: Arrivals.Arrival)],
        _ way: Arrivals.Way,
        done: @escaping (PostgresError?) -> Void
    ) {
        intake.takeEvents(events.map(\.event)) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): done(error)
            case .success(let answers):
                var refused: [Refused] = []
                var unknown: [Arrivals.Arrival] = []
                for answer in answers where events.indices.contains(answer.item) {
                    let (event, arrival) = events[answer.item]
                    switch answer.verdict {
                    case .new, .repeat:
                        arrival.queue.commit(arrival.tag, epoch: arrival.epoch)
                    case .conflict:
                        refused.append(
                            Refused(
                                refusal: Refusal(
                                    kind: .conflict,
                                    field: "headers",
                                    reason: "this delivery id of source \(event.source) came before with other bytes"
                                ),
                                arrival: arrival,
                                line: nil,
                                key: nil
                            )
                        )
                    case .unheard(let word):
                        self.unheard(word, of: "take_events")
                        unknown.append(arrival)
                    }
                }
                self.leaveAside(unknown, way)
                if refused.isEmpty { done(nil) } else { self.refuse(refused, done: done) }
            }
        }
    }

    /// Records refusals with their reason and original bytes, then lets their deliveries be acknowledged.
    func refuse(_ refused: [Refused], done: @escaping (PostgresError?) -> Void) {
        let rows = refused.map { entry in
            RefusalRow(
                via: entry.arrival.queue.kind.via,
                refusal: entry.refusal,
                line: entry.line,
                key: entry.key,
                raw: entry.arrival.body,
                rawLength: Int64(entry.arrival.bodySize)
            )
        }
        intake.refuse(rows) { [log] result in
            switch result {
            case .failure(let error): done(error)
            case .success:
                for entry in refused {
                    log.notice(
                        "message refused",
                        metadata: ["kind": "\(entry.refusal.kind.rawValue)", "reason": "\(entry.refusal)"]
                    )
                    entry.arrival.queue.commit(entry.arrival.tag, epoch: entry.arrival.epoch)
                }
                done(nil)
            }
        }
    }

    /// After the commits of this turn.
    func acknowledge() {
        var count = 0
        for queue in sharedQueues { count += queue.acknowledge() }
        for shard in shardsInOrder { count += shard.queue?.acknowledge() ?? 0 }
        reached(.acked, times: count)
    }

    // MARK: Rows that no owner has seen

    func sweepIfDue(_ now: Instant) {
        guard lastSweep.map({ now - $0 >= timing.sweep }) ?? true else { return }
        lastSweep = now
        adopt(now, minimumAge: timing.sweepAge)
        if lastForgetting.map({ now - $0 >= .seconds(60) }) ?? true {
            lastForgetting = now
            for lane in lanes.values { lane.queue.forgetIdle(at: now) }
        }
        expire(now)
    }

    /// A notice whose `sendBefore` has passed ends also where nothing may begin: on a held line, behind a closed gate.
    private func expire(_ now: Instant) {
        guard intake.isConnected, mayAct(at: now), !shards.isEmpty else { return }
        intake.expire(owner, limit: 500) { [weak self] result in
            guard let self, case .success(let jobs) = result else { return }
            for job in jobs {
                self.lanes[job.lane]?.queue.remove(JobID(job.job), person: job.person)
                self.retryWaits[job.job] = nil
                self.dueLanes.insert(job.lane)
            }
        }
    }

    func adoptIfWanted(_ now: Instant) {
        guard adoptWanted else { return }
        adopt(now, minimumAge: .zero)
    }

    private func adopt(_ now: Instant, minimumAge: Duration) {
        guard !adoptUnderWay, intake.isConnected, linesLoaded, mayAct(at: now), !isDraining else { return }
        let owned = shardsInOrder.filter { $0.phase == .owned }
        guard !owned.isEmpty else { return }
        if minimumAge == .zero { adoptWanted = false }
        adoptUnderWay = true
        let limit: Int32 = 500
        let sent = now
        let start = unseen.start(at: now, shards: owned.map(\.fence))
        intake.adopt(owner(of: owned), age: minimumAge, after: start, limit: limit) { [weak self] result in
            guard let self else { return }
            self.adoptUnderWay = false
            guard case .success(let seen) = result else {
                self.adoptWanted = true
                return
            }
            let now = loop.present
            let isAll = seen.count < Int(limit)
            self.unseen.looked(from: start, newest: seen.map(\.id).max(), isAll: isAll, sent: sent, now: now)
            for job in seen { self.know(job, now) }
            if !isAll { self.adoptWanted = true }
        }
    }

    /// Scheduled jobs whose time has come get their place: a batch at a time, in which lanes take turns.
    func placeScheduled(_ now: Instant) {
        guard !placing.isEmpty, !placeUnderWay, intake.isConnected, mayAct(at: now) else { return }
        var ids: [Int64] = []
        while ids.count < Self.placeLimit, let number = placing.next() {
            guard let lane = lanes[number] else { continue }
            ids += lane.queue.takeScheduled(at: now, limit: Self.placesOfTurn).map(\.id.value)
            if hasScheduled(number, now) { placing.join(number) }
            // What is taken may be gone from the database, and what comes after it must not wait for a reply about it.
            wakeLane(lane, now)
        }
        guard !ids.isEmpty else { return }
        placeUnderWay = true
        intake.place(ids, owner) { [weak self] result in
            guard let self else { return }
            self.placeUnderWay = false
            let now = loop.present
            if case .success(let placed) = result {
                for job in placed { self.know(job, now) }
                // The database's clock may be a moment behind ours, or the job is gone: the row says which.
                self.lookAgain(at: Set(ids).subtracting(placed.map(\.id)))
                return
            }
            if case .failure(let error) = result, !error.isConnectionLost {
                self.log.warning("scheduled jobs could not be placed", metadata: ["error": "\(error)"])
                self.reloadAll()
            }
        }
    }

    func hasScheduled(_ number: Int32, _ now: Instant) -> Bool {
        lanes[number]?.queue.nextScheduled.map { $0 <= now } ?? false
    }

    /// What the rows say of jobs that are not where they were thought to be. The persons of `held` are released when the
    /// rows are known, unless another worker's attempt of theirs is in the air.
    func lookAgain(at ids: Set<Int64>, held: [LanePerson] = []) {
        guard !ids.isEmpty else { return }
        intake.watch(ids.sorted()) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error):
                // A lost connection loads everything again by itself.
                if !error.isConnectionLost { self.reloadAll() }
            case .success(let rows):
                let now = loop.present
                for job in rows { self.know(job, now) }
                for person in held
                where !self.foreign.values.contains(where: { $0.lane == person.lane && $0.person == person.person }) {
                    self.lanes[person.lane]?.queue.release(person: person.person)
                    self.dueLanes.insert(person.lane)
                }
            }
        }
    }

    func reloadAll() {
        for shard in shardsInOrder where shard.phase == .owned { load(shard) }
    }
}

/// A person of a lane.
struct LanePerson: Hashable {
    let lane: Int32
    let person: Int64
}
