internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Where a shard stands with this worker. Exits: loading → owned → leaving → (gone); any → (gone) when it is lost.
enum ShardPhase {
    /// The fence is ours; its rows are being loaded.
    case loading
    /// Rows are loaded, the queue is consumed.
    case owned
    /// Being given up: nothing is claimed any more, what is being taken is acknowledged, the rest given back, then it is released.
    case leaving
}

/// Which shards are this worker's, with which fence, and how much of them is known (design D2). Decides what to take and what
/// to give up; whoever has something of a shard in memory or hand is told by the turn.
final class Shards {
    private final class Shard {
        let number: Int32
        let fence: Int64
        var phase = ShardPhase.loading
        /// Rises with every load, so that the reply of an outdated one is recognised.
        var generation: UInt64 = 0
        /// What was read so far, while it is being loaded.
        var loading: Loading?
        init(_ taken: ShardFence) {
            number = taken.shard
            fence = taken.fence
        }
    }

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let ledger: any FleetLedger
    /// The install's number of shards; 0 until it was read.
    private(set) var count: Int32 = 0
    private var shards: [Int32: Shard] = [:] { didSet { ordered = nil } }
    private var ordered: [Shard]?
    /// Lanes that were added to a shard of ours, while their rows are being read.
    private var newLanes: [Int32: Loading] = [:]
    private var ownersSeen: [Int32: ShardRow] = [:]
    private(set) var isLooking = false
    private var isAcquiring = false

    init(_ here: Surroundings, _ agenda: Agenda, _ directory: LaneDirectory, _ ledger: any FleetLedger) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.ledger = ledger
    }

    // MARK: Questions

    /// By number: whatever is done with several shards is done in one order, so that a simulated run can be repeated.
    private var inOrder: [Shard] {
        if let ordered { return ordered }
        let sorted = shards.values.sorted { $0.number < $1.number }
        ordered = sorted
        return sorted
    }

    var isEmpty: Bool { shards.isEmpty }
    /// All that are held, by number.
    var numbers: [Int32] { inOrder.map(\.number) }
    /// Those whose rows are all known.
    var ownedNumbers: [Int32] { inOrder.filter { $0.phase == .owned }.map(\.number) }
    func isOwned(_ number: Int32) -> Bool { shards[number]?.phase == .owned }
    func phase(of number: Int32) -> ShardPhase? { shards[number]?.phase }

    /// The fences that a take or a claim of this moment must carry. Not those of shards that are being loaded: what is taken
    /// meanwhile has no place before their owner knows everything that comes first.
    var owner: LedgerOwner { owner(of: inOrder.filter { $0.phase != .loading }) }

    /// The fences of shards whose rows are all known; nil when there are none.
    var knowingOwner: LedgerOwner? {
        let owned = inOrder.filter { $0.phase == .owned }
        return owned.isEmpty ? nil : owner(of: owned)
    }

    private func owner(of shards: [Shard]) -> LedgerOwner {
        LedgerOwner(boot: here.boot, shardCount: count, shards: shards.map(\.number), fences: shards.map(\.fence))
    }

    /// Whoever owns something, as far as the last look showed.
    var ownersElsewhere: Set<BootID> { Set(ownersSeen.values.compactMap(\.owner)) }

    /// The install's number of shards is known; it never changes while a worker lives.
    func countIsKnown(_ count: Int32) { self.count = count }

    // MARK: What is known of them

    /// Whether every row of the lane is in memory.
    func isKnownWhole(_ lane: Int32) -> Bool {
        newLanes[lane] == nil && (directory.shard(of: lane).map(isOwned) ?? false)
    }

    /// Lanes whose own rows are being read.
    var lanesBeingRead: Set<Int32> { Set(newLanes.keys) }

    /// What of the lane is being read at this moment.
    private func loading(of lane: Int32) -> Loading? {
        newLanes[lane] ?? directory.shard(of: lane).flatMap { shards[$0]?.loading }
    }

    /// Something happened to a job. Returns whether its lane is being read: then it is read again at the end.
    @discardableResult
    func doubt(_ job: Int64, of lane: Int32) -> Bool {
        guard let loading = loading(of: lane) else { return false }
        loading.doubt(job)
        return true
    }

    /// All of a shard's rows are to be read, for a new owner and after a lost connection alike. Nil when it is not ours.
    func beginLoading(_ number: Int32) -> Loading? {
        guard let shard = shards[number], shard.phase != .leaving else { return nil }
        shard.phase = .loading
        shard.generation += 1
        let loading = Loading(
            shard: number,
            lane: nil,
            generation: shard.generation,
            lanes: directory.lanes(of: number)
        )
        shard.loading = loading
        return loading
    }

    /// A lane was added: its rows are to be read if its shard's are known, and its shard's other lanes do not notice.
    func beginReading(newLane lane: Int32, of number: Int32, canRead: Bool) -> Loading? {
        guard let shard = shards[number] else { return nil }
        if let loading = shard.loading {
            loading.add(lane)
            return nil
        }
        guard shard.phase == .owned, canRead else { return nil }
        let loading = Loading(shard: number, lane: lane, generation: shard.generation, lanes: [lane])
        newLanes[lane] = loading
        return loading
    }

    /// Whether the shard is still ours, and nobody began to read it anew.
    func isWanted(_ loading: Loading) -> Bool {
        guard let shard = shards[loading.shard], shard.generation == loading.generation else { return false }
        return loading.lane.map { newLanes[$0] === loading } ?? (shard.loading === loading)
    }

    func isPart(_ lane: Int32, of loading: Loading) -> Bool {
        loading.lane.map { $0 == lane } ?? (directory.shard(of: lane) == loading.shard)
    }

    /// Everything of it is in memory.
    func endLoading(_ loading: Loading) {
        if let lane = loading.lane {
            newLanes[lane] = nil
        } else if let shard = shards[loading.shard] {
            shard.loading = nil
            shard.phase = .owned
        }
    }

    /// What is being read of these shards is wanted no more.
    func forgetLoadings(of numbers: some Sequence<Int32>) {
        for number in numbers {
            shards[number]?.loading = nil
            for lane in directory.lanes(of: number) { newLanes[lane] = nil }
        }
    }

    /// After a lost connection nothing in memory is trusted.
    ///
    /// - Returns: the shards whose rows must be read again.
    func forgetMemory() -> [Int32] {
        let forgotten = inOrder.filter { $0.phase != .leaving }
        for shard in forgotten {
            shard.phase = .loading
            shard.generation += 1
        }
        return forgotten.map(\.number)
    }

    // MARK: The look

    func connectionLost() {
        isLooking = false
        isAcquiring = false
    }

    /// Asks for the fences of all shards; `seen` is called when those that were lost are on the agenda.
    func look(_ seen: @escaping () -> Void) {
        isLooking = true
        ledger.shards { [weak self] result in
            guard let self else { return }
            isLooking = false
            guard case .success(let rows) = result else { return }
            ownersSeen.removeAll(keepingCapacity: true)
            for row in rows { ownersSeen[row.shard] = row }
            for shard in inOrder {
                if let seen = ownersSeen[shard.number], seen.owner == here.boot, seen.fence == shard.fence { continue }
                // While an acquire is under way this look may be older than the fence.
                if let seen = ownersSeen[shard.number], seen.fence < shard.fence { continue }
                agenda.lost(shard: shard.number)
            }
            seen()
        }
    }

    /// Takes what is free or whose owner is dead.
    ///
    /// - Returns: what others should own, to be given up.
    func divide(_ membership: Membership, at now: Instant) -> [Int32] {
        var owners: [Int: BootID] = [:]
        for (number, seen) in ownersSeen {
            if let owner = seen.owner { owners[Int(number)] = owner }
        }
        // Without a place in it (others have a broker, this worker has had none for too long) everything is theirs.
        guard let division = membership.division(ofShards: Int(count), owners: owners, at: now) else { return [] }
        var leaving: [Int32] = []
        var wanted: [ShardFence] = []
        var silent: Set<BootID> = []
        var unknown: [Int32] = []
        for number in 0..<count {
            let rightful = division[Int(number)]
            if let shard = shards[number] {
                if rightful != here.boot, shard.phase == .owned { leaving.append(number) }
                continue
            }
            guard let seen = ownersSeen[number] else { continue }
            guard rightful == here.boot else {
                // Ours, and not known here: the reply of an acquire was lost. Nobody takes it while we live.
                if seen.owner == here.boot, !isAcquiring { unknown.append(number) }
                continue
            }
            if let owner = seen.owner, owner != here.boot {
                guard membership.isGone(owner, at: now) else { continue }
                silent.insert(owner)
            }
            wanted.append(ShardFence(shard: number, fence: seen.fence))
        }
        if !wanted.isEmpty { acquire(wanted, from: silent) }
        // Once more with the next look when it fails.
        if !unknown.isEmpty { ledger.release(unknown, by: here.boot) { _ in } }
        return leaving
    }

    /// Update the fence and commit; only then load rows; only then subscribe.
    private func acquire(_ wanted: [ShardFence], from silent: Set<BootID>) {
        guard !isAcquiring else { return }
        isAcquiring = true
        ledger.acquire(wanted, by: here.boot) { [weak self] result in
            guard let self else { return }
            isAcquiring = false
            switch result {
            case .success(let taken):
                guard !here.isDraining else {
                    return ledger.release(wanted.map(\.shard), by: here.boot) { _ in }
                }
                for taken in taken {
                    shards[taken.shard] = Shard(taken)
                    agenda.load(shard: taken.shard)
                }
                guard !taken.isEmpty else { return }
                here.log.info(
                    "shards taken",
                    metadata: ["count": "\(taken.count)", "from_silent_workers": "\(silent.count)"]
                )
            case .failure(let error):
                // A frozen client in mid-statement holds its locks, and no time-out of PostgreSQL fires.
                if error.sqlState == "55P03" || error.sqlState == "57014", !silent.isEmpty {
                    terminateBackends(of: silent)
                } else if !error.isConnectionLost {
                    here.log.warning("shards could not be taken", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    private func terminateBackends(of silent: Set<BootID>) {
        guard !here.isOff(.terminate) else { return }
        here.log.notice("ending the database sessions of silent workers", metadata: ["workers": "\(silent.count)"])
        ledger.terminate(silent.sorted()) { [log = here.log] result in
            if case .failure(let error) = result {
                log.warning("sessions of silent workers could not be ended", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Giving up and losing

    /// Nothing of the shard is begun any more. Returns whether it was not being given up before.
    func leave(_ number: Int32) -> Bool {
        guard let shard = shards[number], shard.phase != .leaving else { return false }
        shard.phase = .leaving
        shard.generation += 1
        return true
    }

    /// Nothing of its queue is held here any more: the next owner may have it.
    func release(_ number: Int32) {
        if let shard = shards[number], shard.phase == .leaving { release(shard) }
    }

    private func release(_ shard: Shard) {
        guard shards[shard.number] === shard else { return }
        guard ledger.isConnected else {
            // The fence stays with us until the database is back or another worker takes over.
            return here.loop.after(.seconds(1)) { [weak self] in self?.release(shard) }
        }
        ledger.release([shard.number], by: here.boot) { [weak self] result in
            guard let self, shards[shard.number] === shard else { return }
            switch result {
            case .success:
                shards[shard.number] = nil
                agenda.checkEnd()
            case .failure:
                here.loop.after(.milliseconds(200)) { [weak self] in self?.release(shard) }
            }
        }
    }

    /// Another worker owns it now: nothing more is written for it. Returns whether it was ours.
    func lose(_ number: Int32) -> Bool { shards.removeValue(forKey: number) != nil }

    /// Tells the ledger, as the worker goes on without them or ends.
    func releaseAll(_ numbers: [Int32]) { ledger.release(numbers, by: here.boot) { _ in } }
}
