internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// This worker among the others: raises its heartbeat, knows whether it may act, and judges who is alive.
final class Membership {
    private let here: Surroundings
    private let agenda: Agenda
    private let sessions: Sessions
    private let presence: BrokerPresence
    private let shards: Shards
    private let origins: Origins
    private let board: LaneBoard
    private let ledger: any FleetLedger
    private var fleet: Fleet<BootID>
    /// When the last good renewal was *sent*.
    private var renewedAt: Instant?
    private var isRenewing = false
    private var renewalSent: Instant?
    /// Whether every own renewal since the last look went through.
    private var isJudgeFit = false
    /// Why the heartbeat fails.
    private var absence = Absence()
    /// What other workers counted at their last heartbeat.
    private var peerCounts: [BootID: [String: CallCounts]] = [:]
    /// What all workers, this one included, said at their last heartbeat of whether an origin answers.
    private var words: [BootID: [String: Reach.Word]] = [:]
    /// Who could not reach the API at the last look, although others could.
    private var cutOff: Set<BootID> = []
    /// Owners of shards that have no heartbeat row, and since when that was seen.
    private var strangers: [BootID: Instant] = [:]

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ sessions: Sessions,
        _ presence: BrokerPresence,
        _ shards: Shards,
        _ origins: Origins,
        _ board: LaneBoard,
        _ ledger: any FleetLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.sessions = sessions
        self.presence = presence
        self.shards = shards
        self.origins = origins
        self.board = board
        self.ledger = ledger
        fleet = Fleet(silenceLimit: here.timing.silenceLimit)
    }

    // MARK: The own heartbeat

    /// Whether this worker may begin anything: its own renewal is young enough.
    func mayAct(at now: Instant) -> Bool {
        guard let renewedAt else { return false }
        return now - renewedAt < here.timing.actingLimit
    }

    /// Whether it was ever seen by the others.
    var isKnown: Bool { renewedAt != nil }

    /// Whether the others must take this worker for dead.
    func isSilent(at now: Instant) -> Bool { renewedAt.map { now - $0 >= here.timing.silenceLimit } ?? true }

    func renewIfDue(at now: Instant) {
        // libpq waits for ever on a server that is frozen.
        if isRenewing, let renewalSent, now - renewalSent > here.timing.actingLimit {
            return ledger.drop("the heartbeat was not answered in time")
        }
        guard shards.count > 0, !isRenewing, ledger.isConnected, !sessions.areLacking(at: now) else { return }
        // A quarter early: the tick is coarse.
        guard renewedAt.map({ now - $0 >= here.timing.heartbeat * 0.75 }) ?? true else { return }
        renew(at: now)
    }

    /// Something is new that the others should know.
    func renewSoon(at now: Instant) { if !isRenewing, !sessions.areLacking(at: now) { renew(at: now) } }

    func renew(at sent: Instant) {
        guard shards.count > 0, ledger.isConnected else { return }
        isRenewing = true
        renewalSent = sent
        let known = sessions.known
        ledger.beat(
            Heartbeat(
                boot: here.boot,
                host: here.configuration.host,
                processID: ProcessID.own,
                version: here.configuration.version,
                backends: known,
                hasBroker: presence.isGood(at: sent),
                isStopping: here.isDraining,
                origins: reports(at: sent)
            )
        ) { [weak self] result in self?.renewed(result, sent: sent) }
    }

    /// What this worker's calls say of origins.
    private func reports(at now: Instant) -> [OriginReport] {
        let words = origins.words(at: now)
        var counted = board.callCounts(at: now)
        // Origins that nothing was called of lately may still be silent.
        for origin in words.keys where counted[origin] == nil { counted[origin] = CallCounts() }
        return counted.sorted { $0.key < $1.key }.map {
            OriginReport(origin: $0.key, counts: $0.value, reach: words[$0.key])
        }
    }

    private func renewed(_ result: Result<Void, PostgresError>, sent: Instant) {
        isRenewing = false
        switch result {
        case .success:
            // From the first heartbeat on nobody changes the number of shards; it may have changed right before.
            if renewedAt == nil { agenda.readShardCount() }
            // Counted from before it was sent: the database may have been slow, others count from its commit.
            renewedAt = max(renewedAt ?? sent, sent)
            _ = absence.ended()
            sessions.databaseAnswered()
            // Over a slow wire the next one cannot wait for the tick.
            renewIfDue(at: here.now)
        case .failure(let error):
            isJudgeFit = false
            if absence.began(error) { here.log.warning("heartbeat failed", metadata: ["error": "\(error)"]) }
        }
    }

    func connectionLost() {
        isRenewing = false
        isJudgeFit = false
    }

    // MARK: The others

    /// Asks who is there.
    func look(at now: Instant) {
        // Fit to judge others only if the own renewals went through all the time.
        let isFit = isJudgeFit && mayAct(at: now)
        isJudgeFit = true
        ledger.fleet { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            seen(rows, isJudgeFit: isFit)
        }
    }

    private func seen(_ rows: [WorkerRow], isJudgeFit: Bool) {
        peerCounts.removeAll(keepingCapacity: true)
        words.removeAll(keepingCapacity: true)
        for row in rows {
            for report in row.origins {
                peerCounts[row.boot, default: [:]][report.origin] = report.counts
                if let word = report.reach { words[row.boot, default: [:]][report.origin] = word }
            }
        }
        let now = here.now
        cutOff = Reach.cutOff(words.filter { !fleet.isDead($0.key, at: now) }, before: cutOff)
        let workers = rows.map { row in
            Fleet<BootID>.Observation(
                id: row.boot,
                beat: row.beat,
                isStopping: row.isStopping,
                hasBroker: row.hasBroker,
                isCutOff: cutOff.contains(row.boot)
            )
        }
        fleet.observed(workers, at: now, isJudgeFit: isJudgeFit)
    }

    /// Who should own which shard; nil when nobody takes part.
    func division(ofShards count: Int, owners: [Int: BootID], at now: Instant) -> [BootID]? {
        fleet.division(ofShards: count, owners: owners, at: now)
    }

    /// Whether the owner of a shard is dead. One without a heartbeat row cannot renew it: it is gone as soon as that has been
    /// seen for the silence limit.
    func isGone(_ owner: BootID, at now: Instant) -> Bool {
        if fleet.isDead(owner, at: now) { return true }
        if fleet.knows(owner) {
            strangers[owner] = nil
            return false
        }
        let since = strangers[owner] ?? now
        strangers[owner] = since
        return now - since >= here.timing.silenceLimit
    }

    /// Whether another worker still makes and hears its calls, as far as is known.
    func isAtWork(_ other: BootID, at now: Instant) -> Bool {
        fleet.knows(other) && !fleet.isDead(other, at: now) && !cutOff.contains(other)
    }

    /// The heartbeat rows of the dead, once they own nothing.
    func forgetTheDead(butFor owners: Set<BootID>, at now: Instant) {
        let gone = fleet.members.filter { fleet.isDead($0, at: now) && !owners.contains($0) }
        if !gone.isEmpty { ledger.forget(gone) { _ in } }
    }

    /// This worker ends: nobody need wait for its silence.
    func leave(_ done: @escaping () -> Void) { ledger.forget([here.boot]) { _ in done() } }

    // MARK: What the others say

    /// Whether this worker could not reach the API at the last look, although others could.
    var isCutOff: Bool { cutOff.contains(here.boot) }

    /// What the other workers that are at work counted of an origin.
    func peerCounts(of origin: String, at now: Instant) -> [CallCounts] {
        peerCounts.compactMap { boot, counts in
            boot != here.boot && isAtWork(boot, at: now) ? counts[origin] : nil
        }
    }

    /// Origins that do not answer another living worker.
    func originsSilentElsewhere(at now: Instant) -> [String] {
        words.filter { $0.key != here.boot && !fleet.isDead($0.key, at: now) }
            .flatMap { $0.value.filter { $0.value == .silent }.keys }
    }
}
