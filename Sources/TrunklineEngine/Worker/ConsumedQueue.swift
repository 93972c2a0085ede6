internal import RabbitDriver

/// One queue that this worker consumes: its channel, and which of its deliveries are committed.
///
/// Deliveries are acknowledged in prefixes, after the commit; nothing is held unacknowledged while a line is slow or sick.
final class ConsumedQueue {
    /// What the queue carries; decides how its messages are taken.
    enum Kind: Hashable {
        case shard(Int32)
        case intake, bulk, webhook, unrouted, dead

        /// The most deliveries that may be unacknowledged: where messages may be as large as an event (1.5 MiB), few.
        var prefetchLimit: UInt16 {
            switch self {
            case .shard, .intake, .bulk: .max
            case .webhook, .unrouted, .dead: 32
            }
        }

        /// How a refusal names its origin.
        var via: String {
            switch self {
            case .shard: "amqp:shard"
            case .intake: "amqp:intake"
            case .bulk: "amqp:bulk"
            case .webhook: "amqp:webhook"
            case .unrouted: "amqp:unrouted"
            case .dead: "amqp:dead"
            }
        }
    }

    let kind: Kind
    let name: String
    private let broker: any BrokerLink
    private let newTag: () -> UInt64
    private let onDelivery: (ConsumedQueue, RabbitDelivery) -> Void
    private let onFailure: (ConsumedQueue, RabbitError) -> Void
    private let onLeft: (ConsumedQueue) -> Void
    private var channel: (any ConsumerChannel)?
    private var consumerTag = ""
    private var lastSeen: UInt64 = 0
    private var lowestOpen: UInt64 = 1
    private var committed: Set<UInt64> = []
    private var acknowledged: UInt64 = 0
    /// Rises with each channel: a tag of an earlier one means nothing any more.
    private(set) var epoch: UInt64 = 0
    private(set) var isLeaving = false
    private var cancelled = false
    private var hasLeft = false
    /// The last delivery that is wanted, of a queue that is left with the rest given back.
    private var lastWanted: UInt64?
    /// Deliveries since the start, whatever became of them.
    private(set) var delivered: UInt64 = 0
    /// Whether something that was delivered is not acknowledged yet.
    var hasUnacknowledged: Bool { acknowledged < lastSeen }
    private var subscriptions = 0
    private var lostConnections = 0

    init(
        kind: Kind,
        name: String,
        broker: any BrokerLink,
        newTag: @escaping () -> UInt64,
        onDelivery: @escaping (ConsumedQueue, RabbitDelivery) -> Void,
        onFailure: @escaping (ConsumedQueue, RabbitError) -> Void,
        onLeft: @escaping (ConsumedQueue) -> Void
    ) {
        self.kind = kind
        self.name = name
        self.broker = broker
        self.newTag = newTag
        self.onDelivery = onDelivery
        self.onFailure = onFailure
        self.onLeft = onLeft
    }

    /// Subscribes on a channel of its own. For every reconnect too; does nothing while it is being left.
    func subscribe(prefetch: UInt16) {
        guard !isLeaving else { return }
        epoch += 1
        subscriptions += 1
        let current = epoch
        closeChannel()
        broker.openConsumerChannel { [weak self] result in
            guard let self, self.epoch == current else {
                if case .success(let stale) = result { stale.close { _ in } }
                return
            }
            switch result {
            case .failure(let error):
                self.onFailure(self, error)
            case .success(let channel):
                self.channel = channel
                channel.onClose = { [weak self] error in
                    guard let self, self.epoch == current else { return }
                    self.channel = nil
                    if self.isLeaving {
                        self.cancelled = true
                        self.finishLeaving()
                    } else {
                        self.onFailure(self, error)
                    }
                }
                // Never the same tag twice: 3.10 mixes up a cancel and a new subscription of one tag.
                self.consumerTag = "\(self.name)-\(self.newTag())"
                guard !Faults.isSilent(subscription: self.subscriptions, lostConnections: self.lostConnections) else {
                    return
                }
                channel.consume(
                    queue: self.name,
                    tag: self.consumerTag,
                    prefetch: min(prefetch, self.kind.prefetchLimit),
                    onDelivery: { [weak self] delivery in
                        guard let self, self.epoch == current, self.lastWanted == nil else { return }
                        self.lastSeen = delivery.tag
                        self.delivered += 1
                        self.onDelivery(self, delivery)
                    },
                    onCancel: { [weak self] in
                        guard let self, self.epoch == current else { return }
                        self.onFailure(
                            self,
                            RabbitError(.channelClosed, "the broker ended the subscription to \(self.name)")
                        )
                    },
                    done: { [weak self] result in
                        guard let self, self.epoch == current, case .failure(let error) = result else { return }
                        self.onFailure(self, error)
                    }
                )
            }
        }
    }

    /// The delivery's effect is committed (or it has none): it may be acknowledged.
    func commit(_ tag: UInt64, epoch: UInt64) {
        guard epoch == self.epoch, tag >= lowestOpen else { return }
        committed.insert(tag)
    }

    /// Acknowledges the committed prefix with one frame. Returns how many deliveries that were.
    func acknowledge() -> Int {
        guard let channel else { return 0 }
        while committed.remove(lowestOpen) != nil { lowestOpen += 1 }
        let upTo = lowestOpen - 1
        guard upTo > acknowledged else {
            finishLeaving()
            return 0
        }
        let count = Int(upTo - acknowledged)
        channel.ack(through: upTo)
        acknowledged = upTo
        finishLeaving()
        return count
    }

    /// Stops the subscription; what was delivered is still taken and acknowledged. Then `onLeft`. Only where
    /// ``leaveGivingBack(from:)`` is to be missed.
    func leave() {
        guard !isLeaving else { return }
        isLeaving = true
        guard let channel else {
            epoch += 1  // a channel that is being opened must not consume any more
            cancelled = true
            finishLeaving()
            return
        }
        channel.cancel(tag: consumerTag) { [weak self] _ in
            guard let self else { return }
            self.cancelled = true
            self.finishLeaving()
        }
    }

    /// Stops at once: what is being taken, the deliveries before tag `first` (nil: all of them), is still acknowledged.
    /// Then the channel is closed, and the rest is at the head of its queue again, in order.
    ///
    /// After a cancel the broker makes the next consumer active while this one still holds earlier messages: the next one
    /// would overtake it. Also one of another owner of a shard: a worker whose wire to the broker is dead knows it sooner than
    /// the broker, gives its fence away, and what it was sent lies on that wire.
    func leaveGivingBack(from first: UInt64?) {
        guard !isLeaving else { return }
        isLeaving = true
        cancelled = true
        lastWanted = first.map { $0 - 1 } ?? lastSeen
        if channel == nil { epoch += 1 }
        finishLeaving()
    }

    /// Gives everything back that is not acknowledged, by closing the channel: it is at the head of its queue again, in
    /// order. ``subscribe(prefetch:)`` takes up again; a queue that is being left has left.
    func giveBack() {
        epoch += 1
        closeChannel()
        if isLeaving {
            cancelled = true
            finishLeaving()
        }
    }

    private func closeChannel() {
        channel?.close { _ in }
        channel = nil
        lastSeen = 0
        lowestOpen = 1
        committed = []
        acknowledged = 0
    }

    /// Gives back at once what is not committed, by closing the channel.
    func abandon() {
        epoch += 1
        isLeaving = true
        hasLeft = true
        channel?.close { _ in }
        channel = nil
    }

    /// Gives back what is not committed and subscribes again; a queue that is being left has left.
    func restart(prefetch: UInt16) {
        if isLeaving { giveBack() } else { subscribe(prefetch: prefetch) }
    }

    private func finishLeaving() {
        guard isLeaving, cancelled, !hasLeft, channel == nil || acknowledged >= lastWanted ?? lastSeen else {
            return
        }
        hasLeft = true
        channel?.close { _ in }
        channel = nil
        onLeft(self)
    }

    /// The connection is gone: everything unacknowledged comes again.
    func connectionLost() {
        epoch += 1
        lostConnections += 1
        channel = nil
        if isLeaving {
            cancelled = true
            finishLeaving()
        }
    }
}
