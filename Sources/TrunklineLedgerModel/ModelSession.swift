package import PostgresDriver
internal import TrunklineCore
package import TrunklineEngine

/// A session of the ledger behind which the model stands. Whoever adopts it decides when a call takes effect and when its
/// answer arrives.
package protocol ModelSession: FleetLedger, JobLedger, OutcomeLedger {
    /// `name`: what the statement is called on PostgreSQL.
    func perform<Value>(
        _ name: String,
        _ done: @escaping LedgerReply<Value>,
        _ body: @escaping (LedgerModel) -> Result<Value, PostgresError>
    )
}

extension ModelSession {
    private func ask<Value>(
        _ name: String,
        _ done: @escaping LedgerReply<Value>,
        _ body: @escaping (LedgerModel) -> Value
    ) {
        perform(name, done) { .success(body($0)) }
    }

    package func beat(_ heartbeat: Heartbeat, _ done: @escaping LedgerReply<Void>) {
        ask("beat", done) { $0.beat(heartbeat) }
    }
    package func fleet(_ done: @escaping LedgerReply<[WorkerRow]>) { ask("fleet", done) { $0.fleet() } }
    package func waitsForUs(_ backend: PostgresBackend, _ done: @escaping LedgerReply<Bool?>) {
        ask("waits_for_us", done) { $0.waits?(backend) }
    }
    package func shards(_ done: @escaping LedgerReply<[ShardRow]>) { ask("shards", done) { $0.shardRows() } }
    package func acquire(_ wanted: [ShardFence], by boot: BootID, _ done: @escaping LedgerReply<[ShardFence]>) {
        perform("acquire", done) { $0.acquire(wanted, by: boot) }
    }
    package func release(_ shards: [Int32], by boot: BootID, _ done: @escaping LedgerReply<Void>) {
        perform("release", done) { $0.release(shards, by: boot) }
    }
    package func terminate(_ boots: [BootID], _ done: @escaping LedgerReply<Void>) {
        ask("terminate", done) { $0.terminate(boots) }
    }
    package func forget(_ boots: [BootID], _ done: @escaping LedgerReply<Void>) {
        ask("forget", done) { $0.forget(boots) }
    }
    package func breakers(_ done: @escaping LedgerReply<[BreakerRow]>) { ask("breakers", done) { $0.breakerRows() } }
    package func openBreaker(_ opening: BreakerOpening, by boot: BootID, _ done: @escaping LedgerReply<Bool>) {
        ask("open_breaker", done) { $0.openBreaker(opening) }
    }
    package func probeBreaker(_ origin: String, by boot: BootID, _ done: @escaping LedgerReply<Int32?>) {
        ask("probe_breaker", done) { $0.probeBreaker(origin, by: boot) }
    }
    package func endProbe(_ end: ProbeEnd, by boot: BootID, _ done: @escaping LedgerReply<Void>) {
        ask("end_probe", done) { $0.endProbe(end, by: boot) }
    }
    package func configuredLanes(
        after revision: Int64,
        and numbers: [Int32],
        _ done: @escaping LedgerReply<[ConfiguredLane]>
    ) {
        ask("configured_lanes", done) { $0.configuredLanes(after: revision, and: numbers) }
    }
    package func shardCount(_ done: @escaping LedgerReply<Int32?>) { ask("shard_count", done) { $0.shardCount } }

    package func take(_ request: TakeRequest, _ done: @escaping LedgerReply<[TakeAnswer]>) {
        ask("take", done) { $0.take(request) }
    }
    package func acceptEvents(_ events: [NamedEvent], _ done: @escaping LedgerReply<[EventAnswer]>) {
        ask("accept_events", done) { $0.acceptEvents(events) }
    }
    package func refuse(_ refusals: [RefusalRow], _ done: @escaping LedgerReply<Void>) {
        ask("refuse", done) { $0.refuse(refusals) }
    }
    package func suspect(_ message: SuspectMessage, by boot: BootID, _ done: @escaping LedgerReply<Int32>) {
        ask("suspect", done) { $0.suspect(message, by: boot) }
    }
    package func unsuspect(digest: [UInt8], _ done: @escaping LedgerReply<Void>) {
        ask("unsuspect", done) { $0.unsuspect(digest: digest) }
    }
    package func adopt(
        _ owner: LedgerOwner,
        age: Duration,
        after start: Int64,
        limit: Int32,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        ask("adopt", done) { $0.adopt(owner, age: age, after: start, limit: limit) }
    }
    package func place(_ jobs: [Int64], _ owner: LedgerOwner, _ done: @escaping LedgerReply<[SeenJob]>) {
        ask("place_due", done) { $0.place(jobs, owner) }
    }
    package func claim(_ request: ClaimRequest, _ done: @escaping LedgerReply<[ClaimAnswer]>) {
        ask("claim", done) { $0.claim(request) }
    }
    package func abandon(
        _ attempts: [JobAttempt],
        _ owner: LedgerOwner,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        ask("abandon", done) { $0.abandon(attempts, owner) }
    }
    package func expire(_ owner: LedgerOwner, limit: Int32, _ done: @escaping LedgerReply<[JobOfPerson]>) {
        ask("expire", done) { $0.expire(owner, limit: limit) }
    }
    package func load(
        _ lanes: [Int32],
        after key: RowKey,
        limit: Int32,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        ask("load", done) { $0.load(lanes, after: key, limit: limit) }
    }
    package func watch(_ jobs: [Int64], _ done: @escaping LedgerReply<[SeenJob]>) {
        ask("watch", done) { $0.watch(jobs) }
    }
    package func lanes(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LaneRow]>) {
        ask("lane_states", done) { $0.lanes(ofShards: shards) }
    }
    package func lastSends(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LastSend]>) {
        ask("last_sends", done) { $0.lastSends(shards) }
    }
    package func forgotten(
        ofShards shards: [Int32],
        of count: Int32,
        busy: [Int32],
        _ done: @escaping LedgerReply<[Int32]>
    ) {
        ask("forgotten", done) { $0.forgotten(shards, busy: busy) }
    }

    package func beginEffect(
        _ attempts: [JobAttempt],
        by boot: BootID,
        lease: Duration,
        _ done: @escaping LedgerReply<[JobAttempt]>
    ) {
        ask("begin_effect", done) { $0.beginEffect(attempts, by: boot, lease: lease) }
    }
    package func credentials(_ lane: Int32, _ done: @escaping LedgerReply<StoredCredentials?>) {
        ask("credentials", done) { $0.credentials(lane) }
    }
    package func beginRefresh(_ request: RefreshRequest, _ done: @escaping LedgerReply<RefreshVerdict>) {
        ask("begin_refresh", done) { $0.beginRefresh(request) }
    }
    package func endRefresh(_ end: RefreshEnd, by boot: BootID, _ done: @escaping LedgerReply<Bool>) {
        ask("end_refresh", done) { $0.endRefresh(end, by: boot) }
    }
    package func settle(_ outcomes: [Settlement], by boot: BootID, _ done: @escaping LedgerReply<[SettleAnswer]>) {
        ask("settle", done) { $0.settle(outcomes, by: boot) }
    }
    package func pause(_ lane: Int32, for span: Duration, _ done: @escaping LedgerReply<Void>) {
        ask("pause", done) { $0.pause(lane, for: span) }
    }
    package func keepGates(_ gates: [GateRow], _ done: @escaping LedgerReply<Void>) {
        ask("gate", done) { $0.keepGates(gates) }
    }
    package func holdTold(_ lanes: [Int32], _ done: @escaping LedgerReply<Void>) {
        ask("hold_told", done) { $0.holdTold(lanes) }
    }
}
