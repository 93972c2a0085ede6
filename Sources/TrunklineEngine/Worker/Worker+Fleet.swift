internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// What happens to the whole worker when a connection, a shard or a lane comes or goes: every part that has something of it is
/// told here, in one order.
extension Worker {
    // MARK: Connections

    func listen() {
        let (control, intake, settler, broker) = (ports.control, ports.intake, ports.settler, ports.broker)
        control.onConnect = { [weak self] backend in self?.controlConnected(backend) }
        control.onDisconnect = { [weak self] error in self?.controlLost(error) }
        intake.onConnect = { [weak self] backend in self?.intakeConnected(backend) }
        intake.onDisconnect = { [weak self] error in self?.intakeLost(error) }
        settler.onConnect = { [weak self] backend in self?.settlerConnected(backend) }
        settler.onDisconnect = { [weak self] error in
            guard let self else { return }
            parts.sessions.lost(ports.settler, called: "settle", error)
        }
        broker.onConnect = { [weak self] in
            guard let self else { return }
            parts.presence.connected(at: here.now)
            parts.consumption.connected()
        }
        broker.onDisconnect = { [weak self] error in
            guard let self else { return }
            parts.presence.lost(error, at: here.now)
            parts.consumption.connectionLost()
        }
        broker.onConnectFailed = { [weak self] error in
            self?.here.log.warning("no broker", metadata: ["error": "\(error)"])
        }
    }

    private func controlConnected(_ backend: PostgresBackend) {
        parts.sessions.connected(ports.control, backend)
        parts.membership.renew(at: here.now)
        readShardCount()
    }

    private func controlLost(_ error: PostgresError) {
        parts.sessions.lost(ports.control, called: "control", error)
        parts.membership.connectionLost()
        parts.shards.connectionLost()
    }

    private func intakeConnected(_ backend: PostgresBackend) {
        parts.sessions.connected(ports.intake, backend)
        // Others must know the session that may come to hold our locks.
        parts.membership.renew(at: here.now)
        guard isReloadWanted else { return }
        isReloadWanted = false
        for shard in parts.shards.numbers { load(shard) }
    }

    private func intakeLost(_ error: PostgresError) {
        parts.sessions.lost(ports.intake, called: "intake", error)
        // What was under way may or may not be committed: everything in memory is loaded again before anything else. Calls in
        // the air go on.
        forget(parts.shards.forgetMemory())
        parts.rows.connectionLost()
        parts.loader.connectionLost()
        parts.sweeping.connectionLost()
        isReloadWanted = true
    }

    private func settlerConnected(_ backend: PostgresBackend) {
        parts.sessions.connected(ports.settler, backend)
        parts.membership.renew(at: here.now)
        parts.settling.connected()
    }

    /// Every program must agree on it; a worker begins nothing before it knows.
    func readShardCount() {
        ports.control.shardCount { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let count):
                guard let count, count > 0 else {
                    return stop(.failure(WorkerError("the database has no number of shards: run 'trunkline migrate'")))
                }
                let known = parts.shards.count
                if known == 0 {
                    parts.shards.countIsKnown(count)
                    parts.membership.renew(at: here.now)
                } else if known != count {
                    stop(.failure(WorkerError("the number of shards was changed: start the worker again")))
                }
            case .failure(let error):
                if error.isConnectionLost { return }
                if error.isRetriable {
                    here.loop.after(.seconds(1)) { [weak self] in self?.readShardCount() }
                } else {
                    stop(.failure(WorkerError("the database is not usable: \(error)")))
                }
            }
        }
    }

    // MARK: The look

    /// At the fleet, its breakers, lanes and fences. Decisions are made when the last answer is in.
    func look(_ now: Instant) {
        let shards = parts.shards
        guard shards.count > 0, ports.control.isConnected, !shards.isLooking, parts.membership.isKnown else { return }
        parts.membership.look(at: now)
        parts.breakers.look()
        parts.directory.look(shardCount: shards.count) { [weak self] changes in self?.lanesChanged(changes) }
        shards.look { [weak self] in self?.shardsSeen() }
    }

    private func shardsSeen() {
        loseShards()
        let now = here.now
        // Without a session that takes or settles a shard would only be kept from those who can.
        guard parts.membership.mayAct(at: now), !here.isDraining, parts.directory.isLoaded, parts.sessions.areComplete
        else { return }
        parts.consumption.begin()
        for shard in parts.shards.divide(parts.membership, at: now) { leave(shard) }
        parts.membership.forgetTheDead(butFor: parts.shards.ownersElsewhere, at: now)
    }

    private func lanesChanged(_ changes: [LaneDirectory.Change]) {
        let now = here.now
        if changes.contains(where: \.isNew) { parts.intake.laneIsNew() }
        for change in changes {
            let settings = change.settings
            // Jobs of a new one may have been taken before this look: they are in the database and not in memory.
            if change.isNew { read(newLane: settings) }
            if change.isCalledAnew { parts.attempts.closeGate(of: settings.id, at: now) }
            guard let lane = parts.board.lane(settings.lane) else { continue }
            lane.capped(until: nil)
            parts.board.applyPace(lane, settings, at: now)
            if change.isCalledAnew {
                parts.board.obey(lane.forgetGate(at: now), of: lane)
            } else if change.isChanged {
                parts.board.obey(lane.resumed(at: now), of: lane)
            }
            parts.agenda.look(at: settings.lane)
        }
    }

    // MARK: Shards

    /// Reads everything about a shard that its owner must know; for a new owner and after a lost connection alike.
    func load(_ shard: Int32) {
        guard parts.shards.phase(of: shard).map({ $0 != .leaving }) ?? false else { return }
        forget([shard])
        guard let loading = parts.shards.beginLoading(shard) else { return }
        if ports.intake.isConnected { parts.loader.begin(loading) } else { isReloadWanted = true }
    }

    /// Its lane is read if its shard is known here, and its shard's other lanes do not notice.
    private func read(newLane settings: LaneSettings) {
        let loading = parts.shards.beginReading(
            newLane: settings.lane,
            of: settings.shard,
            canRead: ports.intake.isConnected
        )
        if let loading { parts.loader.begin(loading) }
    }

    /// Stop claiming; acknowledge what is being taken; give the rest back; release.
    func leave(_ shard: Int32) {
        guard parts.shards.leave(shard) else { return }
        forget([shard])
        parts.consumption.leave(shard: shard)
    }

    func releaseLeftShards() {
        for shard in parts.agenda.takeLeftShards() {
            parts.consumption.forget(shard: shard)
            parts.shards.release(shard)
        }
    }

    /// Those that are another worker's now: nothing more is written for them, and their messages are given back.
    func loseShards() {
        for shard in parts.agenda.takeLostShards() where lose(shard) {
            here.log.warning("shard lost to another worker", metadata: ["shard": "\(shard)"])
        }
    }

    private func lose(_ shard: Int32) -> Bool {
        guard parts.shards.lose(shard) else { return false }
        parts.consumption.abandon(shard: shard)
        forget([shard])
        return true
    }

    private func forget(_ numbers: [Int32]) {
        let gone = Set(numbers)
        parts.shards.forgetLoadings(of: numbers)
        for number in numbers { parts.board.forget(parts.directory.lanes(of: number)) }
        let isGone: (Int32) -> Bool = { [directory = parts.directory] lane in
            directory.shard(of: lane).map(gone.contains) ?? false
        }
        parts.retries.forget(where: isGone)
        parts.rows.forget(where: isGone)
    }

    /// Twice a second. The session that renews may be there and another one not: whoever can work need not wait for this
    /// worker's silence.
    func giveBackIfUnfit(_ now: Instant) {
        guard parts.consumption.isConsuming, !here.isOff(.giveBack) else { return }
        let isLacking = parts.sessions.areLacking(at: now)
        guard isLacking || parts.membership.isSilent(at: now) else { return }
        parts.consumption.giveBack(isLacking: isLacking)
        guard isLacking, ports.control.isConnected, !parts.shards.isEmpty else { return }
        let numbers = parts.shards.numbers
        for shard in numbers { _ = lose(shard) }
        parts.shards.releaseAll(numbers)
    }
}
