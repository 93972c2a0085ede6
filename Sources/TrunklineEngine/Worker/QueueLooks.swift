internal import Logging
internal import RabbitDriver

/// Notices subscriptions that get nothing although their queue has messages, and does about it what ``QueueWatch`` says.
final class QueueLooks {
    private let here: Surroundings
    private let agenda: Agenda
    private let broker: any BrokerLink
    private let topology: TopologyWatch
    private let consumption: Consumption
    private var lastLook: Instant?
    private var isLooking = false
    /// Deliveries of each queue at the last look.
    private var delivered: [String: UInt64] = [:]
    private var watch = QueueWatch()

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ broker: any BrokerLink,
        _ topology: TopologyWatch,
        _ consumption: Consumption
    ) {
        self.here = here
        self.agenda = agenda
        self.broker = broker
        self.topology = topology
        self.consumption = consumption
    }

    /// Every ten seconds: has a queue messages from which nothing comes? Asked only of quiet ones, on a channel that lives
    /// for one look, so that a refusal harms no consumer.
    func look(at now: Instant) {
        guard !here.isDraining, broker.isConnected, consumption.isConsuming, !isLooking, !topology.isDeclaring,
            !here.isOff(.consumerWatch)
        else { return }
        guard let last = lastLook else {
            lastLook = now
            return
        }
        guard now - last >= here.timing.queueLook else { return }
        lastLook = now
        let quiet = quietQueues()
        isLooking = true
        broker.openControlChannel { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure: isLooking = false
            case .success(let channel):
                topology.lookAtPlaces(channel) { [weak self] areThere in
                    guard let self else { return }
                    if areThere { look(at: quiet[...], channel) } else { isLooking = false }
                }
            }
        }
    }

    private func quietQueues() -> [ConsumedQueue] {
        consumption.queues.filter { !$0.isLeaving }.filter { queue in
            let before = delivered.updateValue(queue.delivered, forKey: queue.name)
            // What is delivered and not acknowledged is being worked on, or the database is away.
            if before == queue.delivered, !queue.hasUnacknowledged { return true }
            watch.heard(from: queue.name)
            return false
        }
    }

    private func look(at queues: ArraySlice<ConsumedQueue>, _ channel: any ControlChannel) {
        guard let queue = queues.first else {
            isLooking = false
            channel.close { _ in }
            return
        }
        channel.look(at: queue.name) { [weak self] result in
            guard let self, !here.isStopped else { return }
            switch result {
            case .failure(let error):
                isLooking = false
                watch.heard(from: queue.name)
                if error.replyCode == 404 {
                    topology.declareAgain(because: queue.name) { [weak self] in
                        self?.consumption.subscribeAgain(queue)
                    }
                }
            case .success(let look):
                looked(at: queue, messages: look.messages)
                if isLooking { self.look(at: queues.dropFirst(), channel) }
            }
        }
    }

    private func looked(at queue: ConsumedQueue, messages: Int) {
        // It may have begun to deliver, or to be left, while the broker was asked.
        guard queue.delivered == delivered[queue.name], !queue.isLeaving else {
            return watch.heard(from: queue.name)
        }
        let facts: Logger.Metadata = ["queue": "\(queue.name)", "messages": "\(messages)"]
        switch watch.looked(at: queue.name, messages: messages) {
        case nil: return
        case .subscribe:
            here.log.warning("a queue has messages and delivers none: subscribing again", metadata: facts)
            askWhoConsumes(queue)
        case .reconnect:
            here.log.warning(
                "a queue has messages and delivers none: connecting to the broker again",
                metadata: facts
            )
            isLooking = false
            broker.reset(because: "\(queue.name) delivers nothing")
        case .end:
            isLooking = false
            here.log.error("a queue has messages and delivers none: ending", metadata: facts)
            agenda.end(
                because: WorkerError(
                    "the broker delivers nothing from \(queue.name), which has \(messages) messages, to this worker, "
                        + "whatever it does: the process ends, so that its supervisor starts it again"
                )
            )
        }
    }

    /// Gives the subscription up, asks whether anybody else consumes, and subscribes again.
    private func askWhoConsumes(_ queue: ConsumedQueue) {
        consumption.giveBack(queue)
        let epoch = queue.epoch
        // The broker lets go of a closed channel's consumer a little after it has answered.
        here.loop.after(.seconds(1)) { [weak self] in
            guard let self, queue.epoch == epoch, broker.isConnected else { return }
            broker.openControlChannel { [weak self] result in
                guard let self, queue.epoch == epoch else { return }
                guard case .success(let channel) = result else { return consumption.subscribeAgain(queue) }
                channel.look(at: queue.name) { [weak self] result in
                    channel.close { _ in }
                    guard let self, queue.epoch == epoch else { return }
                    if case .success(let look) = result { watch.asked(queue.name, isAlone: look.consumers == 0) }
                    consumption.subscribeAgain(queue)
                }
            }
        }
    }
}
