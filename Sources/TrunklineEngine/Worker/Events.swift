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
    private let board: LaneBoard
    private let attempts: Attempts
    private let settling: Settling
    private let ledger: (any EventLedger)?
    private var waiting: Deque<EventAttempt> = []
    /// Of the batch that is under way.
    private var countUnderWay = 0
    /// Halved after a statement failed, down to the one event at fault; doubled again with every success.
    private var limit = batchLimit
    private var retryAt: Instant?
    /// How often the statement of an event failed although it was alone in it.
    private var failures: [Int64: Int] = [:]

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ settling: Settling,
        _ ledger: (any EventLedger)?
    ) {
        self.here = here
        self.agenda = agenda
        self.board = board
        self.attempts = attempts
        self.settling = settling
        self.ledger = ledger
    }

    /// Whether another one may begin, beside `more` that are about to.
    func hasRoom(beside more: Int) -> Bool { waiting.count + countUnderWay + more < Self.room }

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
        let batch = Array(waiting.prefix(limit)).filter { attempts[$0.job]?.attempt == $0.attempt }
        waiting.removeFirst(min(limit, waiting.count))
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

    private func read(_ loaded: [LoadedEvent], of batch: [EventAttempt], _ ledger: any EventLedger) {
        here.reached(.carried, times: loaded.count)
        var runs: [EventRun] = []
        var events: [Int64: LoadedEvent] = [:]
        for event in loaded { events[event.job] = event }
        for attempt in batch {
            guard let event = events[attempt.job], !event.isEmptied else {
                park(attempt.job, .eventFailed, "the event is not stored, or retention has dropped its bytes")
                continue
            }
            if let run = read(event.event, attempt) { runs.append(run) }
        }
        here.reached(.answered, times: runs.count)
        guard !runs.isEmpty else {
            countUnderWay = 0
            return here.wakeTurn(in: .zero)
        }
        countUnderWay = runs.count
        ledger.runEvents(runs, by: here.boot) { [weak self] result in
            guard let self, !here.isStopped else { return }
            switch result {
            case .success(let answers):
                here.reached(.settled, times: answers.count)
                ended(runs.map(\.attempt), answers)
            case .failure(let error): failed(runs.map(\.attempt), error)
            }
        }
    }

    /// Nil for one that is put aside.
    private func read(_ event: StoredEvent, _ attempt: EventAttempt) -> EventRun? {
        here.poison(.job, event.event.body)
        func run(_ word: EventRun.Word, _ reason: String?, _ plan: EventPlan = EventPlan()) -> EventRun {
            EventRun(attempt: attempt, workspace: event.workspace, word: word, reason: reason, plan: plan)
        }
        switch here.configuration.events?.run(event, now: here.loop.wallTime) {
        case .planned(let plan):
            return run(.planned, plan.notes.isEmpty ? nil : plan.notes.joined(separator: "; "), plan)
        case .ignored(let why): return run(.ignored, why.rawValue)
        case .refused(let ask): return run(.refused, ask.rawValue)
        case .unreadable(let refusal): park(attempt.job, .eventUnreadable, "\(refusal)")
        case .needsFetch(let record): park(attempt.job, .eventNeedsFetch, "\(record)")
        case nil: park(attempt.job, .eventFailed, "this worker reads no events")
        }
        return nil
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
        let isLock = error.isRetriable || error.sqlState == "55P03" || error.sqlState == "57014"
        guard isLock else {
            // The data itself.
            failures[batch[0].job] = nil
            return park(batch[0].job, .eventFailed, "the database refused it (SQLSTATE \(error.sqlState ?? "none"))")
        }
        // Behind the others: only those of its record wait for it.
        let count = failures[batch[0].job, default: 0]
        failures[batch[0].job] = count + 1
        here.loop.after(min(Self.longestWait, .milliseconds(100) * (1 << min(count, 7)))) { [weak self] in
            self?.waiting.append(batch[0])
        }
    }

    private func again(_ batch: [EventAttempt], in wait: Duration) {
        waiting.insert(contentsOf: batch, at: waiting.startIndex)
        retryAt = here.now + wait
        here.wakeTurn(in: wait + .milliseconds(1))
    }
}
