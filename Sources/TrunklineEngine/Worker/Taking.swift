internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// Takes a batch of messages from the broker into PostgreSQL: one commit, then they may be acknowledged. A job that may go at
/// once begins in the same commit.
final class Taking {
    private struct Item {
        let job: SendJob
        let arrival: Arrivals.Arrival
        let request: [UInt8]
        /// It begins with the commit; nil: it waits.
        let fast: FastPath?
    }

    /// Where a job begins at once, with a slot that is promised to it.
    private struct FastPath {
        let lane: Int32
        let carrier: String
        /// Until when it may go on, as far as the gate knew when it began.
        let gateOpenUntil: Instant
    }

    /// What the messages of a batch are.
    private struct Reading {
        var sends: [Item] = []
        var jobs = TakeBatch()
        var events: [(event: WebhookJob, arrival: Arrivals.Arrival)] = []
        var refused: [Refused] = []
        /// Persons of whom something of this batch waits: what comes later of them waits behind it.
        var waiting: Set<LanePerson> = []
    }

    /// The statements of a batch. It is done when its last one is.
    private final class Writing {
        private var open = 1
        private var error: PostgresError?
        /// Messages of which it is not known what became of them.
        var unknown: [Arrivals.Arrival] = []
        private let done: (Result<[Arrivals.Arrival], PostgresError>) -> Void

        init(_ done: @escaping (Result<[Arrivals.Arrival], PostgresError>) -> Void) { self.done = done }

        func began() { open += 1 }

        func ended(_ error: PostgresError? = nil) {
            self.error = self.error ?? error
            open -= 1
            if open == 0 { done(self.error.map { .failure($0) } ?? .success(unknown)) }
        }
    }

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let origins: Origins
    private let board: LaneBoard
    private let retries: RetryAlarms
    private let attempts: Attempts
    private let rows: Rows
    private let caller: Caller
    private let calls: Calls
    private let refusals: Refusals
    private let ledger: any JobLedger
    private let publisher: any WakePublisher

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ origins: Origins,
        _ board: LaneBoard,
        _ retries: RetryAlarms,
        _ attempts: Attempts,
        _ rows: Rows,
        _ caller: Caller,
        _ calls: Calls,
        _ refusals: Refusals,
        _ ports: WorkerPorts
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.origins = origins
        self.board = board
        self.retries = retries
        self.attempts = attempts
        self.rows = rows
        self.caller = caller
        self.calls = calls
        self.refusals = refusals
        ledger = ports.intake
        publisher = ports.publisher
    }

    /// Takes a batch of one way. `done` is told of messages of which it is not known what became of them; after a failure
    /// nothing is known of any.
    func take(
        _ batch: [Arrivals.Arrival],
        _ way: Arrivals.Way,
        at now: Instant,
        done: @escaping (Result<[Arrivals.Arrival], PostgresError>) -> Void
    ) {
        let sent = here.now
        let owner = shards.owner
        let reading = read(batch, way, now)
        here.reached(.accepted, times: batch.count)

        let writing = Writing(done)
        if !reading.refused.isEmpty {
            writing.began()
            refusals.record(reading.refused) { writing.ended($0) }
        }
        if !reading.events.isEmpty {
            writing.began()
            write(reading.events, writing)
        }
        if !reading.sends.isEmpty {
            writing.began()
            let request = TakeRequest(
                batch: reading.jobs,
                owner: way == .shard ? owner : nil,
                lease: here.timing.lease,
                jobClass: way == .bulk ? .bulk : .single,
                parked: way == .dead ? .deadLettered : nil,
                pace: board.paceWrites(of: reading.sends.compactMap(\.fast?.lane))
            )
            write(request, reading.sends, sent: sent, writing)
        }
        writing.ended()
    }

    // MARK: Reading

    private func read(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, _ now: Instant) -> Reading {
        let wall = here.loop.wallTime
        var reading = Reading()
        for arrival in batch {
            here.poison(.message, arrival.body)
            do throws(Refusal) {
                if arrival.bodySize > UInt64(arrival.body.count) {
                    throw Refusal(
                        kind: .tooLarge,
                        reason: "the message has \(arrival.bodySize) bytes, more than any message may have"
                    )
                }
                switch try QueueMessage.decode(arrival.body) {
                case .wake(let wake): woken(wake, arrival, now)
                case .webhook(let event): reading.events.append((event, arrival))
                case .send(let job): read(job, arrival, way, wall, now, &reading)
                }
            } catch {
                reading.refused.append(Refused(refusal: error, arrival: arrival))
            }
        }
        return reading
    }

    /// A wake-up only makes the owner look at rows; when it is lost, the sweep looks. One that came through a retry tier is a
    /// second alarm clock beside the lane's own timer.
    private func woken(_ wake: WakeUp, _ arrival: Arrivals.Arrival, _ now: Instant) {
        agenda.adopt()
        var shard: Int32?
        if case .shard(let number) = arrival.queue.kind { shard = number }
        retries.rang(wake, shard: shard, at: now)
        arrival.queue.commit(arrival.tag, epoch: arrival.epoch)
    }

    private func read(
        _ job: SendJob,
        _ arrival: Arrivals.Arrival,
        _ way: Arrivals.Way,
        _ wall: Timestamp,
        _ now: Instant,
        _ reading: inout Reading
    ) {
        do throws(Refusal) {
            try check(job, wall)
        } catch  where error.kind == .late && arrival.redelivered {
            // It came in time and was taken then, or it ends as expired, in sight.
        } catch {
            reading.refused.append(
                Refused(refusal: error, arrival: arrival, line: job.line.value, key: job.key.value)
            )
            return
        }
        let request: [UInt8]
        do throws(Refusal) {
            request = try here.configuration.carriers.line.render(.send(job))
        } catch {
            reading.refused.append(
                Refused(refusal: error, arrival: arrival, line: job.line.value, key: job.key.value)
            )
            return
        }
        let settings = directory[job.line.value]
        let fast = way == .shard ? settings.flatMap { beginNew(job, $0, &reading.waiting, now) } : nil
        let item = Item(
            job: job,
            arrival: arrival,
            request: request,
            fast: fast
        )
        reading.jobs.append(job, requestBytes: item.request, fast: fast != nil)
        reading.sends.append(item)
    }

    private func check(_ job: SendJob, _ now: Timestamp) throws(Refusal) {
        guard PhoneNumbers.isPossible(e164: job.to.value) else {
            throw Refusal(kind: .invalid, field: "to", reason: "no country has numbers of that length")
        }
        try job.validate(now: now)
    }

    /// Whether a job that just arrived may be claimed in the commit that takes it (design, section 3): gate open, pace
    /// allows, a slot is free, it is the head of its person, and nothing of its class waits. If so a slot is promised to it.
    private func beginNew(
        _ job: SendJob,
        _ settings: LaneSettings,
        _ waiting: inout Set<LanePerson>,
        _ now: Instant
    ) -> FastPath? {
        guard !settings.isRemoved, settings.fault == nil else { return nil }
        let person = LanePerson(lane: settings.lane, person: job.person)
        if !waiting.contains(person), shards.isOwned(settings.shard), !settings.isOnHold(at: now),
            job.notBefore == nil, job.supersedeKey == nil, settings.dailyCap == nil, !origins.isBroken(settings),
            board.leavesOne(of: caller.freeSlots(for: settings)), let lane = board.ownedLane(settings.lane),
            let gateOpenUntil = lane.beginNew(person: job.person, at: now)
        {
            board.obey(lane.began(at: now), of: lane)
            caller.promise(to: settings.carrier)
            return FastPath(lane: lane.number, carrier: settings.carrier, gateOpenUntil: gateOpenUntil)
        }
        waiting.insert(person)
        return nil
    }

    // MARK: Sends

    private func write(_ request: TakeRequest, _ items: [Item], sent: Instant, _ writing: Writing) {
        ledger.take(request) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let answers): taken(items, answers, sent: sent, writing)
            case .failure(let error):
                for item in items { notBegun(item) }
                writing.ended(error)
            }
        }
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

    /// If it was to begin, its slot and its person are free again.
    private func notBegun(_ item: Item) {
        guard let fast = item.fast else { return }
        caller.promiseEnded(to: fast.carrier)
        board.lane(fast.lane)?.takenBack(person: item.job.person)
    }

    private func taken(_ items: [Item], _ answers: [TakeAnswer], sent: Instant, _ writing: Writing) {
        var after = Aftermath()
        here.reached(.taken, times: items.count)
        for answer in answers where items.indices.contains(answer.item) {
            let item = items[answer.item]
            if answer.verdict.hasBegun {
                if let fast = item.fast { caller.promiseEnded(to: fast.carrier) }
            } else {
                notBegun(item)
            }
            taken(item, answer.verdict, sent: sent, &after)
        }
        writing.unknown += after.unknown
        // The fence fell: nothing of these shards was written, their messages go back by closing their channels.
        for arrival in after.givenBack where arrival.epoch == arrival.queue.epoch {
            if case .shard(let number) = arrival.queue.kind, after.lost.contains(number) { continue }
            arrival.queue.restart(prefetch: 300)
        }
        for number in after.lost { agenda.lost(shard: number) }
        agenda.lookAgain(at: after.unsure)
        wake(after.wakes)
        if after.refused.isEmpty { writing.ended() } else { refusals.record(after.refused) { writing.ended($0) } }
    }

    private func taken(_ item: Item, _ verdict: TakeVerdict, sent: Instant, _ after: inout Aftermath) {
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
        func commit() {
            here.telemetry.taken += 1
            item.arrival.queue.commit(item.arrival.tag, epoch: item.arrival.epoch)
        }
        switch verdict {
        case .new(let job):
            accepted(item, job, sent: sent, &after)
            commit()
        case .repeat(let job, _, let finalState):
            // An unfinished one may be in nobody's memory: its first take's reply was lost and came after a reload.
            if finalState == nil, !attempts.has(job), !rows.isForeign(job) { after.unsure.insert(job) }
            commit()
        case .lost:
            if let settings = directory[item.job.line.value] { after.lost.insert(settings.shard) }
            after.givenBack.append(item.arrival)
        case .conflict(let job, let other):
            let place = other.map { " on line \($0)" } ?? ""
            refused(.conflict, "key", "the key belongs to job \(job)\(place), whose content is another")
        case .unknownLine: refused(.unknownLine, "line", "there is no line of that id")
        case .removedLine: refused(.unknownLine, "line", "the line was removed")
        case .unheard(let word):
            here.unheard(word, of: "take")
            after.unknown.append(item.arrival)
        }
    }

    /// A new job: called, remembered, or left to whoever owns it.
    private func accepted(_ item: Item, _ taken: TakenJob, sent: Instant, _ after: inout Aftermath) {
        switch taken.state {
        case .sending: begun(item, taken, sent: sent)
        case .waiting: wait(item, taken)
        case .accepted:
            guard let settings = directory[item.job.line.value] else { return }
            if shards.isOwned(settings.shard) { agenda.adopt() } else { after.wakes[settings.shard] = JobID(taken.job) }
        case .parked: break  // it came from the dead-letter queue
        case .unknown: here.unheard("unknown", of: "take's state")
        case .unheard(let word): here.unheard(word, of: "take's state")
        }
    }

    private func begun(_ item: Item, _ taken: TakenJob, sent: Instant) {
        attempts.began(
            Call(
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
                gateOpenUntil: item.fast?.gateOpenUntil ?? here.now,
                claimSent: sent
            )
        )
        here.telemetry.claimed += 1
        here.reached(.claimed)
        calls.carry(taken.job)
    }

    private func wait(_ item: Item, _ taken: TakenJob) {
        // A lane that was lost finds the row by itself.
        if shards.doubt(taken.job, of: taken.lane) { return }
        guard let lane = board.ownedLane(taken.lane) else { return }
        let job = QueuedJob(
            id: JobID(taken.job),
            person: item.job.person,
            place: taken.place,
            jobClass: .single,
            due: here.now + max(.zero, taken.dueIn),
            attempt: 0,
            tries: 0,
            isStamped: false
        )
        if lane.waiting(job.id, person: job.person) == nil { lane.wait(job) }
        agenda.look(at: lane.number)
    }

    /// One message per shard is enough: its owner looks at every row that no owner has seen.
    private func wake(_ jobs: [Int32: JobID]) {
        guard !jobs.isEmpty else { return }
        // Lost ones cost latency only.
        publisher.publishWakeUps(
            jobs.sorted { $0.key < $1.key }.map { shard, job in
                RabbitMessage(
                    exchange: Topology.jobsExchange,
                    routingKey: Route.shard(Int(shard)),
                    body: WakeUp(job: job, attempt: AttemptNumber(0)).encode()
                )
            }
        )
    }

    // MARK: Events

    private func write(_ events: [(event: WebhookJob, arrival: Arrivals.Arrival)], _ writing: Writing) {
        ledger.takeEvents(events.map(\.event)) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): writing.ended(error)
            case .success(let answers):
                var refused: [Refused] = []
                for answer in answers where events.indices.contains(answer.item) {
                    let (event, arrival) = events[answer.item]
                    switch answer.verdict {
                    case .new, .repeat:
                        here.telemetry.taken += 1
                        arrival.queue.commit(arrival.tag, epoch: arrival.epoch)
                    case .conflict:
                        let reason = "this delivery id of source \(event.source) came before with other bytes"
                        refused.append(
                            Refused(
                                refusal: Refusal(kind: .conflict, field: "headers", reason: reason),
                                arrival: arrival
                            )
                        )
                    case .unheard(let word):
                        here.unheard(word, of: "take_events")
                        writing.unknown.append(arrival)
                    }
                }
                if refused.isEmpty { writing.ended() } else { refusals.record(refused) { writing.ended($0) } }
            }
        }
    }
}
