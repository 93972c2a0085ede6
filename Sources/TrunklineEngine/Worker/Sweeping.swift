internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Looks for rows that nothing has announced: that no owner has seen, whose time has come or passed, or that memory has lost.
final class Sweeping {
    /// Scheduled jobs that get their places in one statement.
    private static let placeLimit = 500
    private static let adoptLimit: Int32 = 500
    private static let expireLimit: Int32 = 500
    private static let auditInterval: Duration = .seconds(10)
    private static let forgettingInterval: Duration = .seconds(60)
    /// Until a statement that failed is tried again, and a job whose row or person somebody else keeps is looked at again.
    private static let retryInterval: Duration = .seconds(1)

    private let here: Surroundings
    private let agenda: Agenda
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let retries: RetryAlarms
    private let rows: Rows
    private let ledger: any JobLedger
    private var unseen = UnseenHorizon()
    private var isAdopting = false
    /// Not before this, after a failure.
    private var nextAdoption: Instant?
    private var isPlacing = false
    private var lastSweep: Instant?
    private var lastForgetting: Instant?
    private var lastAudit: Instant?

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ shards: Shards,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ retries: RetryAlarms,
        _ rows: Rows,
        _ ledger: any JobLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.retries = retries
        self.rows = rows
        self.ledger = ledger
    }

    func connectionLost() {
        isAdopting = false
        isPlacing = false
    }

    // MARK: Rows that no owner has seen

    /// Twice a second; does something once a second.
    func sweep(_ membership: Membership, _ directory: LaneDirectory, at now: Instant) {
        guard lastSweep.map({ now - $0 >= here.timing.sweep }) ?? true else { return }
        lastSweep = now
        let mayAct = ledger.isConnected && membership.mayAct(at: now)
        if mayAct, directory.isLoaded { adopt(minimumAge: here.timing.sweepAge, now) }
        if lastForgetting.map({ now - $0 >= Self.forgettingInterval }) ?? true {
            lastForgetting = now
            board.forgetIdlePersons(at: now)
        }
        if mayAct { expire() }
    }

    /// Once a turn: if somebody has asked for it.
    func adoptIfWanted(at now: Instant) {
        if agenda.wantsAdoption { adopt(minimumAge: .zero, now) }
    }

    private func adopt(minimumAge: Duration, _ now: Instant) {
        if let nextAdoption, nextAdoption > now { return }
        guard !isAdopting, !here.isDraining, let owner = shards.knowingOwner else { return }
        if minimumAge == .zero { agenda.adoptionBegan() }
        isAdopting = true
        let start = unseen.start(at: now, shards: owner.fences)
        ledger.adopt(owner, age: minimumAge, after: start, limit: Self.adoptLimit) { [weak self] result in
            guard let self else { return }
            isAdopting = false
            switch result {
            case .success(let seen):
                nextAdoption = nil
                let isAll = seen.count < Int(Self.adoptLimit)
                unseen.looked(from: start, newest: seen.map(\.id).max(), isAll: isAll, sent: now, now: here.now)
                for job in seen { rows.know(job, here.now) }
                if !isAll { agenda.adopt() }
            case .failure(let error):
                agenda.adopt()
                guard !error.isConnectionLost else { return }
                here.log.warning("unseen rows could not be adopted", metadata: ["error": "\(error)"])
                nextAdoption = here.now + Self.retryInterval
                here.wakeTurn(in: Self.retryInterval)
            }
        }
    }

    // MARK: Jobs whose time has come or passed

    /// Scheduled jobs whose time has come get their place: a batch at a time.
    func place(at now: Instant) {
        guard board.hasJobsToPlace, !isPlacing else { return }
        let jobs = board.jobsToPlace(at: now, limit: Self.placeLimit)
        guard !jobs.isEmpty else { return }
        isPlacing = true
        ledger.place(jobs, shards.owner) { [weak self] result in
            guard let self else { return }
            isPlacing = false
            switch result {
            case .success(let placed):
                let now = here.now
                for job in placed { rows.know(job, now) }
                // The database's clock may be a moment behind ours, somebody else has a row of the person locked, or the
                // job is gone: the row says which.
                rows.look(at: Set(jobs).subtracting(placed.map(\.id)), unplacedWait: Self.retryInterval)
            case .failure(let error) where !error.isConnectionLost:
                here.log.warning("scheduled jobs could not be placed", metadata: ["error": "\(error)"])
                rows.look(at: Set(jobs), unplacedWait: Self.retryInterval)
            case .failure: break
            }
        }
    }

    /// A notice whose `sendBefore` has passed ends also where nothing may begin: on a held line, behind a closed gate.
    private func expire() {
        guard !shards.isEmpty else { return }
        ledger.expire(shards.owner, limit: Self.expireLimit) { [weak self] result in
            guard let self, case .success(let jobs) = result else { return }
            for job in jobs {
                board.lane(job.lane)?.remove(JobID(job.job), person: job.person)
                retries.ended(job.job)
                agenda.look(at: job.lane)
            }
        }
    }

    // MARK: Whether memory is still what is in the database

    /// The row is the truth: a shard is loaded again when the database has jobs that should have begun in a lane of which
    /// nothing is in memory. Twice a second; does something every 10 s.
    func audit(at now: Instant) {
        guard lastAudit.map({ now - $0 >= Self.auditInterval }) ?? true else { return }
        lastAudit = now
        let owned = shards.ownedNumbers
        guard !owned.isEmpty else { return }
        let busy = shards.lanesBeingRead.union(board.busyLanes).union(rows.foreignLanes).sorted()
        forgetEndedRetries()
        ledger.forgotten(ofShards: owned, of: shards.count, busy: busy) { [weak self] result in
            guard let self, case .success(let numbers) = result else { return }
            for number in numbers where shards.isOwned(number) {
                here.log.notice(
                    "shard loaded again: jobs in the database that were not in memory",
                    metadata: ["shard": "\(number)"]
                )
                agenda.load(shard: number)
            }
        }
    }

    /// A job that waits for its next try may have been cancelled or superseded meanwhile.
    private func forgetEndedRetries() {
        let asked = retries.nextToCheck(limit: Rows.watchLimit)
        guard !asked.isEmpty else { return }
        ledger.watch(asked) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let there = Set(rows.map(\.id))
            for job in asked where !there.contains(job) && !attempts.has(job) { retries.vanished(job) }
        }
    }
}
