internal import PostgresDriver
package import TrunklineCore

/// Takes jobs and received events into the database, row first: what it answers is committed.
///
/// Safe to repeat: a batch whose answer was lost is given again, and the same keys are the same jobs. For one task at a
/// time; several acceptors may give the same keys at once.
package final class Acceptor {
    /// What the acceptor needs.
    package struct Configuration: Sendable {
        /// PostgreSQL's URI or connection string.
        package var databaseURL: String
        /// Shown in the server's list of connections.
        package var applicationName: String
        /// Whether the jobs may delay single notices. Default `single`.
        package var jobClass: JobClass
        /// Who accepts, as refusals say: `cli`, `http`, …
        package var via: String
        /// What renders the requests.
        package var carriers: CarrierRegistry
        /// How long a database that went away is waited for, from its first error on. Default 30 s.
        package var patience: Duration = .seconds(30)
        /// How long jobs may take in all; then the connection that has not answered is closed, and it throws. Default nil:
        /// as long as the server lets a statement take.
        package var limit: Duration?
        /// How long a statement waits for a lock, which somebody's open transaction may hold as long as it likes; then the jobs
        /// that need it are ``AcceptVerdict/notSent(_:)``, and the others go on. Default nil: as long as the server lets it.
        package var lockLimit: Duration?
        /// Whether what is refused is recorded.
        package var recordsRefusals = true

        package init(
            databaseURL: String,
            applicationName: String,
            jobClass: JobClass = .single,
            via: String = "cli",
            carriers: CarrierRegistry
        ) {
            self.databaseURL = databaseURL
            self.applicationName = applicationName
            self.jobClass = jobClass
            self.via = via
            self.carriers = carriers
        }
    }

    let configuration: Configuration
    private let wakes: WakeSender?
    private let clock = ContinuousClock()
    private var session: PostgresSession?
    private var kinds: [LaneName: String] = [:]
    private var random = SystemRandomNumberGenerator()
    /// When the jobs at hand have taken as long as they may.
    private var end: ContinuousClock.Instant?

    /// - Parameter wakes: tells the owners' queues about new jobs; without it they find them within seconds by themselves.
    package init(configuration: Configuration, wakes: WakeSender? = nil) {
        self.configuration = configuration
        self.wakes = wakes
    }

    /// Ends the connection. The wake sender is the caller's to end.
    package func close() async {
        await session?.close()
        session = nil
    }

    /// Takes the jobs, in order, and gives one verdict per job in the same order. Throws a `PostgresError` when the
    /// database stays away longer than `patience`, or does not answer within `limit`: then any of the jobs may or may not be
    /// accepted, and giving them again is the way to know.
    package func accept(_ jobs: [CarriedWork]) async throws -> [AcceptVerdict] {
        begin()
        var verdicts: [AcceptVerdict] = []
        verdicts.reserveCapacity(jobs.count)
        var start = 0
        while start < jobs.count {
            let end = min(start + TakeBatch.usualLimit, jobs.count)
            let batch = Array(jobs[start..<end])
            let taken = try await take(batch)
            verdicts += taken
            wake(batch, taken)
            if configuration.recordsRefusals { try await record(batch, taken) }
            start = end
        }
        return verdicts
    }

    /// The same for notices.
    package func accept(_ notices: [SendJob]) async throws -> [AcceptVerdict] {
        try await accept(notices.map { .send($0) })
    }

    // MARK: Inside

    /// From now on the work at hand may take as long as the limit says.
    func begin() { end = configuration.limit.map { clock.now + $0 } }

    private func take(_ jobs: [CarriedWork]) async throws -> [AcceptVerdict] {
        let known = try await carriers(of: jobs)
        var verdicts: [AcceptVerdict?] = []
        var rendered: [(work: CarriedWork, request: [UInt8])] = []
        for job in jobs {
            switch render(job, known) {
            case .success(let request):
                rendered.append((job, request))
                verdicts.append(nil)
            case .failure(let refusal):
                verdicts.append(refusal.kind == .unknownDestination ? .unknownLane : .refused(refusal))
            }
        }
        var taken = try await take(rendered[...])[...]
        return verdicts.map { verdict in verdict ?? taken.removeFirst() }
    }

    private func take(_ jobs: ArraySlice<(work: CarriedWork, request: [UInt8])>) async throws -> [AcceptVerdict] {
        if jobs.isEmpty { return [] }
        var batch = TakeBatch()
        for (work, request) in jobs {
            switch work {
            case .send(let job): batch.append(job, requestBytes: request, fast: false)
            case .deliver(let job): batch.append(job, requestBytes: request, fast: false)
            }
        }
        let parameters = batch.acceptanceParameters(jobClass: configuration.jobClass)
        do {
            let rows = try await persistently { session in
                try await session.query(TakeBatch.acceptance, parameters)
            }
            return try verdicts(rows, of: jobs)
        } catch let error as PostgresError where Self.isDataFault(error) || isLockFault(error) {
            // One row that the server cannot store, or not now, fails all: halve down to it, so that its neighbours go on.
            if isLockFault(error) {
                // It has answered: what is silent is not the database.
                begin()
                if jobs.count == 1 { return [.notSent("an open transaction holds its key")] }
            }
            if let job = jobs.first, jobs.count == 1 {
                return [
                    .refused(
                        Refusal(
                            kind: .invalid,
                            reason: "the database cannot store this \(job.work.noun) (\(error.sqlState ?? "no code"))"
                        )
                    )
                ]
            }
            let middle = jobs.startIndex + jobs.count / 2
            let first = try await take(jobs[..<middle])
            return try await first + take(jobs[middle...])
        }
    }

    /// The request as its lane's carrier makes it.
    private func render(_ work: CarriedWork, _ known: [LaneName: String]) -> Result<[UInt8], Refusal> {
        do throws(Refusal) {
            if work.lane.line != nil { return .success(try configuration.carriers.line.render(work)) }
            guard let kind = known[work.lane] else {
                throw Refusal(kind: .unknownDestination, reason: "there is no such destination")
            }
            guard let carrier = configuration.carriers[kind] else {
                throw Refusal(
                    kind: .invalid,
                    field: "destination",
                    reason: "the \(work.lane) is of kind \(kind), which this program does not know"
                )
            }
            return .success(try carrier.render(work))
        } catch {
            return .failure(error)
        }
    }

    /// The kinds of the destinations that the jobs are for: a kind stays for ever, so each is asked for once.
    private func carriers(of jobs: [CarriedWork]) async throws -> [LaneName: String] {
        let asked = Set(jobs.compactMap { $0.lane.destination == nil || kinds[$0.lane] != nil ? nil : $0.lane })
        if asked.isEmpty { return kinds }
        let rows = try await persistently { session in
            try await session.query(
                "select lane, carrier from trunkline.carriers($1)",
                [.textArray(asked.map(\.value))]
            )
        }
        for row in 0..<rows.count {
            if let lane = rows.text(row, 0).flatMap({ LaneName(stored: $0) }) { kinds[lane] = rows.text(row, 1) }
        }
        return kinds
    }

    private func verdicts(
        _ rows: PostgresRows,
        of jobs: ArraySlice<(work: CarriedWork, request: [UInt8])>
    ) throws -> [AcceptVerdict] {
        var verdicts = [AcceptVerdict?](repeating: nil, count: jobs.count)
        let stored = TakeAnswer.storedDigests(rows)
        for answer in TakeAnswer.all(rows) where verdicts.indices.contains(answer.item) {
            switch answer.verdict {
            case .new(let job): verdicts[answer.item] = .new(JobID(job.job))
            case .repeat(let job, let lane, let finalState):
                verdicts[answer.item] = .repeat(JobID(job), lane: lane, finalState: finalState)
            case .conflict(let job, let lane):
                let contents = AcceptVerdict.Contents(
                    stored: stored[answer.item] ?? [],
                    given: jobs[jobs.startIndex + answer.item].work.contentDigest
                )
                verdicts[answer.item] = .conflict(JobID(job), lane: lane, contents)
            case .unknownLane: verdicts[answer.item] = .unknownLane
            case .removedLane: verdicts[answer.item] = .removedLane
            case .lost, .unheard: break
            }
        }
        return try verdicts.map { verdict in
            // Never silently: a job without a verdict would be one that nobody knows of.
            guard let verdict else {
                throw PostgresError(code: .protocolViolation, message: "trunkline.accept gave no verdict for a job")
            }
            return verdict
        }
    }

    /// Tells one job per shard: an owner that is woken looks at every row it has not seen.
    private func wake(_ jobs: [CarriedWork], _ verdicts: [AcceptVerdict]) {
        guard wakes != nil else { return }
        var newest: [LaneName: JobID] = [:]
        for (job, verdict) in zip(jobs, verdicts) {
            guard case .new(let id) = verdict else { continue }
            newest[job.lane] = max(id, newest[job.lane] ?? id)
        }
        wake(newest)
    }

    func wake(_ newest: [LaneName: JobID]) {
        if !newest.isEmpty { wakes?.send(newest) }
    }

    private func record(_ jobs: [CarriedWork], _ verdicts: [AcceptVerdict]) async throws {
        var refusals: [RefusalRow] = []
        for (job, verdict) in zip(jobs, verdicts) {
            switch verdict {
            case .conflict, .unknownLane, .removedLane:
                guard let refusal = verdict.refusal(of: job) else { continue }
                let raw = job.encode()
                refusals.append(
                    RefusalRow(
                        via: configuration.via,
                        refusal: refusal,
                        lane: job.lane,
                        key: job.key.value,
                        raw: raw,
                        rawLength: Int64(raw.count)
                    )
                )
            case .new, .repeat, .refused: continue
            // Only the other way in has these.
            case .confirmed, .unroutable, .rejected, .notSent, .unknown: continue
            }
        }
        try await record(refusals)
    }

    func record(_ refusals: [RefusalRow]) async throws {
        guard !refusals.isEmpty else { return }
        let parameters = RefusalRow.parameters(refusals)
        _ = try await persistently { session in
            try await session.query(Statements.refuse.sql, parameters)
        }
    }

    /// Runs an idempotent statement until it is known to be done: through deadlocks, serialization failures and lost
    /// connections, also when the COMMIT's reply was lost.
    func persistently(_ body: (PostgresSession) async throws -> PostgresRows) async throws -> PostgresRows {
        var deadline: ContinuousClock.Instant?
        var tries = 0
        while true {
            do {
                let session = try await connected()
                // Closing it is what ends a statement that a silent server has.
                let alarm = end.map { end in
                    Task {
                        try await Task.sleep(until: end, clock: .continuous)
                        await session.close()
                    }
                }
                defer { alarm?.cancel() }
                return try await body(session)
            } catch let error as PostgresError
                where !isLockFault(error) && (error.isRetriable || error.code == .protocolViolation && tries == 0)
            {
                if error.isConnectionLost || error.code == .protocolViolation {
                    await session?.close()
                    session = nil
                }
                let patient = deadline ?? clock.now + configuration.patience
                deadline = patient
                let limit = end.map { min($0, patient) } ?? patient
                tries += 1
                // Full jitter, at most a second: two acceptors that deadlocked must not meet again at the same moment.
                let ceiling = min(1_000, 20 << min(tries, 6))
                let pause = Duration.milliseconds(Int.random(in: 1...ceiling, using: &random))
                guard clock.now + pause < limit else { throw error }
                try await clock.sleep(for: pause)
            }
        }
    }

    private func connected() async throws -> PostgresSession {
        if let session { return session }
        let opened = try await PostgresSession.open(
            url: configuration.databaseURL,
            applicationName: configuration.applicationName,
            connectTimeout: end.map { max(.milliseconds(1), min(.seconds(5), $0 - clock.now)) } ?? .seconds(5),
            settings: Statements.hotSettings
                + (configuration.lockLimit.map { [("lock_timeout", "\(Int($0 / .milliseconds(1)))ms")] } ?? [])
        )
        session = opened
        return opened
    }

    /// A lock that was waited for as long as this acceptor waits.
    func isLockFault(_ error: PostgresError) -> Bool {
        configuration.lockLimit != nil && error.sqlState == "55P03"
    }

    /// Class 22 (data) and 23 (constraints): the values' fault, not the moment's.
    static func isDataFault(_ error: PostgresError) -> Bool {
        if error.code == .invalidParameter { return true }
        guard error.code == .server, let state = error.sqlState else { return false }
        return state.hasPrefix("22") || state.hasPrefix("23")
    }
}
