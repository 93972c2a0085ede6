package import PostgresDriver
internal import TrunklineCore
package import TrunklineEngine

/// One thing that is asked of a ledger, or that happens to its rows or to its clock.
package enum ConformanceStep: Sendable {
    case beat(Heartbeat)
    case fleet
    case waitsForUs(PostgresBackend)
    case shards
    case acquire([ShardFence], BootID)
    case release([Int32], BootID)
    case terminate([BootID])
    case forget([BootID])
    case breakers
    case openBreaker(BreakerOpening, BootID)
    case probeBreaker(String, BootID)
    case endProbe(ProbeEnd, BootID)
    case configuredLanes(after: Int64, and: [Int32])
    case shardCount

    case take(TakeRequest)
    case acceptEvents([NamedEvent])
    case refuse([RefusalRow])
    case suspect(SuspectMessage, BootID)
    case unsuspect([UInt8])
    case adopt(LedgerOwner, age: Duration, after: Int64, limit: Int32)
    case place([Int64], LedgerOwner)
    case claim(ClaimRequest)
    case abandon([JobAttempt], LedgerOwner)
    case expire(LedgerOwner)
    case load([Int32], after: RowKey, limit: Int32)
    case watch([Int64])
    case lanes([Int32])
    case lastSends([Int32])
    case forgotten([Int32], busy: [Int32])

    case beginEffect([JobAttempt], BootID)
    case credentials(Int32)
    case beginRefresh(RefreshRequest)
    case endRefresh(RefreshEnd, BootID)
    case settle([Settlement], BootID)
    case pause(Int32, Duration)
    case keepGates([GateRow])
    case holdTold([Int32])

    case outside(Outside)

    /// What the ledger's port has no call for.
    package enum Outside: Sendable {
        /// Milliseconds.
        case timePasses(Int64)
        /// Of a lane, by its place in the list; until: microseconds since 1970.
        case hold(Int, until: Int64?)
        case resume(Int)
        case cap(Int, Int32?)
        case remove(Int)
        case cancel(String)
        case reschedule(Int64, to: Int64)
        case replay(Int64)
    }

    /// Its name: the case's.
    package var name: String { Mirror(reflecting: self).children.first?.label ?? "\(self)" }

    /// Asks it of a ledger; yields its answer as text, rows in one order. Never called with what is outside.
    package func ask(
        _ ledger: any FleetLedger & JobLedger & OutcomeLedger,
        shardCount count: Int32,
        _ done: @escaping (String) -> Void
    ) {
        func text<Value>(_ result: Result<Value, PostgresError>, _ body: (Value) -> String) -> String {
            switch result {
            case .success(let value): body(value)
            case .failure(let error): "failed: \(error)"
            }
        }
        func rows<Row>(_ result: Result<[Row], PostgresError>) {
            done(text(result) { $0.map { "\($0)" }.sorted().joined(separator: "\n") })
        }
        /// Whose order is part of the answer.
        func ordered<Row>(_ result: Result<[Row], PostgresError>) {
            done(text(result) { $0.map { "\($0)" }.joined(separator: "\n") })
        }
        func one<Value>(_ result: Result<Value, PostgresError>) { done(text(result) { "\($0)" }) }
        func nothing(_ result: Result<Void, PostgresError>) { done(text(result) { "done" }) }

        switch self {
        case .beat(let heartbeat): ledger.beat(heartbeat, nothing)
        case .fleet: ledger.fleet(rows)
        case .waitsForUs(let backend): ledger.waitsForUs(backend, one)
        case .shards: ledger.shards(ordered)
        case .acquire(let wanted, let boot): ledger.acquire(wanted, by: boot, rows)
        case .release(let shards, let boot): ledger.release(shards, by: boot, nothing)
        case .terminate(let boots): ledger.terminate(boots, nothing)
        case .forget(let boots): ledger.forget(boots, nothing)
        case .breakers: ledger.breakers(rows)
        case .openBreaker(let opening, let boot): ledger.openBreaker(opening, by: boot, one)
        case .probeBreaker(let origin, let boot): ledger.probeBreaker(origin, by: boot, one)
        case .endProbe(let end, let boot): ledger.endProbe(end, by: boot, nothing)
        case .configuredLanes(let revision, let numbers):
            ledger.configuredLanes(after: revision, and: numbers, ordered)
        case .shardCount: ledger.shardCount(one)
        case .take(let request): ledger.take(request, rows)
        case .acceptEvents(let events): ledger.acceptEvents(events, rows)
        case .refuse(let refusals): ledger.refuse(refusals, nothing)
        case .suspect(let message, let boot): ledger.suspect(message, by: boot, one)
        case .unsuspect(let digest): ledger.unsuspect(digest: digest, nothing)
        case .adopt(let owner, let age, let start, let limit):
            ledger.adopt(owner, age: age, after: start, limit: limit, rows)
        case .place(let jobs, let owner): ledger.place(jobs, owner, rows)
        case .claim(let request): ledger.claim(request, rows)
        case .abandon(let attempts, let owner): ledger.abandon(attempts, owner, rows)
        case .expire(let owner): ledger.expire(owner, limit: 500, rows)
        case .load(let lanes, let key, let limit): ledger.load(lanes, after: key, limit: limit, ordered)
        case .watch(let jobs): ledger.watch(jobs, rows)
        case .lanes(let shards): ledger.lanes(ofShards: shards, of: count, rows)
        case .lastSends(let shards): ledger.lastSends(ofShards: shards, of: count, rows)
        case .forgotten(let shards, let busy): ledger.forgotten(ofShards: shards, of: count, busy: busy, rows)
        case .beginEffect(let attempts, let boot):
            ledger.beginEffect(attempts, by: boot, lease: .seconds(30), rows)
        case .credentials(let lane): ledger.credentials(lane, one)
        case .beginRefresh(let request): ledger.beginRefresh(request, one)
        case .endRefresh(let end, let boot): ledger.endRefresh(end, by: boot, one)
        case .settle(let outcomes, let boot): ledger.settle(outcomes, by: boot, rows)
        case .pause(let lane, let span): ledger.pause(lane, for: span, nothing)
        case .keepGates(let gates): ledger.keepGates(gates, nothing)
        case .holdTold(let lanes): ledger.holdTold(lanes, nothing)
        case .outside: preconditionFailure("not for a ledger")
        }
    }
}

/// The model as a ledger that answers at once.
package final class ImmediateLedger: ModelSession {
    package let model: LedgerModel
    package var onConnect: ((PostgresBackend) -> Void)?
    package var onDisconnect: ((PostgresError) -> Void)?
    package var onConnectFailure: ((PostgresError) -> Void)?

    package init(_ model: LedgerModel) { self.model = model }

    package var isConnected: Bool { true }
    package var silentSince: ContinuousClock.Instant? { nil }
    package func connect() {}
    package func drop(_ reason: String) {}
    package func close() {}

    package func perform<Value>(
        _ name: String,
        _ done: @escaping LedgerReply<Value>,
        _ body: @escaping (LedgerModel) -> Result<Value, PostgresError>
    ) { done(body(model)) }
}
