internal import PostgresDriver
package import TrunklineCore
internal import TrunklineIntegrations

/// Takes jobs into the database, row first: what it answers is committed.
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
        /// How long a database that went away is waited for, from its first error on. Default 30 s.
        package var patience: Duration = .seconds(30)
        /// Whether what is refused is recorded.
        package var recordsRefusals = true

        package init(databaseURL: String, applicationName: String, jobClass: JobClass = .single, via: String = "cli") {
            self.databaseURL = databaseURL
            self.applicationName = applicationName
            self.jobClass = jobClass
            self.via = via
        }
    }

    private let configuration: Configuration
    private let wakes: WakeSender?
    private let clock = ContinuousClock()
    private var session: PostgresSession?
    private var random = SystemRandomNumberGenerator()

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
    /// database stays away longer than `patience`: then any of the jobs may or may not be accepted, and giving them again is
    /// the way to know.
    package func accept(_ jobs: [SendJob]) async throws -> [AcceptVerdict] {
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

    // MARK: Inside

    private func take(_ jobs: [SendJob]) async throws -> [AcceptVerdict] {
        var batch = TakeBatch()
        for job in jobs { batch.append(job, requestBytes: EZWhatsApp.textRequestBody(job), fast: false) }
        let parameters = batch.acceptanceParameters(jobClass: configuration.jobClass)
        do {
            let rows = try await persistently { session in
                try await session.query(TakeBatch.acceptance, parameters)
            }
            return try verdicts(rows, count: jobs.count)
        } catch let error as PostgresError where Self.isDataFault(error) {
            // One row that the server cannot store fails all: halve down to it, so that its neighbours go on.
            if jobs.count == 1 {
                return [
                    .refused(
                        Refusal(
                            kind: .invalid,
                            reason: "the database cannot store this notice (\(error.sqlState ?? "no code"))"
                        )
                    )
                ]
            }
            let half = jobs.count / 2
            let first = try await take(Array(jobs[..<half]))
            return try await first + take(Array(jobs[half...]))
        }
    }

    private func verdicts(_ rows: PostgresRows, count: Int) throws -> [AcceptVerdict] {
        var verdicts = [AcceptVerdict?](repeating: nil, count: count)
        for answer in TakeAnswer.all(rows) where verdicts.indices.contains(answer.item) {
            func line(_ name: String?) -> LineID? { name.flatMap { try? LineID($0) } }
            switch answer.verdict {
            case .new(let job): verdicts[answer.item] = .new(JobID(job.job))
            case .repeat(let job, let name, let finalState):
                verdicts[answer.item] = .repeat(JobID(job), line: line(name), finalState: finalState)
            case .conflict(let job, let name): verdicts[answer.item] = .conflict(JobID(job), line: line(name))
            case .unknownLine: verdicts[answer.item] = .unknownLine
            case .removedLine: verdicts[answer.item] = .removedLine
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
    private func wake(_ jobs: [SendJob], _ verdicts: [AcceptVerdict]) {
        guard let wakes else { return }
        var newest: [LineID: JobID] = [:]
        for (job, verdict) in zip(jobs, verdicts) {
            guard case .new(let id) = verdict else { continue }
            newest[job.line] = max(id, newest[job.line] ?? id)
        }
        wakes.send(newest)
    }

    private func record(_ jobs: [SendJob], _ verdicts: [AcceptVerdict]) async throws {
        var refusals: [RefusalRow] = []
        for (job, verdict) in zip(jobs, verdicts) {
            switch verdict {
            case .conflict, .unknownLine, .removedLine:
                guard let refusal = verdict.refusal(of: job) else { continue }
                let raw = job.encode()
                refusals.append(
                    RefusalRow(
                        via: configuration.via,
                        refusal: refusal,
                        line: job.line.value,
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
        guard !refusals.isEmpty else { return }
        let parameters = RefusalRow.parameters(refusals)
        _ = try await persistently { session in
            try await session.query(Statements.refuse.sql, parameters)
        }
    }

    /// Runs an idempotent statement until it is known to be done: through deadlocks, serialization failures and lost
    /// connections, also when the COMMIT's reply was lost.
    private func persistently(_ body: (PostgresSession) async throws -> PostgresRows) async throws -> PostgresRows {
        var deadline: ContinuousClock.Instant?
        var tries = 0
        while true {
            do {
                let session = try await connected()
                return try await body(session)
            } catch let error as PostgresError where error.isRetriable || error.code == .protocolViolation && tries == 0
            {
                if error.isConnectionLost || error.code == .protocolViolation {
                    await session?.close()
                    session = nil
                }
                let limit = deadline ?? clock.now + configuration.patience
                deadline = limit
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
            settings: Statements.hotSettings
        )
        session = opened
        return opened
    }

    /// Class 22 (data) and 23 (constraints): the values' fault, not the moment's.
    private static func isDataFault(_ error: PostgresError) -> Bool {
        if error.code == .invalidParameter { return true }
        guard error.code == .server, let state = error.sqlState else { return false }
        return state.hasPrefix("22") || state.hasPrefix("23")
    }
}
