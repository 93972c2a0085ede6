package import PostgresDriver
internal import TrunklineCore

/// The ledger on PostgreSQL: one session of it. The rules are the functions of `migrations/functions/`; the files beside this
/// one call them, a file per family, and are the only place that knows their columns and words.
///
/// One class for the three protocols: which of them a session serves is decided by the statements that its connection
/// prepares (``Statements/ofFleet``, ``Statements/ofJobs``, ``Statements/ofOutcomes``). Lives on the connection's loop.
package final class PostgresLedger: LedgerSession {
    private let connection: PostgresConnection

    package init(_ connection: PostgresConnection) { self.connection = connection }

    package var isConnected: Bool { connection.isConnected }
    package var silentSince: ContinuousClock.Instant? { connection.silentSince }
    package var onConnect: ((PostgresBackend) -> Void)? {
        get { connection.onConnect }
        set { connection.onConnect = newValue }
    }
    package var onDisconnect: ((PostgresError) -> Void)? {
        get { connection.onDisconnect }
        set { connection.onDisconnect = newValue }
    }
    package var onConnectFailure: ((PostgresError) -> Void)? {
        get { connection.onConnectFailure }
        set { connection.onConnectFailure = newValue }
    }
    package func connect() { connection.connect() }
    package func drop(_ reason: String) { connection.drop(reason) }
    package func close() { connection.close() }

    /// Runs a statement, and reads what it yields when it is done.
    func run<Value>(
        _ statement: PostgresStatement,
        _ parameters: [PostgresParameter],
        _ done: @escaping LedgerReply<Value>,
        _ read: @escaping (PostgresRows) -> Value
    ) {
        connection.execute(statement, parameters) { result in done(result.map(read)) }
    }

    /// Runs a statement of which nothing but its end is of interest.
    func run(_ statement: PostgresStatement, _ parameters: [PostgresParameter], _ done: @escaping LedgerReply<Void>) {
        run(statement, parameters, done) { _ in }
    }
}

/// The statements of the ledger's sessions, by name. The rules are in `migrations/`; these only call them.
enum Statements {
    /// Settings of every session that runs hot statements. Their plans are cached: one that was made while `jobs` was nearly
    /// empty would go on reading the whole table when it is full, until somebody analyses it.
    static let hotSettings = [("enable_seqscan", "off"), ("jit", "off")]

    static let ofFleet = [
        beat, fleet, breakers, openBreaker, probeBreaker, endProbe, shards, acquire, release, terminate, forget,
        configuredLanes, shardCount, waitsForUs,
    ]
    static let ofJobs =
        [
            TakeBatch.statement, adopt, placeDue, load, lastSends, laneStates, forgotten, expire, claim, abandon, watch,
            refuse, suspect, unsuspect,
        ] + ofEvents
    static let ofOutcomes = [
        beginEffect, credentials, beginRefresh, endRefresh, settle, pause, gate, holdTold,
    ]

    /// Columns that `trunkline.seen_job` yields, in order; decoded by `SeenJob`.
    static let seen = """
        job, lane, person, class, state, place, due_in_ms, attempt, tries, stamped, claimed_by, lease_left_ms, suspect,
        claimed_ago_ms
        """
}

extension PostgresRows {
    /// What `body` makes of each row; nil leaves it out.
    func each<Value>(_ body: (Int) -> Value?) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(count)
        for row in 0..<count {
            if let value = body(row) { values.append(value) }
        }
        return values
    }

    func milliseconds(_ row: Int, _ column: Int) -> Duration? { int8(row, column).map { .milliseconds($0) } }

    func boot(_ row: Int, _ column: Int) -> BootID? { uuid(row, column).map { BootID(bytes: $0) } }
}

extension Duration {
    /// For the database.
    var int4Milliseconds: Int32 { Int32(clamping: wholeMilliseconds) }
}

extension LedgerOwner {
    /// What every statement of an owner begins with.
    var parameters: [PostgresParameter] {
        [.uuid(boot.bytes), .int4(shardCount), .int4Array(shards), .int8Array(fences)]
    }
}
