internal import Foundation
internal import PostgresDriver
internal import TestKit

/// One run: set up, load and harm, heal, drain, stop, judge, take down.
package enum ChaosRun {
    /// - Parameter say: called with one line of progress at a time, from any thread.
    /// - Throws: ``ChaosError`` when the run itself could not be done; what it found is in the report.
    package static func run(_ options: ChaosOptions, say: @escaping @Sendable (String) -> Void) async throws
        -> ChaosReport
    {
        let began = Moment.now
        let stage = try await Stage.setUp(options, say: say)
        do {
            var report = try await play(stage, say)
            await stage.tearDown()
            report.seconds = Double(Moment.now - began) / 1e9
            try write(report, to: options.folder + "/report.json")
            return report
        } catch {
            await stage.tearDown()
            throw error
        }
    }

    private static func play(_ stage: Stage, _ say: @escaping @Sendable (String) -> Void) async throws -> ChaosReport {
        let options = stage.options
        if options.keyMemory == .off { try await remember(false, stage) }
        for process in stage.workers + stage.gateways { try process.start() }
        let producer = try Producer(stage)
        let mayhem = Mayhem(stage, producer)
        say(
            "giving \(options.jobs) jobs for \(stage.plan.persons) persons and threads on \(stage.plan.lines.count) lines and "
                + "\(stage.plan.destinations.count) destinations to "
                + "\(options.workers) workers within \(Int(options.loadSeconds)) s; seed \(options.seed)"
        )
        try await mayhem.setAPIFaults()
        try await harm(stage, producer, mayhem, say)
        try Task.checkCancellation()

        say("healing everything; draining what is left")
        try await mayhem.heal()
        var evidence = Evidence()
        if let rest = try await drain(stage, producer, say) { evidence.misbehaviour.append(rest) }
        await withTaskGroup(of: String?.self) { group in
            for process in stage.workers + stage.gateways {
                group.addTask {
                    let status = await process.stop(within: .seconds(45))
                    return status == 0
                        ? nil : "\(process.name), told to stop at the end, \(FleetProcess.words(forEnd: status))"
                }
            }
            for await sentence in group { if let sentence { evidence.misbehaviour.append(sentence) } }
        }
        evidence.misbehaviour += mayhem.misbehaviour + producer.misbehaviour
        for process in stage.workers + stage.gateways {
            for status in process.unexpectedEnds {
                evidence.misbehaviour.append(
                    "\(process.name) ended by itself with \(ChildProcess.words(for: status)); see \(process.log)"
                )
            }
        }

        say("judging")
        try await look(stage, &evidence)
        try await keep(stage)
        let versions = try await versions(stage)
        await stage.simulator.stop()
        evidence.paced = (stage.plan.lines + stage.plan.destinations).filter { $0.pace.interval > 0 }.map {
            let gap = $0.kind == .line ? $0.pace.gap : 0
            return .init(lane: $0.name, interval: $0.pace.interval, concurrency: $0.pace.concurrency, gap: gap)
        }
        try evidence.writeRest(folder: options.folder)
        evidence = try Evidence.read(folder: options.folder)
        var report = Checker.check(evidence)
        report.seed = options.seed
        report.subject = options.subject
        report.subject.versions = versions
        for (kind, times) in mayhem.counts { report.faults[kind.rawValue] = times }
        for (kind, hits) in mayhem.hits { report.hits[kind.rawValue] = hits }
        demand(options, mayhem, evidence, &report)
        for sentence in mayhem.missed { say("not done: \(sentence)") }
        return report
    }

    /// Load and faults until every job is promised and the time is over.
    private static func harm(
        _ stage: Stage,
        _ producer: Producer,
        _ mayhem: Mayhem,
        _ say: @escaping @Sendable (String) -> Void
    ) async throws {
        try producer.start()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await producer.run() }
            group.addTask { await mayhem.run() }
            var nextWord = 10.0
            var isSwitched = stage.options.keyMemory != .both
            // A slow machine gets up to three times as long to bring the faults about that the run needs.
            while producer.elapsed < stage.options.loadSeconds
                || !isEnough(stage.options, mayhem) && producer.elapsed < stage.options.loadSeconds * 3,
                !Task.isCancelled
            {
                try? await Task.sleep(for: .milliseconds(250))
                if !isSwitched, producer.elapsed > stage.options.loadSeconds / 2 {
                    isSwitched = (try? await remember(false, stage)) != nil
                }
                if producer.elapsed > nextWord {
                    nextWord += 10
                    say(progress(stage, producer, mayhem))
                }
            }
            // The faults end first: what is still in doubt is given again in peace.
            mayhem.end()
            let limit = ContinuousClock.now + .seconds(120)
            while !producer.book.isDone, ContinuousClock.now < limit, !Task.isCancelled {
                try? await Task.sleep(for: .milliseconds(250))
            }
            // Repeats that come late.
            try? await Task.sleep(for: .seconds(2))
            producer.end()
            await group.waitForAll()
        }
    }

    private static func isEnough(_ options: ChaosOptions, _ mayhem: Mayhem) -> Bool {
        let counts = mayhem.counts
        return options.demands.allSatisfy { $0.had(counts) >= $0.wanted }
    }

    private static func progress(_ stage: Stage, _ producer: Producer, _ mayhem: Mayhem) -> String {
        let counts = mayhem.counts
        func times(_ kinds: FaultRecord.Kind...) -> Int { kinds.reduce(0) { $0 + (counts[$1] ?? 0) } }
        let book = producer.book.counts
        return
            "\(Int(producer.elapsed)) s: \(book.promised) promised, \(book.unknown) doubts, \(book.cancelled) cancelled; "
            + "\(times(.workerKill)) kills, \(times(.workerFreeze)) freezes, "
            + "\(times(.brokerRestart, .brokerKill)) broker and \(times(.databaseCrash, .databaseRestart)) database ends, "
            + "\(counts.filter { $0.key.rawValue.hasPrefix("proxy") }.values.reduce(0, +)) on the wire, "
            + "\(times(.partition)) partitions, "
            + "\(times(.gatewayKill, .gatewayFreeze, .gatewayCutOff)) on gateways, "
            + "\(times(.lineHold, .lineState)) lines, \(times(.destinationHold, .destinationState)) destinations"
    }

    private static func remember(_ keys: Bool, _ stage: Stage) async throws {
        try await stage.simulator.control("PUT", "/settings", #"{"keyMemory":"\#(keys ? "forever" : "off")"}"#)
    }

    // MARK: The end

    /// Waits until nothing is unfinished but what is parked, and no queue holds a job.
    ///
    /// - Returns: a sentence when that did not happen in time.
    private static func drain(_ stage: Stage, _ producer: Producer, _ say: (String) -> Void) async throws -> String? {
        let deadline = ContinuousClock.now + .seconds(Int(stage.options.drainMinutes * 60))
        var nextWord = ContinuousClock.now + .seconds(10)
        var (least, since) = (Int64.max, ContinuousClock.now)
        // Longer than the longest wait that one job may have in peace: a probe of a held line every five minutes.
        while ContinuousClock.now < min(deadline, since + .seconds(330)) {
            try Task.checkCancellation()
            try await Task.sleep(for: .seconds(1))
            for worker in stage.workers where worker.pid == nil { try worker.start() }
            guard let left = try? await unfinished(stage) else { continue }
            if left < least { (least, since) = (left, ContinuousClock.now) }
            if left == 0, try await queued(stage) == 0, try await unfinished(stage) == 0 { return nil }
            if ContinuousClock.now > nextWord {
                nextWord = ContinuousClock.now + .seconds(10)
                say("\(left) unfinished")
            }
        }
        return "the drain did not end: \(try await unfinished(stage)) jobs are unfinished and "
            + "\(try await queued(stage)) messages queued"
    }

    private static func unfinished(_ stage: Stage) async throws -> Int64 {
        try await stage.query("select count(*) from trunkline.jobs where state <> 'parked'").int8(0, 0) ?? 0
    }

    /// Messages that may hold jobs: retry tiers hold wake-ups only.
    private static func queued(_ stage: Stage) async throws -> Int {
        try await stage.servers.messages().filter { !$0.key.contains("retry") }.values.reduce(0, +)
    }

    private struct CheckDocument: Decodable {
        struct Finding: Decodable {
            let kind: String
            let job: String?
            let detail: String
        }
        let addsUp: Bool
        let findings: [Finding]
    }

    /// What Trunkline says of itself: `trunkline check`, and where the jobs are that were not sent.
    private static func look(_ stage: Stage, _ evidence: inout Evidence) async throws {
        let check = try await stage.trunkline(["check", "--json"])
        let document = try? JSONDecoder().decode(CheckDocument.self, from: Data(check.output.utf8))
        evidence.checkAddsUp = check.status == 0 && document?.addsUp == true
        evidence.checkFindings = (document?.findings ?? []).map { "\($0.kind), job \($0.job ?? "-"): \($0.detail)" }
        if document == nil { evidence.checkFindings.append("exit status \(check.status): \(check.errors.prefix(300))") }
        let rows = try await stage.query(
            """
            select key, state, reason from trunkline.finished where state <> 'sent'
            union all select key, state, reason from trunkline.jobs
            """
        )
        for row in 0..<rows.count {
            guard let key = rows.text(row, 0), let state = rows.text(row, 1) else { continue }
            evidence.finals[key] = .init(state: state, reason: rows.text(row, 2))
        }
    }

    /// Keeps what the database says, for whoever has to find out why: the servers are gone when the run is over.
    private static func keep(_ stage: Stage) async throws {
        let parts = [
            ("jobs", "select * from trunkline.jobs"), ("attempts", "select * from trunkline.attempts"),
            (
                "finished",
                "select id, key, state, reason, attempt, tries, claimed_at, claimed_by, accepted_at, ended_at from trunkline.finished"
            ), ("workers", "select * from trunkline.workers"), ("lane_state", "select * from trunkline.lane_state"),
            (
                "refusals",
                "select first_at, last_at, via, kind, field, reason, lane, key, times from trunkline.refusals"
            ),
        ]
        for (name, sql) in parts {
            let rows: PostgresRows
            do {
                rows = try await stage.query("select row_to_json(t)::text from (\(sql)) t")
            } catch {
                // A column that is named otherwise by now is no reason to lose the run.
                try "\(error)\n".write(
                    toFile: stage.options.folder + "/\(name).error",
                    atomically: true,
                    encoding: .utf8
                )
                continue
            }
            var text = ""
            for row in 0..<rows.count { text += (rows.text(row, 0) ?? "") + "\n" }
            try text.write(toFile: stage.options.folder + "/\(name).ndjson", atomically: true, encoding: .utf8)
        }
    }

    /// What the servers call themselves.
    private static func versions(_ stage: Stage) async throws -> [String: String] {
        [
            "PostgreSQL": try await stage.query("show server_version").text(0, 0) ?? "unknown",
            "RabbitMQ": try await stage.servers.control.version(),
            "trunkline": try await stage.trunkline(["--version"]).output.trimmingCharacters(
                in: .whitespacesAndNewlines
            ),
        ]
    }

    /// A run that harmed too little, or in which a rule had nothing to look at, proves too little.
    private static func demand(
        _ options: ChaosOptions,
        _ mayhem: Mayhem,
        _ evidence: Evidence,
        _ report: inout ChaosReport
    ) {
        let counts = mayhem.counts
        for demand in options.demands { report.demand(demand.what, demand.wanted, had: demand.had(counts)) }
        let faults = evidence.apiFaults.filter { !$0.key.hasSuffix("latency") }
        func sum(_ part: String) -> Int { faults.filter { $0.key.hasPrefix(part) }.values.reduce(0, +) }
        let (ofHealth, ofReceivers) = (sum("health."), sum("hooks."))
        // On a slow machine most of the work is left to the drain, in which nothing fails.
        let healed = evidence.faults.first { $0.kind == .phase && $0.word == FaultRecord.healed }?.begin ?? .max
        func exposed(_ areDeliveries: Bool) -> Int {
            evidence.calls.count { $0.at < healed && $0.isDelivery == areDeliveries }
        }
        report.demand(
            "faults of the API at sends",
            max(1, exposed(false) / ChaosOptions.callsPerAPIFault),
            had: sum("") - ofHealth - ofReceivers
        )
        if options.destinations > 0 {
            report.demand(
                "faults of receivers",
                max(1, exposed(true) / ChaosOptions.callsPerAPIFault),
                had: ofReceivers
            )
        }
        report.demand("faults of the API at questions for health", 1, had: ofHealth)
        if options.loadSeconds >= ChaosOptions.fullSeconds {
            for kind in options.apiFaultKinds { report.demand("API: \(kind)", 1, had: faults[kind] ?? 0) }
        }
        report.demand(ChaosReport.Figure.promised.rawValue, options.jobs, had: report[.promised])
        for figure in options.figures { report.demand(figure.rawValue, 1, had: report[figure]) }
    }

    private static func write(_ report: ChaosReport, to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(report).write(to: URL(fileURLWithPath: path))
    }
}
