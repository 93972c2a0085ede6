internal import DequeModule
internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Received events whose attempts have begun: reads what they say, and commits what follows from each together with its end.
///
/// No call is made and no slot is taken. Whatever happens to the worker or its connection, an event that is given again does
/// nothing a second time: its row says which job has run it.
final class Events {
    /// Events in one commit.
    private static let batchLimit = 64
    /// Events that have begun and not ended.
    private static let room = 256
    private static let longestWait: Duration = .seconds(10)

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let settling: Settling
    private let ledger: (any EventLedger)?
    private let wakeUps: WakeUps
    /// The rules that were in force at the last look, so that they are read again only when they are others.
    private var rules: [WorkspaceID: EventKnowledge.Rules] = [:]
    private var waiting: Deque<EventAttempt> = []
    /// Of the batch that is under way.
    private var countUnderWay = 0
    /// That wait for their next try.
    private var countAside = 0
    /// Halved after a statement failed, down to the one event at fault; doubled again with every success.
    private var limit = batchLimit
    private var retryAt: Instant?
    /// How often the statement of an event failed although it was alone in it.
    private var failures: [Int64: Int] = [:]

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ settling: Settling,
        _ ports: WorkerPorts
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.settling = settling
        ledger = ports.events
        wakeUps = WakeUps(ports.publisher)
    }

    /// Whether another one may begin, beside `more` that are about to.
    func hasRoom(beside more: Int) -> Bool { waiting.count + countUnderWay + countAside + more < Self.room }

    /// Runs the event of an attempt that has begun, in its turn.
    func run(_ call: Call) {
        guard case .source(let source)? = LaneName(stored: call.line),
            let key = String(validating: call.request, as: UTF8.self)
        else { return park(call.job, .eventFailed, "its row does not name an event") }
        waiting.append(EventAttempt(job: call.job, attempt: call.attempt, source: source, key: key))
    }

    // MARK: A batch

    /// Once a turn: the next batch, unless one is under way. What arrives meanwhile is the batch after it.
    func work(at now: Instant) {
        guard countUnderWay == 0, !waiting.isEmpty, let ledger, ledger.isConnected else { return }
        if let retryAt, retryAt > now { return }
        let next = nextBatch()
        waiting.removeFirst(next.count)
        let batch = next.filter { attempts[$0.job]?.attempt == $0.attempt }
        guard !batch.isEmpty else { return }
        countUnderWay = batch.count
        ledger.loadEvents(batch) { [weak self] result in
            guard let self, !here.isStopped else { return }
            switch result {
            case .success(let loaded): read(loaded, of: batch, ledger)
            case .failure(let error): failed(batch, error)
            }
        }
    }

    /// Those in front; one that has failed by itself goes alone, so that no other waits for what it waits for.
    private func nextBatch() -> [EventAttempt] {
        guard let first = waiting.first else { return [] }
        guard failures[first.job] == nil else { return [first] }
        return Array(waiting.prefix(limit).prefix { failures[$0.job] == nil })
    }

    /// What the events say, and with it what must be known to plan them.
    private func read(_ loaded: [LoadedEvent], of batch: [EventAttempt], _ ledger: any EventLedger) {
        here.reached(.carried, times: loaded.count)
        var events: [Int64: LoadedEvent] = [:]
        for event in loaded { events[event.job] = event }
        var read: [(attempt: EventAttempt, event: ReadEvent)] = []
        for attempt in batch {
            guard let event = events[attempt.job], !event.isEmptied else {
                park(attempt.job, .eventFailed, "the event is not stored, or retention has dropped its bytes")
                continue
            }
            guard let runner = here.configuration.events else {
                park(attempt.job, .eventFailed, "this worker reads no events")
                continue
            }
            here.poison(.job, event.event.event.body)
            read.append((attempt, runner.read(event.event)))
        }
        countUnderWay = read.count
        guard !read.isEmpty else { return here.wakeTurn(in: .zero) }
        ledger.knowledge(read.map { ($0.event.event.workspace, $0.event.needs) }, rules: Array(rules.values)) {
            [weak self] result in
            guard let self, !here.isStopped else { return }
            switch result {
            case .success(let known): plan(read, known, ledger)
            case .failure(let error): failed(read.map(\.attempt), error)
            }
        }
    }

    private func plan(
        _ events: [(attempt: EventAttempt, event: ReadEvent)],
        _ known: [WorkspaceID: EventKnowledge],
        _ ledger: any EventLedger
    ) {
        for (workspace, known) in known { rules[workspace] = known.rules }
        let runs = events.compactMap { attempt, event in
            run(attempt, event, known[event.event.workspace] ?? EventKnowledge())
        }
        here.reached(.answered, times: runs.count)
        countUnderWay = runs.count
        guard !runs.isEmpty else { return here.wakeTurn(in: .zero) }
        ledger.runEvents(runs, by: here.boot) { [weak self] result in
            guard let self, !here.isStopped else { return }
            switch result {
            case .success(let answer):
                here.reached(.settled, times: answer.settled.count)
                wake(answer.made)
                for run in runs { warn(of: run) }
                ended(runs.map(\.attempt), answer.settled)
            case .failure(let error): failed(runs.map(\.attempt), error)
            }
        }
    }

    /// Nil for one that is put aside.
    private func run(_ attempt: EventAttempt, _ event: ReadEvent, _ known: EventKnowledge) -> EventRun? {
        func run(_ word: EventRun.Word, _ reason: String?, _ plan: EventPlan = EventPlan()) -> EventRun {
            var plan = plan
            let requests = render(&plan)
            return EventRun(
                attempt: attempt,
                workspace: event.event.workspace,
                word: word,
                reason: reason,
                plan: plan,
                requests: requests
            )
        }
        switch here.configuration.events?.run(event, knowing: known, now: here.loop.wallTime) {
        case .planned(let plan):
            return run(.planned, plan.notes.isEmpty ? nil : plan.notes.joined(separator: "; "), plan)
        case .ignored(let why): return run(.ignored, why.rawValue)
        case .refused(let ask):
            var plan = EventPlan()
            plan.refused = [.init(ask, rule: nil)]
            return run(.refused, ask.rawValue, plan)
        case .unreadable(let refusal): park(attempt.job, .eventUnreadable, "\(refusal)")
        case .needsFetch(let record): park(attempt.job, .eventNeedsFetch, "\(record)")
        case .unplannable(let words): park(attempt.job, .eventFailed, words)
        case nil: park(attempt.job, .eventFailed, "this worker reads no events")
        }
        return nil
    }

    /// The requests of the plan's notices. One that the carrier does not make fails alone.
    private func render(_ plan: inout EventPlan) -> [[UInt8]] {
        var requests: [[UInt8]] = []
        var notices: [EventPlan.Notice] = []
        for notice in plan.notices {
            do throws(Refusal) {
                requests.append(try here.configuration.carriers.line.render(.send(notice.job)))
                notices.append(notice)
            } catch {
                plan.words.append(.init(.failed, rule: notice.rule, error.reason))
            }
        }
        plan.notices = notices
        return requests
    }

    /// Somebody must look: a rule fired, and its customer is told nothing.
    private func warn(of run: EventRun) {
        for word in run.plan.words where word.kind == .failed {
            here.log.warning(
                "a notice cannot be made",
                metadata: [
                    "source": "\(run.attempt.source)", "job": "\(run.attempt.job)", "rule": "\(word.rule)",
                    "reason": "\(word.words)",
                ]
            )
        }
    }

    /// New jobs are rows that no owner has seen.
    private func wake(_ made: [EventRunAnswer.NewJob]) {
        var wakes: [Int32: JobID] = [:]
        for new in made {
            guard let shard = directory.shard(of: new.lane) else { continue }
            if shards.isOwned(shard) { agenda.adopt() } else { wakes[shard] = JobID(new.job) }
        }
        wakeUps.publish(wakes)
    }

    // MARK: Ends

    private func ended(_ batch: [EventAttempt], _ answers: [SettleAnswer]) {
        countUnderWay = 0
        retryAt = nil
        limit = min(Self.batchLimit, limit * 2)
        var settlements: [Settlement] = []
        for attempt in batch {
            failures[attempt.job] = nil
            if let settlement = outcome(of: attempt.job, .sent(remoteID: nil, note: nil), nil) {
                settlements.append(settlement)
            }
        }
        settling.recorded(settlements, answers)
    }

    /// Puts the event aside for a person; others of its source go on.
    private func park(_ job: Int64, _ reason: Reason, _ words: String) {
        let evidence = Evidence(status: nil, body: [], failure: words)
        if let settlement = outcome(of: job, .park(reason: reason), evidence) { settling.add(settlement) }
    }

    /// What its lane is told, and what is recorded; nil when it had its outcome already.
    private func outcome(of job: Int64, _ outcome: Outcome, _ evidence: Evidence?) -> Settlement? {
        guard let call = attempts.gotOutcome(job) else { return nil }
        if let lane = board.lane(call.lane) {
            board.obey(lane.ended(outcome, begun: call.claimSent, at: here.now, jitter: here.jitter()), of: lane)
        }
        agenda.look(at: call.lane)
        return Settlement(
            of: call,
            outcome,
            evidence,
            maximumTries: LanePolicy.events.maximumTries,
            using: &here.chance
        )
    }

    private func failed(_ batch: [EventAttempt], _ error: PostgresError) {
        countUnderWay = 0
        guard !error.isConnectionLost, !error.outcomeUnknown else {
            // What was committed of it is found when it is given again.
            return again(batch, in: .milliseconds(200))
        }
        here.log.warning("events could not be run", metadata: ["error": "\(error)", "count": "\(batch.count)"])
        guard batch.count == 1 else {
            limit = max(1, batch.count / 2)
            return again(batch, in: .milliseconds(5))
        }
        guard error.isLockFault else {
            // The data itself.
            failures[batch[0].job] = nil
            return park(batch[0].job, .eventFailed, "the database refused it (SQLSTATE \(error.sqlState ?? "none"))")
        }
        // Behind the others: only those of its record wait for it.
        let count = failures[batch[0].job, default: 0]
        failures[batch[0].job] = count + 1
        countAside += 1
        here.loop.after(min(Self.longestWait, .milliseconds(100) * (1 << min(count, 7)))) { [weak self] in
            self?.countAside -= 1
            self?.waiting.append(batch[0])
        }
    }

    private func again(_ batch: [EventAttempt], in wait: Duration) {
        waiting.insert(contentsOf: batch, at: waiting.startIndex)
        retryAt = here.now + wait
        here.wakeTurn(in: wait + .milliseconds(1))
    }
}
