internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// The one breaker for all lanes of an origin, in the whole fleet (decision 5): opens it when the living workers' counts say so,
/// and makes its probe when this worker is the one that may.
final class Breakers {
    private let here: Surroundings
    private let directory: LaneDirectory
    private let shards: Shards
    private let origins: Origins
    private let board: LaneBoard
    private let caller: Caller
    private let health: Health
    private let membership: Membership
    private let ledger: any FleetLedger
    /// Origins whose one probe this worker makes or asks for.
    private var probing: Set<String> = []
    /// Since when this worker has seen that an origin's probe is due.
    private var dueSince: [String: Instant] = [:]
    /// For so long a worker that is not answered itself leaves a probe to the others: its own wire may be what is dead.
    private static let leftToOthers: Duration = .seconds(1)

    init(
        _ here: Surroundings,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ origins: Origins,
        _ board: LaneBoard,
        _ caller: Caller,
        _ health: Health,
        _ membership: Membership,
        _ ledger: any FleetLedger
    ) {
        self.here = here
        self.directory = directory
        self.shards = shards
        self.origins = origins
        self.board = board
        self.caller = caller
        self.health = health
        self.membership = membership
        self.ledger = ledger
    }

    /// Asks which are open.
    func look() {
        ledger.breakers { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            seen(rows)
            openIfSuspected(at: here.now)
        }
    }

    private func seen(_ rows: [BreakerRow]) {
        let now = here.now
        let due = Set(rows.filter(\.isProbeDue).map(\.origin))
        dueSince = dueSince.filter { due.contains($0.key) }
        for origin in due.sorted() { probeIfOurs(origin, now) }
        let (opened, closed) = origins.broke(Set(rows.map(\.origin)))
        for origin in opened { here.log.notice("breaker open", metadata: ["origin": "\(origin)"]) }
        for origin in closed {
            here.log.notice("breaker closed; lines go on by the ramp", metadata: ["origin": "\(origin)"])
            board.restart(lanesOf: origin, at: now)
        }
    }

    /// One of the workers wins, and it is the one that raises the alarm. One that reaches nobody while others do has no say: it
    /// would stop them.
    private func openIfSuspected(at now: Instant) {
        guard !membership.isCutOff else { return }
        for (origin, own) in board.callCounts(at: now).sorted(by: { $0.key < $1.key })
        where own.failing > 0 && !origins.isBroken(origin) {
            guard Breaker.suspects(membership.peerCounts(of: origin, at: now) + [own]) else { continue }
            let opening = BreakerOpening(
                origin: origin,
                reason: "\(own.failing) of \(own.active) lines of one worker got no answer",
                nextProbeIn: Breaker.wait(afterProbes: 0, jitter: here.jitter())
            )
            ledger.openBreaker(opening, by: here.boot) { [weak self] result in
                guard let self, case .success(true) = result else { return }
                here.log.error(
                    "many lines fail at once: the provider or the network is suspected; nothing is sent until a probe is answered",
                    metadata: ["origin": "\(origin)", "failing": "\(own.failing)", "active": "\(own.active)"]
                )
            }
        }
    }

    private func probeIfOurs(_ origin: String, _ now: Instant) {
        let since = dueSince[origin] ?? now
        dueSince[origin] = since
        if origins.isUnanswered(origin), now - since < Self.leftToOthers { return }
        probe(origin, now)
    }

    /// Asks the health of one lane, if this worker is the one in the fleet that may. One with work if there is one; a worker
    /// without work asks as well, for those that have it may be the ones that reach nobody.
    private func probe(_ origin: String, _ now: Instant) {
        guard membership.mayAct(at: now), !here.isDraining, !probing.contains(origin), caller.hasFreeSlot else {
            return
        }
        let usable = directory.all.filter { $0.origin == origin && $0.account != nil && !$0.isRemoved }
            .sorted { $0.lane < $1.lane }
        let busy = usable.filter { shards.isOwned($0.shard) && (board.lane($0.lane)?.count ?? 0) > 0 }
        guard let settings = (busy.isEmpty ? usable : busy).randomElement(using: &here.chance) else { return }
        probing.insert(origin)
        ledger.probeBreaker(origin, by: here.boot) { [weak self] result in
            guard let self else { return }
            guard case .success(let probes?) = result else {
                probing.remove(origin)
                return
            }
            // Calls that still hang may have taken the slot meanwhile.
            guard caller.hasFreeSlot else { return probed(origin, probes, isAnswered: false) }
            health.ask(settings, isQuestion: true) { [weak self] verdict in
                self?.probed(origin, probes, isAnswered: !verdict.isProviderFailure && !verdict.isOurOwn)
            }
        }
    }

    private func probed(_ origin: String, _ probes: Int32, isAnswered: Bool) {
        probing.remove(origin)
        let wait = Breaker.wait(afterProbes: Int(probes), jitter: here.jitter())
        let end = ProbeEnd(origin: origin, isAnswered: isAnswered, nextProbeIn: wait)
        ledger.endProbe(end, by: here.boot) { _ in }
    }
}
