/// Judges a run by its evidence. Shares no code with what it judges, and no state with what harmed it.
package struct Checker {
    /// All that is known of one key.
    struct Job {
        var key: String
        /// `line:ID` or `destination:ID`.
        var lane: String
        var to: String?
        var orderingKey: String?
        var supersedeKey: String?
        var factAt: Int64?
        var notBefore: Int64?
        var tries: [Try] = []
        var calls: [Evidence.Call] = []
        var isPromised = false

        var isDelivery: Bool { lane.hasPrefix("destination:") }
        /// With whom it keeps its order: those of its lane that have the same. Nil: with nobody.
        var orderName: String? { (orderingKey ?? to).map { lane + " " + $0 } }

        /// Place in the journal of its first message.
        var firstEffect: Int64? { calls.lazy.compactMap(\.effect).first }
    }

    /// One giving, with its answer.
    struct Try {
        var begin: Int64
        var end: Int64?
        var queue: String
        var producer: Int
        var index: Int
        var isForeign: Bool
        var isPosted: Bool
        var answer: ProducerRecord.Answer?

        var isPromise: Bool { answer == .promised || answer == .again }
    }

    let evidence: Evidence
    let excuses: Excuses
    var report = ChaosReport()
    private(set) var jobs: [String: Job] = [:]

    /// Judges.
    package static func check(_ evidence: Evidence) -> ChaosReport {
        var checker = Checker(evidence)
        checker.gatherTries()
        checker.gatherCalls()
        checker.checkLost()
        checker.checkCalls()
        checker.checkOrder()
        checker.checkFacts()
        checker.checkCancels()
        checker.checkHolds()
        checker.checkTimes()
        checker.checkPace()
        checker.checkWords()
        return checker.report
    }

    private init(_ evidence: Evidence) {
        self.evidence = evidence
        excuses = Excuses(evidence.faults)
    }

    private mutating func gatherTries() {
        var where_: [Int: (key: String, place: Int)] = [:]
        for record in evidence.producer {
            switch record.kind {
            case .try:
                var job =
                    jobs[record.key]
                    ?? Job(
                        key: record.key,
                        lane: record.lane ?? "",
                        to: record.to,
                        orderingKey: record.orderingKey,
                        supersedeKey: record.supersedeKey,
                        factAt: record.factAt,
                        notBefore: record.notBefore
                    )
                where_[record.number] = (record.key, job.tries.count)
                job.tries.append(
                    Try(
                        begin: record.mono,
                        queue: record.queue ?? "",
                        producer: record.producer ?? 0,
                        index: record.index ?? 0,
                        isForeign: record.way == .foreign,
                        isPosted: record.way == .posted
                    )
                )
                jobs[record.key] = job
            case .end:
                guard let (key, place) = where_[record.number] else { continue }
                jobs[key]?.tries[place].end = record.mono
                jobs[key]?.tries[place].answer = record.answer
                if let queue = record.queue { jobs[key]?.tries[place].queue = queue }
                if record.answer == .promised || record.answer == .again { jobs[key]?.isPromised = true }
                if record.answer == .refused {
                    report.found(.misbehaviour, key, "the harness's own job was refused: \(record.said ?? "no reason")")
                }
            case .cancel, .cancelled: break
            }
        }
        report.add(.keys, jobs.count)
        report.add(.promised, jobs.values.count { $0.isPromised })
        report.add(.foreign, jobs.values.count { $0.tries.contains { $0.isForeign && $0.isPromise } })
        report.add(.posted, jobs.values.count { $0.tries.contains { $0.isPosted && $0.isPromise } })
        report.add(.repeats, jobs.values.count { $0.tries.count > 1 })
    }

    private mutating func gatherCalls() {
        report.add(.calls, evidence.calls.count)
        for call in evidence.calls {
            if call.effect != nil { report.add(call.isDelivery ? .deliveries : .messages) }
            guard let job = jobs[call.key] else {
                if call.effect != nil { report.found(.unexpected, call.key, "on \(call.lane)") }
                continue
            }
            if call.lane != job.lane || call.to.map({ $0 != job.to }) ?? false {
                report.found(.misdirected, call.key, "on \(call.lane), given for \(job.lane)")
            }
            if let hash = call.bodyHash, let before = job.calls.first(where: { $0.bodyHash ?? hash != hash }) {
                report.found(.misdirected, call.key, "request \(call.seq) said other bytes than \(before.seq)")
            }
            jobs[call.key]?.calls.append(call)
        }
    }

    // MARK: Lost

    /// Promised, and neither sent nor in an end that somebody can see and that has its cause.
    private mutating func checkLost() {
        var newest: [String: Int64] = [:]
        for job in jobs.values {
            if let name = job.supersedeKey, let fact = job.factAt { newest[name] = max(newest[name] ?? fact, fact) }
        }
        let cancels = evidence.producer.filter { $0.kind == .cancel }
        for job in jobs.values {
            let final = evidence.finals[job.key]
            if job.firstEffect != nil {
                if !job.isPromised { report.add(.doubtful) }
                if let final { checkSentWith(final, job) }
                continue
            }
            guard let final else {
                if job.isPromised { report.found(.lost, job.key, "promised, never sent, and in no other state") }
                continue
            }
            switch final.state {
            case "cancelled" where cancels.contains { $0.names(job) }:
                report.add(.cancelled)
            case "superseded" where job.supersedeKey.flatMap { newest[$0] }.map { $0 > job.factAt ?? 0 } ?? false:
                report.add(.superseded)
            case "parked" where mayBeParked(job, final, newest):
                report.add(.parked)
            default:
                report.found(
                    .lost,
                    job.key,
                    "never sent, ended as \(final.state) (\(final.reason ?? "no reason")) without a cause"
                )
            }
        }
    }

    /// Parked is a visible end, but only where the run gave it a cause.
    private func mayBeParked(_ job: Job, _ final: Evidence.Final, _ newest: [String: Int64]) -> Bool {
        switch final.reason {
        case "poison": excuses.deaths(over: job.calls) >= 3
        case "tries_spent": job.calls.count(where: \.isDefiniteRefusal) >= 8
        case "superseded_unknown": isSuperseded(job, newest) && mayHaveBeenSent(job)
        default: false
        }
    }

    /// Whether somebody may have thought that it was sent: a call was not refused, or an attempt ended with its worker
    /// before there was a call.
    private func mayHaveBeenSent(_ job: Job) -> Bool {
        if job.calls.contains(where: { !$0.isDefiniteRefusal }) { return true }
        guard let given = job.tries.map(\.begin).min() else { return false }
        return excuses.wasAnyLost(from: given)
    }

    private func isSuperseded(_ job: Job, _ newest: [String: Int64]) -> Bool {
        guard let name = job.supersedeKey, let latest = newest[name] else { return false }
        return latest > job.factAt ?? 0
    }

    /// The journal has a message, and Trunkline does not call it sent.
    private mutating func checkSentWith(_ final: Evidence.Final, _ job: Job) {
        switch final.state {
        case "cancelled": report.add(.cancelled)
        case "superseded": report.add(.superseded)
        case "parked": report.add(.parked)
        default: break
        }
        if let known = job.calls.first(where: { $0.wasAccepted && excuses.excuse($0) == nil }) {
            report.found(
                .disagrees,
                job.key,
                "ended as \(final.state) (\(final.reason ?? "no reason")) although request \(known.seq) was answered"
            )
        } else if final.state != "parked" {
            report.found(.disagrees, job.key, "may have been sent, and is \(final.state) instead of parked")
        }
    }

    // MARK: Words of others

    private mutating func checkWords() {
        if !evidence.checkAddsUp { report.found(.disagrees, "trunkline check", "does not add up") }
        for finding in evidence.checkFindings { report.found(.disagrees, "trunkline check", finding) }
        for sentence in evidence.misbehaviour { report.found(.misbehaviour, "-", sentence) }
    }
}

extension ProducerRecord {
    /// Whether a cancel meant a job: without a destination it means notices only.
    fileprivate func names(_ job: Checker.Job) -> Bool {
        lane == (job.isDelivery ? job.lane : nil) && job.key.hasPrefix(key.prefix { $0 != "*" })
    }
}
