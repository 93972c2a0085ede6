internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Begins attempts of waiting jobs: gives out the free call slots by turns, and commits each claim before anything leaves.
final class Claiming {
    private static let batchLimit = 256
    private static let rememberedFailures = 1_000
    /// So often in a row a job is overtaken, for some 4 s, before its shard is loaded again; then again after as many more.
    private static let overtakenBeforeLoad = 8
    private static let overtakenBetweenLoads = 64

    /// A job whose attempt is to be claimed.
    private struct Chosen {
        let job: QueuedJob
        let lane: Lane
        let line: String
        /// Whose call slot is promised to it; nil for what is run without a call.
        let slotOf: String?
        let gateOpenUntil: Instant
    }

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let origins: Origins
    private let board: LaneBoard
    private let retries: RetryAlarms
    private let attempts: Attempts
    private let caller: Caller
    private let health: Health
    private let calls: Calls
    private let events: Events
    private let ledger: any JobLedger
    private(set) var isUnderWay = false
    /// How often the claim of a job failed although it was alone in its statement. Such a job stays alone in it.
    private var failures: [Int64: Int] = [:]
    /// How often in a row the claim of a job has found another one of its person before it.
    private var overtaken: [Int64: Int] = [:]

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ origins: Origins,
        _ board: LaneBoard,
        _ retries: RetryAlarms,
        _ attempts: Attempts,
        _ caller: Caller,
        _ health: Health,
        _ calls: Calls,
        _ events: Events,
        _ ledger: any JobLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.origins = origins
        self.board = board
        self.retries = retries
        self.attempts = attempts
        self.caller = caller
        self.health = health
        self.calls = calls
        self.events = events
        self.ledger = ledger
    }

    // MARK: Choosing

    /// Claims what may begin, unless a claim is under way.
    func claim(at now: Instant) {
        guard !isUnderWay, board.isAnyWaiting else { return }
        var chosen: [Chosen] = []
        var roomForSuspects: Int?
        var withoutSlot: [Lane] = []
        var runs = 0
        while chosen.count < Self.batchLimit,
            let number = board.next(mayCall: caller.hasFreeSlot, mayRun: events.hasRoom(beside: runs))
        {
            guard let lane = board.lane(number), board.wantsSlot(lane, at: now), let settings = directory[number]
            else { continue }
            // Its kind of carrier has used its part; others may have something left.
            guard settings.isRun || caller.hasFreeSlot(for: settings) else {
                withoutSlot.append(lane)
                continue
            }
            health.askIfWanted(lane, settings, at: now)
            // A closed gate: the answer makes the lane due again.
            guard let gateOpenUntil = lane.admission(at: now) else { continue }
            // The question may have had the last one.
            guard settings.isRun || caller.hasFreeSlot(for: settings) else {
                withoutSlot.append(lane)
                continue
            }
            if lane.isSuspect {
                let room = roomForSuspects ?? board.roomForSuspects()
                roomForSuspects = room
                guard room > 0 else {
                    board.waitForRoom(lane)
                    continue
                }
            }
            if let job = begin(lane, settings, chosen, now) {
                if lane.isSuspect { roomForSuspects? -= 1 }
                if settings.isRun { runs += 1 }
                board.obey(lane.began(at: now), of: lane)
                chosen.append(
                    Chosen(
                        job: job,
                        lane: lane,
                        line: settings.id,
                        slotOf: settings.isRun ? nil : settings.carrier,
                        gateOpenUntil: gateOpenUntil
                    )
                )
            }
            if lane.mayBegin(at: now) { board.join(lane) } else { board.armTimer(of: lane, at: now) }
        }
        for lane in withoutSlot { board.join(lane) }
        guard !chosen.isEmpty else { return }
        isUnderWay = true
        let together = failures.isEmpty ? chosen : chosen.filter { failures[$0.job.id.value] == nil }
        let alone = failures.isEmpty ? [] : chosen.filter { failures[$0.job.id.value] != nil }
        claim((together.isEmpty ? [] : [together]) + alone.map { [$0] })
    }

    /// Begins the lane's next job that nothing holds up, and promises it a slot.
    private func begin(_ lane: Lane, _ settings: LaneSettings, _ chosen: [Chosen], _ now: Instant) -> QueuedJob? {
        while let job = lane.begin(at: now) {
            if let wait = wait(for: job, settings, chosen, now) {
                lane.putBack(job, until: now + wait)
                continue
            }
            retries.ended(job.id.value)
            if !settings.isRun { caller.promise(to: settings.carrier) }
            return job
        }
        return nil
    }

    /// What holds a job up that its lane would let go: another job that may be deadly, only one of which is in the air of a
    /// process, or the budget for repeated calls.
    private func wait(for job: QueuedJob, _ settings: LaneSettings, _ chosen: [Chosen], _ now: Instant) -> Duration? {
        if job.isSuspect, attempts.hasSuspect || chosen.contains(where: \.job.isSuspect) { return .milliseconds(100) }
        return origins.wait(for: job, settings, now)
    }

    // MARK: The statement

    /// Claims one batch after the other. One that fails is halved, down to the job at fault.
    private func claim(_ batches: [[Chosen]]) {
        guard let batch = batches.first else {
            isUnderWay = false
            // Whoever waited for the slots of those that did not begin.
            return here.wakeTurn(in: .zero)
        }
        let rest = Array(batches.dropFirst())
        let sent = here.now
        let request = ClaimRequest(
            jobs: batch.map(\.job.id.value),
            owner: shards.owner,
            lease: here.timing.lease,
            pace: board.paceWrites(of: batch.map(\.lane.number))
        )
        ledger.claim(request) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let answers):
                if !failures.isEmpty { for entry in batch { failures[entry.job.id.value] = nil } }
                if rest.isEmpty { isUnderWay = false }
                for entry in batch { promiseEnded(entry) }
                claimed(batch, answers, sent: sent)
                if !rest.isEmpty { claimRest(rest) }
            case .failure(let error) where error.isConnectionLost:
                // The connection's loss throws the lanes' memory away.
                isUnderWay = false
                putBack(batch + rest.joined(), in: .milliseconds(200))
            case .failure(let error):
                here.log.warning("claim failed", metadata: ["error": "\(error)", "count": "\(batch.count)"])
                if batch.count > 1 {
                    claimRest([Array(batch.prefix(batch.count / 2)), Array(batch.dropFirst(batch.count / 2))] + rest)
                } else {
                    putBack(batch, in: waitAfterFailure(of: batch[0].job))
                    claimRest(rest)
                }
            }
        }
    }

    /// What is left of a choice, unless what it was chosen by is no longer so.
    private func claimRest(_ batches: [[Chosen]]) {
        guard !here.isDraining else {
            putBack(Array(batches.joined()), in: .zero)
            return claim([])
        }
        var left: [[Chosen]] = []
        for batch in batches {
            let isCurrent = batch.map { board.isCurrent($0.lane) }
            putBack(zip(batch, isCurrent).filter { !$1 }.map(\.0), in: .zero)
            let current = zip(batch, isCurrent).filter(\.1).map(\.0)
            if !current.isEmpty { left.append(current) }
        }
        claim(left)
    }

    /// Jobs that were not begun wait on, in lanes that are still known.
    private func putBack(_ entries: [Chosen], in wait: Duration) {
        for entry in entries {
            promiseEnded(entry)
            guard board.isCurrent(entry.lane) else { continue }
            entry.lane.putBack(entry.job, until: here.now + wait)
            agenda.look(at: entry.lane.number)
        }
    }

    private func promiseEnded(_ entry: Chosen) { if let kind = entry.slotOf { caller.promiseEnded(to: kind) } }

    /// 200 ms, 400 ms and so on up to 10 s: each try may keep the session for as long as a lock is waited for.
    private func waitAfterFailure(of job: QueuedJob) -> Duration {
        // Jobs that have ended otherwise are never claimed again.
        if failures.count >= Self.rememberedFailures { failures.removeAll() }
        let count = failures[job.id.value, default: 0]
        failures[job.id.value] = count + 1
        return min(.seconds(10), .milliseconds(200) * (1 << min(count, 6)))
    }

    private func claimed(_ chosen: [Chosen], _ answers: [ClaimAnswer], sent: Instant) {
        var waiting: [Int64: Chosen] = [:]
        for entry in chosen { waiting[entry.job.id.value] = entry }
        var claims: [Int64] = []
        for answer in answers {
            guard let entry = waiting[answer.job] else { continue }
            if case .claimed(let claimed) = answer.verdict {
                begun(entry, claimed, sent: sent)
                claims.append(answer.job)
            } else {
                notBegun(entry, answer.verdict)
            }
        }
        here.telemetry.claimed += claims.count
        here.reached(.claimed, times: claims.count)
        for job in claims { calls.carry(job) }
    }

    private func begun(_ entry: Chosen, _ claimed: ClaimedJob, sent: Instant) {
        let (job, lane) = (entry.job, entry.lane)
        if !overtaken.isEmpty { overtaken[job.id.value] = nil }
        attempts.began(
            Call(
                job: job.id.value,
                attempt: claimed.attempt,
                tries: claimed.tries,
                lane: lane.number,
                line: entry.line,
                person: job.person,
                place: job.place,
                jobClass: job.jobClass,
                isStamped: job.isStamped,
                isSuspect: job.isSuspect,
                isQuiet: claimed.isQuiet,
                key: claimed.key,
                request: claimed.request,
                sendBefore: claimed.sendBefore,
                gateOpenUntil: entry.gateOpenUntil,
                claimSent: sent
            )
        )
        // Its memory was built anew meanwhile.
        if !board.isCurrent(lane) { board.lane(lane.number)?.resume(person: job.person) }
    }

    /// 20 ms, 40 ms and so on up to 1 s. One that stays overtaken may be so by a row that an owner has placed in a commit whose
    /// reply was lost: adoption does not find it, and the shard's rows are read anew.
    private func waitBehindAnother(_ job: QueuedJob, _ lane: Lane) -> Duration {
        if overtaken.count >= Self.rememberedFailures { overtaken.removeAll() }
        let count = overtaken[job.id.value, default: 0] + 1
        overtaken[job.id.value] = count
        if count % Self.overtakenBetweenLoads == Self.overtakenBeforeLoad {
            here.log.notice("a job stays behind one that is not in memory", metadata: ["job": "\(job.id)"])
            agenda.load(shard: lane.shard)
        }
        return min(.seconds(1), .milliseconds(20) * (1 << min(count - 1, 6)))
    }

    private func notBegun(_ entry: Chosen, _ verdict: ClaimVerdict) {
        let (job, lane, now) = (entry.job, entry.lane, here.now)
        // A lane that was given up has forgotten it.
        guard board.isCurrent(lane) else { return }
        lane.takenBack(person: job.person)
        if verdict != .overtaken { overtaken[job.id.value] = nil }
        board.callEnded(of: lane)
        agenda.look(at: lane.number)
        func again(in wait: Duration) {
            var again = job
            again.due = now + wait
            lane.add(again)
        }
        switch verdict {
        case .held:
            // The operator's hold reached the database before it reached us.
            again(in: .milliseconds(500))
        case .early:
            again(in: .milliseconds(100))
        case .capped(let wait):
            lane.capped(until: now + max(.seconds(1), wait))
            lane.add(job)
        case .overtaken:
            // A row of that person that no owner has seen goes first.
            agenda.adopt()
            again(in: waitBehindAnother(job, lane))
        case .lost:
            agenda.lost(shard: lane.shard)
        case .busy:
            // Somebody began it, perhaps we, in a claim whose reply was lost.
            agenda.lookAgain(at: [job.id.value])
        case .gone, .expired, .superseded, .horizon, .claimed:
            break  // it ended or was parked
        case .unheard(let word):
            here.unheard(word, of: "claim")
            again(in: .seconds(10))
        }
    }
}
