internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Takes a batch of messages from the broker into PostgreSQL: one commit, then they may be acknowledged. A job that may go at
/// once begins in the same commit.
final class Taking {
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
    private let reader: BatchReader
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let rows: Rows
    private let caller: Caller
    private let calls: Calls
    private let refusals: Refusals
    private let ledger: any JobLedger
    private let wakeUps: WakeUps

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
        reader = BatchReader(here, agenda, directory, shards, origins, board, retries, caller)
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.rows = rows
        self.caller = caller
        self.calls = calls
        self.refusals = refusals
        ledger = ports.intake
        wakeUps = WakeUps(ports.publisher)
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
        let reading = reader.read(batch, way, at: now)
        here.reached(.accepted, times: batch.count)

        let writing = Writing(done)
        writing.unknown = reading.unknownYet
        if !reading.refused.isEmpty {
            writing.began()
            refusals.record(reading.refused) { writing.ended($0) }
        }
        if !reading.events.isEmpty {
            writing.began()
            write(reading.events, writing)
        }
        if !reading.items.isEmpty {
            writing.began()
            let request = TakeRequest(
                batch: reading.jobs,
                owner: way == .shard ? owner : nil,
                lease: here.timing.lease,
                jobClass: way == .bulk ? .bulk : .single,
                parked: way == .dead ? .deadLettered : nil,
                pace: board.paceWrites(of: reading.items.compactMap(\.fast?.lane))
            )
            write(request, reading.items, sent: sent, writing)
        }
        writing.ended()
    }

    // MARK: Sends

    private func write(_ request: TakeRequest, _ items: [BatchReading.Item], sent: Instant, _ writing: Writing) {
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
    private func notBegun(_ item: BatchReading.Item) {
        guard let fast = item.fast else { return }
        caller.promiseEnded(to: fast.carrier)
        board.lane(fast.lane)?.takenBack(person: item.person)
        // It kept the lane's other jobs from beginning, and nothing else tells the lane that it is over.
        agenda.look(at: fast.lane)
    }

    private func taken(_ items: [BatchReading.Item], _ answers: [TakeAnswer], sent: Instant, _ writing: Writing) {
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
        wakeUps.publish(after.wakes)
        if after.refused.isEmpty { writing.ended() } else { refusals.record(after.refused) { writing.ended($0) } }
    }

    private func taken(_ item: BatchReading.Item, _ verdict: TakeVerdict, sent: Instant, _ after: inout Aftermath) {
        func refused(_ kind: Refusal.Kind, _ field: String, _ reason: String) {
            after.refused.append(
                Refused(
                    refusal: Refusal(kind: kind, field: field, reason: reason),
                    arrival: item.arrival,
                    lane: item.work.lane,
                    key: item.work.key.value
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
            if let settings = directory[item.work.lane] { after.lost.insert(settings.shard) }
            after.givenBack.append(item.arrival)
        case .conflict(let job, let other):
            let place = other.map { " on \($0)" } ?? ""
            refused(.conflict, "key", "the key belongs to job \(job)\(place), whose content is another")
        case .unknownLane:
            let lane = item.work.lane
            refused(lane.unknownKind, lane.noun, "there is no \(lane.noun) of that id")
        case .removedLane:
            let lane = item.work.lane
            refused(lane.unknownKind, lane.noun, "the \(lane.noun) was removed")
        case .unheard(let word):
            here.unheard(word, of: "take")
            after.unknown.append(item.arrival)
        }
    }

    /// A new job: called, remembered, or left to whoever owns it.
    private func accepted(_ item: BatchReading.Item, _ taken: TakenJob, sent: Instant, _ after: inout Aftermath) {
        switch taken.state {
        case .sending: begun(item, taken, sent: sent)
        case .waiting: wait(item, taken)
        case .accepted:
            guard let settings = directory[item.work.lane] else { return }
            if shards.isOwned(settings.shard) { agenda.adopt() } else { after.wakes[settings.shard] = JobID(taken.job) }
        case .parked: break  // it came from the dead-letter queue
        case .unknown: here.unheard("unknown", of: "take's state")
        case .unheard(let word): here.unheard(word, of: "take's state")
        }
    }

    private func begun(_ item: BatchReading.Item, _ taken: TakenJob, sent: Instant) {
        attempts.began(
            Call(
                job: taken.job,
                attempt: taken.attempt,
                tries: 1,
                lane: taken.lane,
                line: LaneDirectory.id(of: item.work.lane),
                person: item.person,
                place: taken.place,
                jobClass: .single,
                isStamped: false,
                key: item.work.key,
                request: item.request,
                sendBefore: item.work.sendBefore?.microseconds,
                gateOpenUntil: item.fast?.gateOpenUntil ?? here.now,
                claimSent: sent
            )
        )
        here.telemetry.claimed += 1
        here.reached(.claimed)
        calls.carry(taken.job)
    }

    private func wait(_ item: BatchReading.Item, _ taken: TakenJob) {
        // A lane that was lost finds the row by itself.
        if shards.doubt(taken.job, of: taken.lane) { return }
        guard let lane = board.ownedLane(taken.lane) else { return }
        let job = QueuedJob(
            id: JobID(taken.job),
            person: item.person,
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

    // MARK: Events

    private func write(_ events: [(event: NamedEvent, arrival: Arrivals.Arrival)], _ writing: Writing) {
        ledger.acceptEvents(events.map(\.event)) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): writing.ended(error)
            case .success(let answers): accepted(events, answers, writing)
            }
        }
    }

    private func accepted(
        _ events: [(event: NamedEvent, arrival: Arrivals.Arrival)],
        _ answers: [EventAnswer],
        _ writing: Writing
    ) {
        here.reached(.taken, times: answers.count)
        var refused: [Refused] = []
        var wakes: [Int32: JobID] = [:]
        for answer in answers where events.indices.contains(answer.item) {
            let (event, arrival) = events[answer.item]
            let lane = LaneName.source(event.event.source)
            func refuse(_ kind: Refusal.Kind, _ field: String, _ reason: String) {
                refused.append(
                    Refused(
                        refusal: Refusal(kind: kind, field: field, reason: reason),
                        arrival: arrival,
                        lane: lane
                    )
                )
            }
            switch answer.verdict {
            case .new, .repeat:
                here.telemetry.taken += 1
                arrival.queue.commit(arrival.tag, epoch: arrival.epoch)
                guard let job = answer.job, let settings = directory[lane] else { continue }
                if shards.isOwned(settings.shard) { agenda.adopt() } else { wakes[settings.shard] = JobID(job) }
            case .conflict: refuse(.conflict, "headers", "this event of \(lane) came before with other bytes")
            case .unknownLane: refuse(lane.unknownKind, lane.noun, "there is no source of that id")
            case .removedLane: refuse(lane.unknownKind, lane.noun, "the source was removed")
            case .unheard(let word):
                here.unheard(word, of: "accept_events")
                writing.unknown.append(arrival)
            }
        }
        wakeUps.publish(wakes)
        if refused.isEmpty { writing.ended() } else { refusals.record(refused) { writing.ended($0) } }
    }
}
