package import TrunklineCore

/// What became of one row of an import.
package struct RowVerdict: Sendable {
    /// The row's number in its file.
    package let row: Int
    /// Nil when the row could not be read as one.
    package let job: CarriedWork?
    package let verdict: AcceptVerdict

    /// The rule that forbids it; nil when none does.
    package var refusal: Refusal? {
        if let job { return verdict.refusal(of: job) }
        if case .refused(let refusal) = verdict { return refusal }
        return nil
    }

    /// What did not go well; nil when nothing is to be complained of.
    package var complaint: AcceptVerdict.Complaint? {
        job.map { verdict.complaint(about: $0) } ?? refusal.map(AcceptVerdict.Complaint.init)
    }
}

/// Takes the rows of one file to the desk, in batches, as the bytes come: memory stays bounded by a chunk, the batches under
/// way and the longest row. Good rows go on whatever is wrong with others. For one task.
package final class ImportRun {
    /// Bytes of texts that one batch carries at most, or one row.
    private static let batchBytes = 4 << 20

    private struct Batch {
        var rows: [(number: Int, job: CarriedWork)] = []
        /// Said together with the batch, so that rows are told in their order.
        var refused: [RowVerdict] = []
        var bytes = 0

        var isFull: Bool {
            rows.count >= TakeBatch.usualLimit || refused.count >= TakeBatch.usualLimit || bytes > batchBytes
        }
        var isEmpty: Bool { rows.isEmpty && refused.isEmpty }
    }

    private let desk: AcceptDesk
    private let now: () -> Timestamp
    private let tell: ([RowVerdict]) -> Void
    private var format: any ImportFormat
    private var open = Batch()
    private var underWay: [(Batch, Submission)] = []

    /// - Parameters:
    ///   - now: the wall clock, for the rules that need one.
    ///   - tell: gets the verdicts, batch by batch, one per row and in the order of the rows.
    package init(
        _ format: any ImportFormat,
        to desk: AcceptDesk,
        now: @escaping () -> Timestamp,
        tell: @escaping ([RowVerdict]) -> Void
    ) {
        self.format = format
        self.desk = desk
        self.now = now
        self.tell = tell
    }

    /// Takes the next bytes of the file. Throws what the format or the desk throws: then the run is over, and what was told
    /// stays.
    package func push(_ chunk: [UInt8]) async throws { try await add(format.push(chunk, now: now())) }

    /// The file has ended: tells the verdicts that are still out.
    package func finish() async throws {
        try await add(format.finish(now: now()))
        try await submit()
        while !underWay.isEmpty { await settle() }
    }

    // MARK: Inside

    private func add(_ rows: [ImportRow]) async throws {
        for row in rows {
            switch row.content {
            case .success(let job):
                open.rows.append((row.number, job))
                open.bytes += job.roughSize
            case .failure(let refusal):
                open.refused.append(RowVerdict(row: row.number, job: nil, verdict: .refused(refusal)))
            }
            if open.isFull { try await submit() }
        }
    }

    private func submit() async throws {
        guard !open.isEmpty else { return }
        let batch = open
        open = Batch()
        let jobs = batch.rows.map(\.job)
        underWay.append((batch, jobs.isEmpty ? Submission(known: []) : try await desk.submit(jobs)))
        while underWay.count >= desk.depth { await settle() }
    }

    private func settle() async {
        let (batch, submission) = underWay.removeFirst()
        let verdicts = await submission.verdicts()
        let said = zip(batch.rows, verdicts).map { row, verdict in
            RowVerdict(row: row.number, job: row.job, verdict: verdict)
        }
        tell((said + batch.refused).sorted { $0.row < $1.row })
    }
}

extension CarriedWork {
    /// About how many bytes it takes in memory. What a notice has beside its text is small; what an event says is as long as
    /// its message may be.
    fileprivate var roughSize: Int {
        switch self {
        case .send(let job): job.body.utf8.count + 512
        case .deliver(let job): job.content.count + 512
        }
    }
}
