internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// A lane as its operator configured it.
struct LaneSettings {
    /// See ``LaneDirectory/id(of:)-(LaneName)``.
    let id: String
    /// Nil for a noun that only a later version knows.
    let name: LaneName?
    let lane: Int32
    let shard: Int32
    let revision: Int64
    /// Its kind of carrier, as stored.
    let carrier: String
    /// What holds for every lane of its carrier.
    let policy: LanePolicy
    /// Scheme, host and port of what it calls: with whom it shares a breaker, a budget for repeats and what is known of the way
    /// there. Nil when its address cannot be read, and for lanes whose gate answers open and close: they share nothing.
    let origin: String?
    /// What it is called with; nil when it cannot be.
    let account: (any CarrierAccount)?
    /// Whose its credentials that expire are, if it has any.
    let credentialOwner: SealedCredentials.Owner?
    /// Why it cannot be used as configured; nil when it can.
    let fault: String?
    let pace: Pace
    let dailyCap: Int32?
    let isRemoved: Bool
    let isHeld: Bool
    /// When the operator's hold ends by itself; nil: it does not.
    let holdEnds: Instant?

    /// Whether calls of `other` are calls of this: same address, same secret.
    func isCalled(like other: LaneSettings) -> Bool {
        switch (account, other.account) {
        case (nil, nil): true
        case (let mine?, let theirs?): mine.isSame(as: theirs)
        default: false
        }
    }

    /// Whether its jobs are received events: run here, without a call.
    var isRun: Bool { name?.source != nil }
    /// What people call it.
    var noun: String { name?.noun ?? "lane" }
    /// What is said of it in the log, with which it is: under its noun, by its id.
    func logged(_ metadata: Logger.Metadata) -> Logger.Metadata {
        metadata.merging([noun: "\(name?.id ?? id)"]) { $1 }
    }

    func isOnHold(at now: Instant) -> Bool { isHeld && (holdEnds.map { $0 > now } ?? true) }
}

extension LaneSettings {
    /// A row that cannot be used has a fault.
    init(_ row: ConfiguredLane, shardCount: Int32, _ configuration: WorkerConfiguration, at now: Instant) {
        var fault: String?
        var origin: String?
        var account: (any CarrierAccount)?
        var credentialOwner: SealedCredentials.Owner?
        let name = LaneName(stored: row.name)
        let isRun = name?.source != nil
        let carrier = isRun ? nil : configuration.carriers[row.carrier]
        do {
            // Where it throws, its jobs wait in their lane until a worker comes that knows its kind.
            if isRun {
                guard configuration.events?.reads(row.carrier) == true else {
                    throw WorkerError("a worker of this version reads nothing of \(row.carrier)")
                }
            } else if let name, let carrier {
                // A line's API may run beside its workers, whatever the row says.
                let address = try carrier.address(row.address, mayBePrivate: row.mayBePrivate || name.line != nil)
                if carrier.policy.opening == .health { origin = address.origin }
                let secret = try row.secret.open(
                    lane: name,
                    address: row.address,
                    masterKey: configuration.masterKey,
                    ownFiles: configuration.ownFiles
                )
                account = try carrier.account(at: address, secret: secret)
                credentialOwner = SealedCredentials.Owner(name, address, secret: secret)
            } else {
                throw WorkerError("a worker of this version carries nothing to \(row.carrier)")
            }
        } catch {
            fault = "\(error)"
        }
        self.init(
            id: name.map { LaneDirectory.id(of: $0) } ?? row.name,
            name: name,
            lane: row.number,
            shard: Int32(row.shardHash % Int64(shardCount)),
            revision: row.revision,
            carrier: row.carrier,
            policy: isRun ? .events : carrier?.policy ?? configuration.carriers.line.policy,
            origin: origin,
            account: account,
            credentialOwner: credentialOwner,
            fault: fault,
            pace: Pace(
                interval: row.interval,
                concurrency: Int(row.concurrency),
                recipientGap: row.recipientGap
            ),
            dailyCap: row.dailyCap,
            isRemoved: row.isRemoved,
            isHeld: row.isHeld,
            holdEnds: row.holdLeft.map { now + $0 }
        )
    }
}

/// All lanes of the install as configured, in every worker: a change works within a second everywhere.
final class LaneDirectory {
    /// What a look has brought of one lane.
    struct Change {
        let settings: LaneSettings
        let isNew: Bool
        /// Somebody changed something of it; if not, it was only read once more.
        let isChanged: Bool
        /// It is called at another address or with another secret, or for the first time.
        let isCalledAnew: Bool
    }

    private let here: Surroundings
    private let ledger: any FleetLedger
    private var settings: [String: LaneSettings] = [:]
    private var idOfLane: [Int32: String] = [:]
    private var shardOfLane: [Int32: Int32] = [:]
    private var lanesOfShard: [Int32: [Int32]] = [:]
    private var revision: Int64 = 0
    private var toReadAgain: Set<String> = []
    /// Whether a look has brought all of them.
    private(set) var isLoaded = false

    init(_ here: Surroundings, _ ledger: any FleetLedger) {
        self.here = here
        self.ledger = ledger
    }

    // MARK: Questions

    /// By what ``id(of:)-(LaneName)`` says, as calls and logs have it.
    subscript(id: String) -> LaneSettings? { settings[id] }
    subscript(name: LaneName) -> LaneSettings? { settings[Self.id(of: name)] }
    subscript(lane: Int32) -> LaneSettings? { idOfLane[lane].flatMap { settings[$0] } }
    var all: some Collection<LaneSettings> { settings.values }
    func id(of lane: Int32) -> String? { idOfLane[lane] }
    /// Of lines their ids, which hold no colon; of others their whole names.
    static func id(of name: LaneName) -> String { name.line?.value ?? name.value }
    func shard(of lane: Int32) -> Int32? { shardOfLane[lane] }
    func lanes(of shard: Int32) -> [Int32] { lanesOfShard[shard] ?? [] }

    /// Whether `used` is still how the lane is called.
    func isCurrent(_ used: LaneSettings) -> Bool { settings[used.id].map { used.isCalled(like: $0) } ?? false }

    // MARK: The look

    /// A secret that is kept in a file or a variable may have been changed there: the next look reads it once more.
    func readAgain(_ id: String) { toReadAgain.insert(id) }

    /// Rows whose revision rose since the last look, and those to be read once more; nobody else notices.
    func look(shardCount: Int32, _ changed: @escaping ([Change]) -> Void) {
        let again = toReadAgain.sorted()
        ledger.configuredLanes(after: revision, and: again.compactMap { settings[$0]?.lane }) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            toReadAgain.subtract(again)
            let now = here.now
            let changes = rows.map { self.read($0, shardCount: shardCount, now) }
            isLoaded = true
            changed(changes)
        }
    }

    private func read(_ row: ConfiguredLane, shardCount: Int32, _ now: Instant) -> Change {
        let lane = LaneSettings(row, shardCount: shardCount, here.configuration, at: now)
        let before = settings.updateValue(lane, forKey: lane.id)
        // It is read again and again, as it may be mended without a change of the row; said once.
        if let fault = lane.fault, !lane.isRemoved, before?.fault != fault {
            here.log.error(
                "\(lane.noun) cannot be used",
                metadata: lane.logged(["error": "\(fault)"])
            )
        }
        idOfLane[lane.lane] = lane.id
        revision = max(revision, lane.revision)
        if before == nil {
            shardOfLane[lane.lane] = lane.shard
            lanesOfShard[lane.shard, default: []].append(lane.lane)
        }
        return Change(
            settings: lane,
            isNew: before == nil,
            isChanged: before?.revision != lane.revision,
            isCalledAnew: before.map { !lane.isCalled(like: $0) } ?? true
        )
    }
}
