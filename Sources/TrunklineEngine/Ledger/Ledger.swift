package import PostgresDriver
internal import TrunklineCore

/// What becomes of a question. Called on the worker's loop, in the order of the questions of a session.
package typealias LedgerReply<Value> = (Result<Value, PostgresError>) -> Void

/// A session of the ledger: a connection that comes back by itself. Whatever is asked of it runs and ends in the order of
/// the calls, each in a transaction of its own. For one thread.
///
/// What a worker knows of the ledger are the three protocols below, one per session, because no kind of work may wait for
/// another. PostgreSQL implements them (``PostgresLedger``), and so does the model that simulations run on; a conformance
/// suite holds the two to the same answers.
package protocol LedgerSession: AnyObject {
    var isConnected: Bool { get }
    /// Since when something is under way and nothing is answered; nil when nothing is waited for.
    var silentSince: ContinuousClock.Instant? { get }
    var onConnect: ((PostgresBackend) -> Void)? { get set }
    var onDisconnect: ((PostgresError) -> Void)? { get set }
    var onConnectFailure: ((PostgresError) -> Void)? { get set }
    func connect()
    /// Gives the connection up, for example because nothing is heard; it is made anew.
    func drop(_ reason: String)
    func close()
}

/// Heartbeat, look and fences. Short questions only: a worker that cannot renew may not act.
package protocol FleetLedger: LedgerSession {
    func beat(_ heartbeat: Heartbeat, _ done: @escaping LedgerReply<Void>)
    /// Every worker that has a heartbeat row.
    func fleet(_ done: @escaping LedgerReply<[WorkerRow]>)
    /// Whether a session does nothing but wait for its client; nil when there is no such session.
    func waitsForUs(_ backend: PostgresBackend, _ done: @escaping LedgerReply<Bool?>)

    /// The shards' fences, by number.
    func shards(_ done: @escaping LedgerReply<[ShardRow]>)
    /// Takes shards whose fences are still these, and yields them with their new ones.
    func acquire(_ wanted: [ShardFence], by boot: BootID, _ done: @escaping LedgerReply<[ShardFence]>)
    func release(_ shards: [Int32], by boot: BootID, _ done: @escaping LedgerReply<Void>)
    /// Ends the sessions of silent workers.
    func terminate(_ boots: [BootID], _ done: @escaping LedgerReply<Void>)
    /// Drops the heartbeat rows of workers that own nothing.
    func forget(_ boots: [BootID], _ done: @escaping LedgerReply<Void>)

    /// The breakers that are open.
    func breakers(_ done: @escaping LedgerReply<[BreakerRow]>)
    /// Opens the breaker of an origin; false when somebody else did, or it closed a moment ago.
    func openBreaker(_ opening: BreakerOpening, by boot: BootID, _ done: @escaping LedgerReply<Bool>)
    /// Asks for the one probe of a breaker; yields its number, nil when it is not the caller's.
    func probeBreaker(_ origin: String, by boot: BootID, _ done: @escaping LedgerReply<Int32?>)
    func endProbe(_ end: ProbeEnd, by boot: BootID, _ done: @escaping LedgerReply<Void>)

    /// Lanes with a revision above `revision`, and those of these numbers, by revision.
    func configuredLanes(
        after revision: Int64,
        and numbers: [Int32],
        _ done: @escaping LedgerReply<[ConfiguredLane]>
    )
    /// The install's number of shards; nil when the database has none.
    func shardCount(_ done: @escaping LedgerReply<Int32?>)
}

/// Whatever reads or begins jobs.
package protocol JobLedger: LedgerSession {
    /// Accepts sends and deliveries, and claims some of them at once. One answer per job, in no particular order.
    func take(_ request: TakeRequest, _ done: @escaping LedgerReply<[TakeAnswer]>)
    /// Stores received events, and makes the job of each new one. One answer per event, in no particular order.
    func acceptEvents(_ events: [NamedEvent], _ done: @escaping LedgerReply<[EventAnswer]>)
    func refuse(_ refusals: [RefusalRow], _ done: @escaping LedgerReply<Void>)
    /// Notes that a message which came back is about to be read; yields how many workers have begun to.
    func suspect(_ message: SuspectMessage, by boot: BootID, _ done: @escaping LedgerReply<Int32>)
    /// It was read to its end.
    func unsuspect(digest: [UInt8], _ done: @escaping LedgerReply<Void>)

    /// Gives rows that no owner has seen their places: the oldest `limit` of those with an arrival above `start` that were
    /// accepted at least `age` ago. Rows that somebody else has locked are left for a later call.
    func adopt(
        _ owner: LedgerOwner,
        age: Duration,
        after start: Int64,
        limit: Int32,
        _ done: @escaping LedgerReply<[SeenJob]>
    )
    /// Gives scheduled jobs whose time has come their places, and what else of their persons is due; none of a person of whom
    /// somebody else has one of these locked.
    func place(_ jobs: [Int64], _ owner: LedgerOwner, _ done: @escaping LedgerReply<[SeenJob]>)
    /// Begins attempts. One answer per job, in no particular order.
    func claim(_ request: ClaimRequest, _ done: @escaping LedgerReply<[ClaimAnswer]>)
    /// Attempts of silent workers are over: quiet ones wait again, the others are unknown. Yields those for which it was so;
    /// not those whose rows somebody else has locked.
    func abandon(_ attempts: [JobAttempt], _ owner: LedgerOwner, _ done: @escaping LedgerReply<[SeenJob]>)
    /// Ends or parks at most `limit` jobs for which it is too late; yields them. Locked rows are left for a later call.
    func expire(_ owner: LedgerOwner, limit: Int32, _ done: @escaping LedgerReply<[JobOfPerson]>)

    /// A slice of the jobs of lanes, at most `limit`: lane after lane as given, the first from behind `key` on, each by
    /// person, place and number. Fewer than `limit`: these lanes have no more.
    func load(_ lanes: [Int32], after key: RowKey, limit: Int32, _ done: @escaping LedgerReply<[SeenJob]>)
    /// How some jobs stand.
    func watch(_ jobs: [Int64], _ done: @escaping LedgerReply<[SeenJob]>)
    /// What former owners left of the lanes of some shards: pace, pause and gate. Only lanes of which there is something.
    func lanes(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LaneRow]>)
    /// When persons of some shards were last written to, of jobs that have ended or were parked; as far back as the gap of
    /// each line reaches.
    func lastSends(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LastSend]>)
    /// Shards with jobs that should have begun, in lanes other than the busy ones.
    func forgotten(ofShards shards: [Int32], of count: Int32, busy: [Int32], _ done: @escaping LedgerReply<[Int32]>)
}

/// Outcomes and what attempts need on their way to one, which must not wait behind a take.
package protocol OutcomeLedger: LedgerSession {
    /// Quiet attempts that are about to make a call that may take effect: from its commit on they may have been sent, and their
    /// lease begins anew. Only for those that it yields the call may be made.
    func beginEffect(
        _ attempts: [JobAttempt],
        by boot: BootID,
        lease: Duration,
        _ done: @escaping LedgerReply<[JobAttempt]>
    )
    /// A lane's credentials that expire; nil: there are none yet.
    func credentials(_ lane: Int32, _ done: @escaping LedgerReply<StoredCredentials?>)
    /// Asks to be the one who asks for a lane's next credentials.
    func beginRefresh(_ request: RefreshRequest, _ done: @escaping LedgerReply<RefreshVerdict>)
    /// Keeps what that brought; false: another generation is in force, and nothing has changed.
    func endRefresh(_ end: RefreshEnd, by boot: BootID, _ done: @escaping LedgerReply<Bool>)
    /// Records outcomes. One answer per outcome, in no particular order; none for an outcome whose row somebody else has locked:
    /// nothing of it is recorded, and it is to be given again.
    func settle(_ outcomes: [Settlement], by boot: BootID, _ done: @escaping LedgerReply<[SettleAnswer]>)
    /// The next owner must know that the other side asked for a pause.
    func pause(_ lane: Int32, for span: Duration, _ done: @escaping LedgerReply<Void>)
    func keepGates(_ gates: [GateRow], _ done: @escaping LedgerReply<Void>)
    /// That a hold has been long was said; its end makes it news again.
    func holdTold(_ lanes: [Int32], _ done: @escaping LedgerReply<Void>)
}
