internal import TrunklineCore

/// A person of a lane.
struct LanePerson: Hashable {
    let lane: Int32
    let person: Int64
}

/// What parts want done that is another part's to do: the effects of a turn.
///
/// Parts add to it, whatever calls them, also a reply that comes between two turns; only the turn (`Worker.turn`) takes from
/// it. The sets that every job touches keep their room from turn to turn, so that an effect costs a job no allocation.
final class Agenda {
    /// Rows that are to be read again. Its persons are released when they are known.
    struct Look {
        let jobs: Set<Int64>
        let held: [LanePerson]
    }

    private var lanes: Set<Int32> = []
    private var gates: Set<Int32> = []
    /// Those that are being written.
    private var gatesOfTurn: Set<Int32> = []
    private var lostShards: Set<Int32> = []
    private var leftShards: [Int32] = []
    private var loads: [Int32] = []
    private var subscriptions: [Int32] = []
    private var looks: [Look] = []
    private var isReloadWanted = false
    private var isHeartbeatWanted = false
    private var isShardCountWanted = false
    private var mayBeOver = false
    private var endReason: WorkerError?
    /// Whether to look for rows that no owner has seen; asked for until such a look begins.
    private(set) var wantsAdoption = false

    // MARK: Added by parts

    /// Something changed in the lane: it may begin a job, or must wait for another moment.
    func look(at lane: Int32) { lanes.insert(lane) }

    func look(at lanes: some Sequence<Int32>) { self.lanes.formUnion(lanes) }

    /// The lane's gate changed, and is to be shown and kept.
    func write(gateOf lane: Int32) { gates.insert(lane) }

    /// Rows that no owner has seen may be there.
    func adopt() { wantsAdoption = true }

    /// The rows say what became of jobs that are not where they were thought to be. The persons of `held` are released when
    /// the rows are known, unless another worker's attempt of theirs is in the air.
    func lookAgain(at jobs: Set<Int64>, held: [LanePerson] = []) {
        if !jobs.isEmpty { looks.append(Look(jobs: jobs, held: held)) }
    }

    /// Another worker owns the shard now.
    func lost(shard: Int32) { lostShards.insert(shard) }

    /// Nothing of the shard's queue is held here any more, taken or given back: its fence may be released.
    func left(shard: Int32) { leftShards.append(shard) }

    /// The shard is ours, or is not what it was thought to be: its rows are to be read.
    func load(shard: Int32) { loads.append(shard) }

    /// The shard's rows are all known: its messages may come.
    func subscribe(toShard shard: Int32) { subscriptions.append(shard) }

    /// Nothing in memory is sure any more.
    func reload() { isReloadWanted = true }

    /// The others need not wait for the next heartbeat.
    func renew() { isHeartbeatWanted = true }

    /// The install's number of shards may be another than the one that was read.
    func readShardCount() { isShardCountWanted = true }

    /// This process can do nothing any more.
    func end(because reason: WorkerError) { endReason = reason }

    /// Something ended that a worker which is ending may wait for.
    func checkEnd() { mayBeOver = true }

    // MARK: Taken by the turn

    /// Lanes to look at, by number.
    func takeLanes() -> [Int32] {
        guard !lanes.isEmpty else { return [] }
        let taken = lanes.sorted()
        lanes.removeAll(keepingCapacity: true)
        return taken
    }

    /// Lanes whose gates are to be written.
    func takeGates(_ body: (Int32) -> Void) {
        guard !gates.isEmpty else { return }
        swap(&gates, &gatesOfTurn)
        for lane in gatesOfTurn { body(lane) }
        gatesOfTurn.removeAll(keepingCapacity: true)
    }

    func takeLostShards() -> [Int32] { take(&lostShards).sorted() }
    func takeLeftShards() -> [Int32] { take(&leftShards) }
    func takeLoads() -> [Int32] { take(&loads) }
    func takeSubscriptions() -> [Int32] { take(&subscriptions) }
    func takeLooks() -> [Look] { take(&looks) }
    func takeReload() -> Bool { take(&isReloadWanted) }
    func takeHeartbeat() -> Bool { take(&isHeartbeatWanted) }
    func takeShardCountQuestion() -> Bool { take(&isShardCountWanted) }
    func takeEndCheck() -> Bool { take(&mayBeOver) }

    func takeEnd() -> WorkerError? {
        defer { endReason = nil }
        return endReason
    }

    /// A look for rows that no owner has seen begins.
    func adoptionBegan() { wantsAdoption = false }

    private func take(_ flag: inout Bool) -> Bool {
        defer { flag = false }
        return flag
    }

    private func take<Items: RangeReplaceableCollection>(_ items: inout Items) -> Items {
        defer { if !items.isEmpty { items = Items() } }
        return items
    }

    private func take(_ items: inout Set<Int32>) -> Set<Int32> {
        defer { if !items.isEmpty { items = [] } }
        return items
    }
}
