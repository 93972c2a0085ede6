internal import RabbitDriver
internal import TrunklineCore

/// The second alarm clock of every retry: a message in a tier of the broker, beside the lane's own timer (decision 6). Knows
/// which jobs wait for their next try, so that a wake-up finds its lane.
final class RetryAlarms {
    private struct Wait {
        let lane: Int32
        let person: Int64
        let attempt: Int32
    }

    private let here: Surroundings
    private let agenda: Agenda
    private let board: LaneBoard
    private let publisher: any WakePublisher
    private var waits: [Int64: Wait] = [:]
    /// Those that are still to be looked at in the database.
    private var toCheck = Rotation<Int64>()

    init(_ here: Surroundings, _ agenda: Agenda, _ board: LaneBoard, _ publisher: any WakePublisher) {
        self.here = here
        self.agenda = agenda
        self.board = board
        self.publisher = publisher
    }

    /// The job waits for the try after `attempt`.
    func waits(_ job: Int64, lane: Int32, person: Int64, attempt: Int32) {
        waits[job] = Wait(lane: lane, person: person, attempt: attempt)
    }

    /// It has begun, or ended.
    func ended(_ job: Int64) { waits[job] = nil }

    func forget(where isGone: (_ lane: Int32) -> Bool) { waits = waits.filter { !isGone($0.value.lane) } }

    /// Publishes the wake-up of a job whose row waits that long.
    func set(_ job: Int64, _ attempt: Int32, shard: Int32, in wait: Duration) {
        guard !here.isOff(.retryTiers) else { return }
        // A wait that is shorter than every tier has the shortest one, as a clock that may be late.
        let tier = Topology.tier(atMost: wait) ?? Topology.tiers[0]
        publisher.publishWakeUps([
            .init(
                exchange: tier.exchange,
                routingKey: Route.shard(Int(shard)),
                body: WakeUp(job: JobID(job), attempt: AttemptNumber(attempt)).encode()
            )
        ])
    }

    /// A wake-up came. Its lane is looked at; and where its job waits on, the next tier wakes again.
    func rang(_ wake: WakeUp, shard: Int32?, at now: Instant) {
        guard let known = waits[wake.job.value] else { return }
        agenda.look(at: known.lane)
        guard let shard, known.attempt == wake.attempt.value,
            let job = board.lane(known.lane)?.waiting(wake.job, person: known.person),
            job.due > now + .milliseconds(500)
        else { return }
        set(wake.job.value, known.attempt, shard: shard, in: job.due - now)
    }

    /// Jobs that may have been cancelled or superseded while they wait: all of them in turn, a batch at a time.
    func nextToCheck(limit: Int) -> [Int64] {
        if toCheck.isEmpty { for job in waits.keys { toCheck.join(job) } }
        var jobs: [Int64] = []
        while jobs.count < limit, let job = toCheck.next() {
            if let wait = waits[job], board.lane(wait.lane) != nil { jobs.append(job) }
        }
        return jobs
    }

    /// The job's row is gone: what stands behind it must not wait for a try that never comes.
    func vanished(_ job: Int64) {
        guard let wait = waits.removeValue(forKey: job), let lane = board.lane(wait.lane) else { return }
        if lane.remove(JobID(job), person: wait.person) { agenda.look(at: wait.lane) }
    }
}
