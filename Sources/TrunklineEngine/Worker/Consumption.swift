internal import Logging
internal import RabbitDriver
internal import TrunklineCore

/// The subscriptions: which queues this worker holds messages of, and when it may.
///
/// A worker that is cut off from the database and not from the broker would be the active consumer of the shared queues and
/// of its former shards for as long as its connection lives, and nobody else would get their messages. So it subscribes when
/// its own renewal is young and all three sessions are there. When the renewal is as old as the silence limit, or a session
/// has been missing for too long, it closes its channels: everything is at the head of its queue again, in order.
final class Consumption {
    private static let shardPrefetch: UInt16 = 300
    private static let sharedPrefetch: UInt16 = 500

    private let here: Surroundings
    private let agenda: Agenda
    private let broker: any BrokerLink
    private let topology: TopologyWatch
    private let intake: Intake
    private var shared: [ConsumedQueue] = []
    private var ofShards: [Int32: ConsumedQueue] = [:] { didSet { ordered = nil } }
    private var ordered: [ConsumedQueue]?
    private(set) var isConsuming: Bool

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ broker: any BrokerLink,
        _ topology: TopologyWatch,
        _ intake: Intake
    ) {
        self.here = here
        self.agenda = agenda
        self.broker = broker
        self.topology = topology
        self.intake = intake
        isConsuming = here.isOff(.giveBack)
    }

    /// The shared ones, then the shards' by number.
    var queues: [ConsumedQueue] { shared + inOrder }

    private var inOrder: [ConsumedQueue] {
        if let ordered { return ordered }
        let sorted = ofShards.sorted { $0.key < $1.key }.map(\.value)
        ordered = sorted
        return sorted
    }

    // MARK: The connection

    func connected() {
        if shared.isEmpty {
            shared = [
                (.intake, Topology.intakeQueue), (.bulk, Topology.bulkQueue), (.webhook, Topology.webhookQueue),
                (.unrouted, Topology.unroutedQueue), (.dead, Topology.deadQueue),
            ].map { newQueue($0, $1) { _ in } }
        }
        if isConsuming, !here.isDraining { subscribeToAll() }
    }

    /// Everything unacknowledged comes again.
    func connectionLost() {
        for queue in queues { queue.connectionLost() }
        intake.dropStale()
    }

    private func newQueue(
        _ kind: ConsumedQueue.Kind,
        _ name: String,
        onLeft: @escaping (ConsumedQueue) -> Void
    ) -> ConsumedQueue {
        ConsumedQueue(
            kind: kind,
            name: name,
            broker: broker,
            newTag: { [here] in here.chance.next() },
            onDelivery: { [intake] queue, delivery in intake.arrived(queue, delivery) },
            onFailure: { [weak self] queue, error in self?.failed(queue, error) },
            onLeft: onLeft
        )
    }

    private func failed(_ queue: ConsumedQueue, _ error: RabbitError) {
        guard !error.isConnectionLost else { return }
        here.log.warning("queue cannot be consumed", metadata: ["queue": "\(queue.name)", "error": "\(error)"])
        let epoch = queue.epoch
        let again: () -> Void = { [weak self, weak queue] in
            guard let self, let queue, queue.epoch == epoch else { return }
            subscribeAgain(queue)
        }
        if error.replyCode == 404 {
            // A declaration that failed is not tried again at once.
            return topology.declareAgain(because: queue.name) { [here] in
                here.loop.after(.milliseconds(500), again)
            }
        }
        here.loop.after(.seconds(2), again)
    }

    // MARK: Subscribing

    /// This worker may act and has what it needs, by a look that came after its last renewal.
    func begin() {
        guard !isConsuming else { return }
        isConsuming = true
        if broker.isConnected { subscribeToAll() }
    }

    /// A shard's rows are all known: its messages may come.
    func subscribe(toShard number: Int32) {
        guard ofShards[number] == nil else { return }
        let queue = newQueue(.shard(number), Topology.shardQueue(Int(number))) { [agenda] _ in
            agenda.left(shard: number)
        }
        ofShards[number] = queue
        if isConsuming, broker.isConnected { queue.subscribe(prefetch: Self.shardPrefetch) }
    }

    private func subscribeToAll() {
        for queue in queues { queue.subscribe(prefetch: Self.prefetch(of: queue.kind)) }
    }

    func subscribeAgain(_ queue: ConsumedQueue) {
        guard broker.isConnected, isConsuming, !queue.isLeaving, !here.isDraining, !here.isStopped else { return }
        queue.subscribe(prefetch: Self.prefetch(of: queue.kind))
    }

    private static func prefetch(of kind: ConsumedQueue.Kind) -> UInt16 {
        if case .shard = kind { shardPrefetch } else { sharedPrefetch }
    }

    // MARK: Giving back

    /// Stops consuming while the database cannot be used.
    func giveBack(isLacking: Bool) {
        isConsuming = false
        here.log.warning(
            "messages given back until the database can be used again",
            metadata: ["reason": isLacking ? "a session is missing" : "the heartbeat is too old"]
        )
        for queue in queues { queue.giveBack() }
        intake.dropStale()
    }

    /// Gives back what is held of one queue, which is not consumed until ``subscribeAgain(_:)``.
    func giveBack(_ queue: ConsumedQueue) {
        queue.giveBack()
        intake.dropStale()
    }

    /// The shared queues are left for good: what nobody has begun to take is given back at once, in order.
    func leaveShared() {
        for queue in shared { leave(queue) }
    }

    /// The shard is given up: what is being taken is still acknowledged, the rest is given back; then it is on the agenda as
    /// left.
    func leave(shard number: Int32) {
        if let queue = ofShards[number] { leave(queue) } else { agenda.left(shard: number) }
    }

    private func leave(_ queue: ConsumedQueue) {
        if here.isOff(.drainGivesBack) { queue.leave() } else { queue.leaveGivingBack(from: intake.forget(queue)) }
    }

    /// The shard is another worker's: its messages go back by closing the channel.
    func abandon(shard number: Int32) { ofShards.removeValue(forKey: number)?.abandon() }

    /// The shard's queue has been left, and its fence is being released.
    func forget(shard number: Int32) { ofShards[number] = nil }

    // MARK: Acknowledging

    /// After the commits of a turn. Returns how many deliveries that were.
    func acknowledge() -> Int {
        var count = 0
        for queue in shared { count += queue.acknowledge() }
        for queue in inOrder { count += queue.acknowledge() }
        return count
    }
}
