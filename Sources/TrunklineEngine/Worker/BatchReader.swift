internal import RabbitDriver
internal import TrunklineCore
internal import TrunklinePhones

/// What the messages of a batch are.
struct BatchReading {
    struct Item {
        let work: CarriedWork
        let person: Int64
        let arrival: Arrivals.Arrival
        let request: [UInt8]
        /// It begins with the commit; nil: it waits.
        let fast: FastPath?
    }

    /// Where a job begins at once, with a slot that is promised to it.
    struct FastPath {
        let lane: Int32
        let carrier: String
        /// Until when it may go on, as far as the gate knew when it began.
        let gateOpenUntil: Instant
    }

    var items: [Item] = []
    var jobs = TakeBatch()
    var events: [(event: NamedEvent, arrival: Arrivals.Arrival)] = []
    var refused: [Refused] = []
    /// For destinations and from sources that are not known here yet.
    var unknownYet: [Arrivals.Arrival] = []
    /// Persons of whom something of this batch waits: what comes later of them waits behind it.
    var waiting: Set<LanePerson> = []
}

/// Reads messages: which of them are jobs, how their requests are rendered, and which may begin in the commit that takes them.
final class BatchReader {
    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let origins: Origins
    private let board: LaneBoard
    private let retries: RetryAlarms
    private let caller: Caller

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ origins: Origins,
        _ board: LaneBoard,
        _ retries: RetryAlarms,
        _ caller: Caller
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.origins = origins
        self.board = board
        self.retries = retries
        self.caller = caller
    }

    func read(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, at now: Instant) -> BatchReading {
        let wall = here.loop.wallTime
        var reading = BatchReading()
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
                case .webhook(let event): read(event, arrival, &reading)
                case .send(let job): read(job, arrival, way, wall, now, &reading)
                case .deliver(let job): read(job, arrival, wall, &reading)
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
        _ reading: inout BatchReading
    ) {
        guard isGood(.send(job), arrival, wall, &reading) else { return }
        guard let request = render(.send(job), here.configuration.carriers.line, arrival, &reading) else { return }
        let settings = directory[.line(job.line)]
        let fast = way == .shard ? settings.flatMap { beginNew(job, $0, &reading.waiting, now) } : nil
        let item = BatchReading.Item(
            work: .send(job),
            person: job.person,
            arrival: arrival,
            request: request,
            fast: fast
        )
        reading.jobs.append(job, requestBytes: request, fast: fast != nil)
        reading.items.append(item)
    }

    /// A delivery never begins in the commit that takes it. One for a destination that was perhaps added a moment ago is left
    /// aside once, until every lane that there was has been seen.
    private func read(
        _ job: DeliverJob,
        _ arrival: Arrivals.Arrival,
        _ wall: Timestamp,
        _ reading: inout BatchReading
    ) {
        let work = CarriedWork.deliver(job)
        guard isGood(work, arrival, wall, &reading) else { return }
        guard let settings = directory[work.lane] else {
            if arrival.hasWaited {
                refuse(.unknownDestination, "there is no destination of that id", work, arrival, &reading)
            } else {
                reading.unknownYet.append(arrival)
            }
            return
        }
        guard let carrier = here.configuration.carriers[settings.carrier] else {
            let reason = "a worker of this version carries nothing to \(settings.carrier)"
            return refuse(.invalid, reason, work, arrival, &reading)
        }
        guard let request = render(work, carrier, arrival, &reading) else { return }
        reading.jobs.append(job, requestBytes: request, fast: false)
        reading.items.append(
            BatchReading.Item(work: work, person: job.person, arrival: arrival, request: request, fast: nil)
        )
    }

    /// An event is named by its kind of source, so that one from a source that was perhaps added a moment ago is left aside as
    /// a delivery is.
    private func read(_ event: WebhookJob, _ arrival: Arrivals.Arrival, _ reading: inout BatchReading) {
        let lane = LaneName.source(event.source)
        func refuse(_ kind: Refusal.Kind, _ reason: String) {
            let refusal = Refusal(kind: kind, field: lane.noun, reason: reason)
            reading.refused.append(Refused(refusal: refusal, arrival: arrival, lane: lane))
        }
        guard let settings = directory[lane] else {
            if !arrival.hasWaited { return reading.unknownYet.append(arrival) }
            return refuse(lane.unknownKind, "there is no source of that id")
        }
        guard let runner = here.configuration.events, runner.reads(settings.carrier) else {
            return refuse(.invalid, "a worker of this version reads nothing of \(settings.carrier)")
        }
        let name = runner.name(ReceivedEvent(event), from: event.source, kind: settings.carrier)
        reading.events.append((NamedEvent(event, name), arrival))
    }

    /// Nil when it is refused.
    private func render(
        _ work: CarriedWork,
        _ carrier: any Carrier,
        _ arrival: Arrivals.Arrival,
        _ reading: inout BatchReading
    ) -> [UInt8]? {
        do throws(Refusal) {
            return try carrier.render(work)
        } catch {
            reading.refused.append(Refused(refusal: error, arrival: arrival, lane: work.lane, key: work.key.value))
            return nil
        }
    }

    private func refuse(
        _ kind: Refusal.Kind,
        _ reason: String,
        _ work: CarriedWork,
        _ arrival: Arrivals.Arrival,
        _ reading: inout BatchReading
    ) {
        let refusal = Refusal(kind: kind, field: work.lane.noun, reason: reason)
        reading.refused.append(
            Refused(refusal: refusal, arrival: arrival, lane: work.lane, key: work.key.value)
        )
    }

    /// Whether what was read may become a job; if not, it is refused.
    private func isGood(
        _ work: CarriedWork,
        _ arrival: Arrivals.Arrival,
        _ now: Timestamp,
        _ reading: inout BatchReading
    ) -> Bool {
        do throws(Refusal) {
            try PhoneNumbers.check(work)
            try work.validate(now: now)
            return true
        } catch  where error.kind == .late && arrival.redelivered {
            // It came in time and was taken then, or it ends as expired, in sight.
            return true
        } catch {
            reading.refused.append(
                Refused(refusal: error, arrival: arrival, lane: work.lane, key: work.key.value)
            )
            return false
        }
    }

    /// Whether a job that just arrived may be claimed in the commit that takes it (design, section 3): gate open, pace
    /// allows, a slot is free, it is the head of its person, and nothing of its class waits. If so a slot is promised to it.
    private func beginNew(
        _ job: SendJob,
        _ settings: LaneSettings,
        _ waiting: inout Set<LanePerson>,
        _ now: Instant
    ) -> BatchReading.FastPath? {
        guard !settings.isRemoved, settings.fault == nil else { return nil }
        let person = LanePerson(lane: settings.lane, person: job.person)
        if !waiting.contains(person), shards.isOwned(settings.shard), !settings.isOnHold(at: now),
            job.notBefore == nil, job.supersedeKey == nil, settings.dailyCap == nil,
            !settings.policy.beginsQuietly, !origins.isBroken(settings),
            board.leavesOne(of: caller.freeSlots(for: settings)), let lane = board.ownedLane(settings.lane),
            let gateOpenUntil = lane.beginNew(person: job.person, at: now)
        {
            board.obey(lane.began(at: now), of: lane)
            caller.promise(to: settings.carrier)
            return BatchReading.FastPath(lane: lane.number, carrier: settings.carrier, gateOpenUntil: gateOpenUntil)
        }
        waiting.insert(person)
        return nil
    }
}
