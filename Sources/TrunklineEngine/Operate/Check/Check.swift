package import PostgresDriver
package import TrunklineCore

/// Runs the proof.
package enum Check {
    /// How many findings of one question are listed by id.
    package static let listed: Int64 = 1_000

    /// Reads everything once (a million jobs take some seconds). Any time, also while workers run.
    ///
    /// - Parameter carriers: those that can read their requests back; requests of others are not compared.
    package static func run(_ session: PostgresSession, carriers: CarrierRegistry) async throws -> CheckReport {
        try await session.transaction { session in
            try await session.query("set transaction isolation level repeatable read, read only")
            // A million rows are hashed, not sorted on disk.
            try await session.query("set local work_mem = '128MB'")
            try await session.query("set local jit = off")
            // A database that cuts long statements short means those of a service.
            try await session.query("set local statement_timeout = 0")
            var collector = Collector()
            let now = try await session.query("select now()")
            for question in Question.all {
                try await collector.add(session.query(question.sql, [.int8(listed)]), of: question)
            }
            try await compareContents(session, carriers, &collector)
            let lanes = try await lanes(session)
            return CheckReport(
                readAt: Timestamp(microseconds: now.timestamp(0, 0) ?? 0),
                lanes: lanes,
                findings: collector.findings,
                counts: collector.counts
            )
        }
    }

    /// Gathers what the questions found, each job's trouble once.
    struct Collector {
        private(set) var findings: [CheckReport.Finding] = []
        private(set) var counts: [CheckReport.Kind: Int64] = [:]
        private var doubled: Set<JobID> = []

        mutating func add(_ rows: PostgresRows, of question: Question) {
            var totals: [CheckReport.Kind: Int64] = [:]
            for row in 0..<rows.count {
                guard let kind = rows.text(row, 0).flatMap(CheckReport.Kind.init(rawValue:)) else { continue }
                let job = rows.int8(row, 1).map(JobID.init)
                let total = totals[kind] ?? rows.int8(row, 4) ?? 0
                totals[kind] = total
                if kind == .doubled, let job { doubled.insert(job) }
                if kind == .flipped || kind == .attempts, let job, doubled.contains(job) {
                    totals[kind] = total - 1
                    continue
                }
                append(kind, job, rows.text(row, 2).map { LaneLabel(stored: $0) }, rows.text(row, 3) ?? "")
            }
            for (kind, total) in totals where total > 0 { counts[kind, default: 0] += total }
        }

        mutating func add(_ kind: CheckReport.Kind, _ job: JobID, _ lane: LaneLabel?, _ detail: String) {
            if doubled.contains(job) { return }
            counts[kind, default: 0] += 1
            if counts[kind, default: 0] <= Check.listed { append(kind, job, lane, detail) }
        }

        private mutating func append(_ kind: CheckReport.Kind, _ job: JobID?, _ lane: LaneLabel?, _ detail: String) {
            findings.append(CheckReport.Finding(kind: kind, job: job, lane: lane, detail: detail))
        }
    }
}

extension Operator {
    /// Runs the proof.
    package func check(carriers: CarrierRegistry) async throws -> CheckReport {
        try await Check.run(session(), carriers: carriers)
    }
}
