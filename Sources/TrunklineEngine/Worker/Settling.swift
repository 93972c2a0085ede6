internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Records outcomes, fenced by the attempt number and by nothing else, and the pauses that came with them; then the lane of
/// each goes on.
final class Settling {
    private static let batchLimit = 256
    /// How long an outcome stays aside whose row somebody else has locked: 100 ms, 200 ms and so on. Asking costs little.
    private static let longestWaitForRow: Duration = .seconds(1)
    /// The same of one whose statement failed although it was alone in it: that may have kept the session for as long as a lock
    /// is waited for.
    private static let longestWaitAfterFailure: Duration = .seconds(10)
    /// Waits for a row's lock until a person is told.
    private static let toldWait = 6

    private let here: Surroundings
    private let agenda: Agenda
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let retries: RetryAlarms
    private let ledger: any OutcomeLedger
    /// What is not committed yet.
    private var outcomes: [Settlement] = []
    /// Those of them whose time to be written again has not come: nothing waits for them.
    private var countAside = 0
    /// Those that failed alone and whose time has come: each is written alone, by turns with the others.
    private var alone: [Settlement] = []
    private var lastWasAlone = false
    /// How often an outcome was put aside.
    private var waits: [JobAttempt: Int] = [:]
    private var isWriting = false
    private var retryAt: Instant?
    /// Halved after a statement failed, down to the one outcome at fault; doubled again with every success.
    private var limit = batchLimit
    /// Pauses that the other side asked for, until they are written.
    private var pauses: [Int32: Instant] = [:]

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ shards: Shards,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ retries: RetryAlarms,
        _ ledger: any OutcomeLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.retries = retries
        self.ledger = ledger
    }

    /// Whether everything is recorded.
    var isDone: Bool { outcomes.isEmpty && alone.isEmpty && countAside == 0 && !isWriting }

    func add(_ outcome: Settlement) { outcomes.append(outcome) }

    /// The next owner must know of it too, also when the connection is away at this moment.
    func keepPause(of lane: Int32, until end: Instant) { pauses[lane] = max(pauses[lane] ?? end, end) }

    /// The outcomes go first of all.
    func connected() { retryAt = nil }

    // MARK: Writing

    /// Writes what has gathered. After a lost connection the same again: settling twice is settling once.
    func write(at now: Instant) {
        guard ledger.isConnected else { return }
        // Before the outcomes that they came with: whoever reads those as settled finds the pauses.
        writePauses(now)
        writeOutcomes(now)
    }

    private func writePauses(_ now: Instant) {
        guard !pauses.isEmpty else { return }
        let written = pauses.sorted { $0.key < $1.key }
        pauses.removeAll(keepingCapacity: true)
        for (lane, end) in written where end > now {
            ledger.pause(lane, for: end - now) { [weak self] result in
                guard case .failure = result else { return }
                self?.here.loop.after(.milliseconds(200)) { [weak self] in self?.keepPause(of: lane, until: end) }
            }
        }
    }

    private func writeOutcomes(_ now: Instant) {
        guard !outcomes.isEmpty || !alone.isEmpty, !isWriting else { return }
        if let retryAt, retryAt > now { return }
        isWriting = true
        let batch = nextBatch()
        ledger.settle(batch, by: here.boot) { [weak self] result in
            guard let self else { return }
            isWriting = false
            switch result {
            case .success(let answers):
                here.reached(.settled, times: answers.count)
                limit = min(Self.batchLimit, limit * 2)
                recorded(batch, answers)
            case .failure(let error):
                failed(batch, error)
            }
        }
    }

    private func nextBatch() -> [Settlement] {
        lastWasAlone = !alone.isEmpty && (outcomes.isEmpty || !lastWasAlone)
        if lastWasAlone { return [alone.removeFirst()] }
        let batch = Array(outcomes.prefix(limit))
        outcomes.removeFirst(batch.count)
        return batch
    }

    private func failed(_ batch: [Settlement], _ error: PostgresError) {
        var again = batch
        if !error.isConnectionLost {
            here.log.warning(
                "outcomes could not be recorded; trying again",
                metadata: ["error": "\(error)", "count": "\(batch.count)"]
            )
            if batch.count > 1 {
                limit = max(1, batch.count / 2)
            } else if !error.isRetriable, batch[0].evidence != nil {
                // The other side's words cannot be stored; the outcome can.
                again = [batch[0].withoutEvidence]
            } else {
                putAside(batch[0], atMost: Self.longestWaitAfterFailure) { $0.alone.append($1) }
                again = []
            }
            retryAt = here.now + .milliseconds(100)
            here.wakeTurn(in: .milliseconds(110))
        }
        outcomes.insert(contentsOf: again, at: 0)
    }

    /// The fence is the attempt's number: outcomes need no order. For this one only its person waits, and a lane that it has
    /// the last call of.
    private func putAside(
        _ outcome: Settlement,
        atMost longest: Duration,
        _ comeBack: @escaping (Settling, Settlement) -> Void
    ) {
        let attempt = JobAttempt(job: outcome.job, attempt: outcome.attempt)
        let wait = waits[attempt, default: 0]
        waits[attempt] = wait + 1
        if wait == Self.toldWait {
            here.log.warning(
                "an outcome waits to be recorded: its row may be locked by somebody's transaction",
                metadata: ["job": "\(outcome.job)", "attempt": "\(outcome.attempt)"]
            )
        }
        countAside += 1
        here.loop.after(min(longest, .milliseconds(100) * (1 << min(wait, 10)))) { [weak self] in
            guard let self else { return }
            countAside -= 1
            comeBack(self, outcome)
        }
    }

    // MARK: Recorded

    /// Outcomes are recorded, by `settle` or in the commit of what they are about.
    func recorded(_ batch: [Settlement], _ answers: [SettleAnswer]) {
        let now = here.now
        var pending: [Int64: [Settlement]] = [:]
        for settlement in batch { pending[settlement.job, default: []].append(settlement) }
        var silent = Set(batch.map { JobAttempt(job: $0.job, attempt: $0.attempt) })
        for answer in answers {
            let attempt = JobAttempt(job: answer.job, attempt: answer.attempt)
            silent.remove(attempt)
            waits[attempt] = nil
            guard let settlement = pending[answer.job]?.first(where: { $0.attempt == answer.attempt }) else { continue }
            tell(answer)
            here.telemetry.recorded(answer.verdict, settlement.outcome)
            if let call = attempts.recorded(answer.job, answer.attempt) {
                ended(call, settlement, answer.verdict, now)
            }
        }
        if !silent.isEmpty {
            // Somebody else has their rows locked.
            for outcome in batch where silent.contains(JobAttempt(job: outcome.job, attempt: outcome.attempt)) {
                putAside(outcome, atMost: Self.longestWaitForRow) { $0.outcomes.append($1) }
            }
        }
        agenda.checkEnd()
    }

    private func tell(_ answer: SettleAnswer) {
        switch answer.verdict {
        case .unheard(let word): here.unheard(word, of: "settle")
        case .stale, .lateSent, .evidence:
            here.log.notice(
                "outcome came late",
                metadata: [
                    "job": "\(answer.job)", "attempt": "\(answer.attempt)", "verdict": "\(answer.verdict.word)",
                ]
            )
        default: break
        }
    }

    /// An attempt of ours is over: its job waits on or is gone, and its person's next job may go.
    private func ended(_ call: Call, _ settlement: Settlement, _ verdict: SettleVerdict, _ now: Instant) {
        guard let lane = board.lane(call.lane) else {
            // Its row may have been read before this was written.
            shards.doubt(call.job, of: call.lane)
            return
        }
        // What was not sent has given its place under the daily cap back.
        if verdict != .sent, verdict != .unknown { lane.capped(until: nil) }
        if verdict == .waiting || verdict == .unknown { wait(call, settlement, verdict, in: lane, now) }
        lane.ended(person: call.person, at: now)
        board.callEnded(of: lane)
        if verdict == .stale || !verdict.isHeard {
            // Somebody took the attempt over while it was ours to settle, or a later schema has another word for what became
            // of it: the row says what goes on.
            lane.hold(person: call.person)
            agenda.lookAgain(at: [call.job], held: [LanePerson(lane: call.lane, person: call.person)])
        }
        agenda.look(at: call.lane)
    }

    private func wait(
        _ call: Call,
        _ settlement: Settlement,
        _ verdict: SettleVerdict,
        in lane: Lane,
        _ now: Instant
    ) {
        let isGivenBack = settlement.outcome == .givenBack
        lane.add(
            QueuedJob(
                id: JobID(call.job),
                person: call.person,
                place: call.place,
                jobClass: call.jobClass,
                due: now + settlement.dueIn,
                attempt: call.attempt,
                tries: call.tries - (isGivenBack ? 1 : 0),
                isStamped: verdict == .unknown,
                isSuspect: call.isSuspect && isGivenBack
            )
        )
        retries.waits(call.job, lane: call.lane, person: call.person, attempt: call.attempt)
        retries.set(call.job, call.attempt, shard: lane.shard, in: settlement.dueIn)
    }
}
