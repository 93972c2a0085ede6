internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// One worker: take → claim → carry → settle, for the shards it owns. Lives on its loop's thread; nothing here blocks.
///
/// It is made of parts (`WorkerParts`), each with a state of its own; this is the order in which they have their turn. PostgreSQL
/// decides everything; what is in memory is a copy that may be thrown away and loaded again at any time.
///
/// Every turn of the loop ends in `turn`: what arrived while the previous statement was under way is the next batch.
final class Worker {
    private static let upkeepInterval: Duration = .seconds(3_600)

    let here: Surroundings
    let ports: WorkerPorts
    let parts: WorkerParts
    let onStopped: (Result<Void, WorkerError>) -> Void
    /// The session that takes came back, and what is in memory is older.
    var isReloadWanted = false
    private var lastUpkeep: Instant?
    private(set) var drainDeadline: Instant?
    /// Why the worker ends although nobody asked it to.
    private(set) var endReason: WorkerError?

    /// Must be called on the loop of `ports`.
    init(
        configuration: WorkerConfiguration,
        ports: WorkerPorts,
        logger: Logger,
        onStopped: @escaping (Result<Void, WorkerError>) -> Void
    ) {
        ports.loop.preconditionOnLoop()
        self.ports = ports
        self.onStopped = onStopped
        here = Surroundings(configuration, ports, logger)
        parts = WorkerParts(ports, here)
    }

    /// 16 bytes that no other boot of a worker has.
    static func newBoot(using random: inout some RandomNumberGenerator) -> [UInt8] {
        (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    /// What it has counted, and how much there is of what. On its loop only.
    var telemetry: Telemetry {
        var telemetry = here.telemetry
        telemetry.callsInTheAir = parts.attempts.count
        return telemetry
    }

    /// Connects, and works until `drain` or `stop`.
    func start() {
        listen()
        here.loop.beforeWait { [weak self] in self?.turn() }
        parts.sessions.connect()
        ports.broker.open()
        tick()
    }

    // MARK: Turns

    /// Twice a second: renewal, look, sweep. Everything else follows from events.
    private func tick() {
        guard !here.isStopped else { return }
        let now = here.now
        let mayAct = parts.membership.mayAct(at: now)
        parts.membership.renewIfDue(at: now)
        giveBackIfUnfit(now)
        parts.sessions.lookAtSilentOnes(mayAct: mayAct, at: now)
        parts.presence.ask(at: now)
        if mayAct { parts.health.askOrigins(parts.membership, at: now) }
        look(now)
        if mayAct, ports.intake.isConnected { parts.rows.watch(at: now) }
        parts.sweeping.sweep(parts.membership, parts.directory, at: now)
        if mayAct, ports.intake.isConnected { parts.sweeping.audit(at: now) }
        if mayAct { parts.gateNotes.lookAtLongHolds(at: now) }
        if mayAct, parts.shards.count > 0 { parts.queueLooks.look(at: now) }
        upkeepIfDue(now)
        endIfDone(now)
        // Jittered so that a fleet that was started together does not ask together.
        here.loop.after(here.timing.look * Double.random(in: 0.9...1.1, using: &here.chance)) { [weak self] in
            self?.tick()
        }
    }

    /// Once per turn of the loop, before the wait.
    private func turn() {
        guard !here.isStopped else { return }
        let now = here.now
        applyEffects(now)
        parts.calls.carryWaiting()
        if ports.intake.isConnected, parts.membership.mayAct(at: now) { work(now) }
        parts.effects.write()
        parts.settling.write(at: now)
        parts.gateNotes.write(at: now)
        here.reached(.acked, times: parts.consumption.acknowledge())
        releaseLeftShards()
    }

    private func work(_ now: Instant) {
        // Before arrivals: they get only what nobody waits for.
        if !here.isDraining { parts.board.look(at: now) }
        if parts.directory.isLoaded {
            parts.intake.take(at: now)
            parts.sweeping.adoptIfWanted(at: now)
        }
        parts.sweeping.place(at: now)
        parts.events.work(at: now)
        guard !here.isDraining else { return }
        parts.board.look(at: now)
        parts.claiming.claim(at: now)
    }

    /// Does what parts asked for since the last turn.
    func applyEffects(_ now: Instant) {
        let agenda = parts.agenda
        loseShards()
        releaseLeftShards()
        if agenda.takeReload() { for shard in parts.shards.ownedNumbers { load(shard) } }
        for shard in agenda.takeLoads() { load(shard) }
        for shard in agenda.takeSubscriptions() where parts.shards.isOwned(shard) {
            parts.consumption.subscribe(toShard: shard)
        }
        for look in agenda.takeLooks() { parts.rows.look(at: look.jobs, held: look.held) }
        if agenda.takeHeartbeat() { parts.membership.renewSoon(at: now) }
        if agenda.takeShardCountQuestion() { readShardCount() }
        if let reason = agenda.takeEnd() {
            endReason = reason
            drain()
        }
        if agenda.takeEndCheck() { endIfDone(now) }
    }

    private func upkeepIfDue(_ now: Instant) {
        guard parts.shards.count > 0, !here.isDraining,
            lastUpkeep.map({ now - $0 >= Self.upkeepInterval }) ?? true
        else { return }
        lastUpkeep = now
        ports.upkeep?.begin()
    }

    // MARK: The end

    /// Stops taking, finishes what is in the air within the deadline, hands back the rest.
    func drain() {
        ports.loop.preconditionOnLoop()
        guard !here.isDraining, !here.isStopped else { return }
        here.drain()
        let now = here.now
        drainDeadline = now + here.timing.drainLimit
        here.log.notice("draining", metadata: ["calls": "\(parts.attempts.count)"])
        parts.consumption.leaveShared()
        for shard in parts.shards.numbers { leave(shard) }
        releaseLeftShards()
        parts.membership.renew(at: now)
        endIfDone(now)
    }

    private func endIfDone(_ now: Instant) {
        guard here.isDraining, !here.isStopped, let drainDeadline else { return }
        let isDone =
            parts.attempts.isEmpty && parts.settling.isDone && parts.credentials.isDone && !parts.claiming.isUnderWay
            && parts.intake.isDone
            && parts.shards.isEmpty
        guard isDone || now >= drainDeadline else { return }
        if !isDone {
            here.log.warning(
                "drain deadline passed; others finish the rest",
                metadata: ["calls": "\(parts.attempts.count)", "jobs": "\(parts.attempts.examples)"]
            )
        }
        let result: Result<Void, WorkerError> = endReason.map { .failure($0) } ?? .success(())
        guard ports.control.isConnected else { return stop(result) }
        parts.shards.releaseAll(parts.shards.numbers)
        parts.membership.leave { [weak self] in self?.stop(result) }
    }

    /// Ends at once. Rows say what is known; the fleet finishes the rest.
    func stop(_ result: Result<Void, WorkerError>) {
        guard !here.isStopped else { return }
        here.stop()
        ports.upkeep?.stop()
        parts.caller.close()
        parts.sessions.close()
        let onStopped = onStopped
        ports.broker.close { onStopped(result) }
    }
}

/// Why a worker could not start or go on. The description is for the operator and holds no secret.
package struct WorkerError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
