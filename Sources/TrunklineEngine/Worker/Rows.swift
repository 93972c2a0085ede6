internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// What rows of the database say of jobs: takes them into memory, whatever their state, and watches attempts of other workers
/// until they have ended.
final class Rows {
    /// Rows in one statement that reads known jobs again.
    static let watchLimit = 1_000

    /// Another worker's attempt that this owner waits for.
    private struct ForeignAttempt {
        let attempt: Int32
        let lane: Int32
        let person: Int64
        let owner: BootID?
        /// Since when it was seen expired, without a break of the database connection.
        var expiredSince: Instant?
    }

    private let here: Surroundings
    private let agenda: Agenda
    private let membership: Membership
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let retries: RetryAlarms
    private let settling: Settling
    private let ledger: any JobLedger
    private var foreign: [Int64: ForeignAttempt] = [:]
    /// Lanes in which attempts of others are counted as calls in the air.
    private var counted: Set<Int32> = []
    private var isWatching = false

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ membership: Membership,
        _ shards: Shards,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ retries: RetryAlarms,
        _ settling: Settling,
        _ ledger: any JobLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.membership = membership
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.retries = retries
        self.settling = settling
        self.ledger = ledger
    }

    // MARK: Rows

    /// Takes a row into memory, whatever its state.
    func know(_ job: SeenJob, _ now: Instant, unplacedWait: Duration = .zero) {
        guard let lane = board.ownedLane(job.lane) else {
            shards.doubt(job.id, of: job.lane)
            return
        }
        lane.noteLastSend(job, at: now)
        switch job.state {
        case .waiting, .unknown:
            wait(job, in: lane, now, unplacedWait: unplacedWait)
            agenda.look(at: job.lane)
        case .sending: knowAttempt(job, in: lane)
        case .parked, .accepted: break
        case .unheard(let word): here.unheard(word, of: "a row's state")
        }
    }

    /// A job waits in its lane.
    func wait(_ job: SeenJob, in lane: Lane, _ now: Instant, unplacedWait: Duration = .zero) {
        guard !attempts.has(job.id) else { return }
        if job.attempt > 0 { retries.waits(job.id, lane: job.lane, person: job.person, attempt: job.attempt) }
        lane.wait(
            QueuedJob(
                id: JobID(job.id),
                person: job.person,
                place: job.place,
                jobClass: job.jobClass,
                due: now + max(job.place > 0 || job.dueIn > .zero ? .zero : unplacedWait, job.dueIn),
                attempt: job.attempt,
                tries: job.tries,
                isStamped: job.isStamped,
                isSuspect: job.isSuspect
            )
        )
    }

    private func knowAttempt(_ job: SeenJob, in lane: Lane) {
        if attempts.has(job.id) { return }
        if job.claimedBy == here.boot {
            // The reply of the claim's COMMIT was lost: we began this attempt and never knew, so nothing has left.
            guard !here.isOff(.reread) else { return }
            settling.add(
                Settlement(
                    job: job.id,
                    attempt: job.attempt,
                    outcome: .givenBack,
                    reason: Reason.claimReplyLost.code
                )
            )
        }
        lane.hold(person: job.person)
        foreign[job.id] = ForeignAttempt(
            attempt: job.attempt,
            lane: job.lane,
            person: job.person,
            owner: job.claimedBy,
            expiredSince: nil
        )
        counted.insert(job.lane)
        count(in: job.lane, lane, here.now)
    }

    /// What the rows say of jobs that are not where they were thought to be. The persons of `held` are released when the
    /// rows are known, unless another worker's attempt of theirs is in the air.
    ///
    /// - Parameter wait: how long one waits on whose time has come and that has no place.
    func look(at jobs: Set<Int64>, held: [LanePerson] = [], unplacedWait wait: Duration = .zero) {
        guard !jobs.isEmpty else { return }
        ledger.watch(jobs.sorted()) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error):
                // A lost connection loads everything again by itself.
                if !error.isConnectionLost { agenda.reload() }
            case .success(let rows):
                let now = here.now
                for job in rows { know(job, now, unplacedWait: wait) }
                for person in held where !isForeign(person) {
                    board.lane(person.lane)?.release(person: person.person)
                    agenda.look(at: person.lane)
                }
            }
        }
    }

    // MARK: Attempts of others

    /// A lane's concurrency holds over owners: what a former one that lives has in the air counts. What a lost one had is left
    /// to its lease, and nothing waits for it but its person.
    private func count(in number: Int32, _ lane: Lane, _ now: Instant) {
        guard !here.isOff(.othersInAir) else { return }
        lane.others(
            inAir: foreign.values.count { attempt in
                attempt.lane == number && attempt.owner.map { membership.isAtWork($0, at: now) } ?? false
            }
        )
    }

    private func countAgain(_ now: Instant) {
        for number in counted.sorted() {
            guard let lane = board.lane(number) else { continue }
            count(in: number, lane, now)
            agenda.look(at: number)
        }
        counted.formIntersection(foreignLanes)
    }

    func isForeign(_ job: Int64) -> Bool { foreign[job] != nil }

    private func isForeign(_ person: LanePerson) -> Bool {
        foreign.values.contains { $0.lane == person.lane && $0.person == person.person }
    }

    /// Lanes in which an attempt of another worker is in the air.
    var foreignLanes: Set<Int32> { Set(foreign.values.map(\.lane)) }

    func forget(where isGone: (_ lane: Int32) -> Bool) { foreign = foreign.filter { !isGone($0.value.lane) } }

    func connectionLost() {
        for job in foreign.keys { foreign[job]?.expiredSince = nil }
        isWatching = false
    }

    /// A new owner watches foreign attempts and goes on when they settle, or when it has itself seen them expired and
    /// unchanged for the patience of the design, without a break of the database connection.
    func watch(at now: Instant) {
        countAgain(now)
        guard !foreign.isEmpty, !isWatching else { return }
        isWatching = true
        let asked = foreign
        ledger.watch(asked.keys.sorted()) { [weak self] result in
            guard let self else { return }
            isWatching = false
            guard case .success(let rows) = result else { return }
            var seen: [Int64: SeenJob] = [:]
            for job in rows { seen[job.id] = job }
            let now = here.now
            let expired = asked.sorted { $0.key < $1.key }.filter { job, known in
                isExpired(job, known, seen[job], now)
            }
            countAgain(now)
            if !expired.isEmpty { abandon(expired.map { JobAttempt(job: $0.key, attempt: $0.value.attempt) }) }
        }
    }

    /// Whether the attempt is to be taken over. One that has ended is known from its row.
    private func isExpired(_ id: Int64, _ known: ForeignAttempt, _ job: SeenJob?, _ now: Instant) -> Bool {
        guard var attempt = foreign[id], attempt.attempt == known.attempt else { return false }
        guard let job, job.state == .sending, job.attempt == attempt.attempt else {
            foreign[id] = nil
            if let job { know(job, now) }
            if foreign[id] == nil, let lane = board.lane(attempt.lane) {
                // Its bytes may have left as late as this.
                lane.wroteTo(person: attempt.person, at: now)
                lane.release(person: attempt.person)
            }
            agenda.look(at: attempt.lane)
            return false
        }
        if here.isOff(.foreignLease) { return true }
        guard let left = job.leaseLeft, left < .zero else {
            // Also one that was begun anew meanwhile.
            foreign[id]?.expiredSince = nil
            return false
        }
        let since = attempt.expiredSince ?? now
        attempt.expiredSince = since
        foreign[id] = attempt
        return now - since >= here.timing.foreignPatience
    }

    private func abandon(_ attempts: [JobAttempt]) {
        ledger.abandon(attempts, shards.owner) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let now = here.now
            for job in rows {
                guard let attempt = foreign.removeValue(forKey: job.id) else { continue }
                know(job, now)
                board.lane(attempt.lane)?.release(person: attempt.person)
                here.log.info(
                    "attempt of a lost worker taken over",
                    metadata: ["job": "\(job.id)", "attempt": "\(job.attempt)"]
                )
            }
        }
    }
}
