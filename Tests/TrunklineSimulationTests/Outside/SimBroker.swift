import RabbitDriver
import TrunklineCore

@testable import RabbitDriver
@testable import TrunklineEngine

/// The broker: quorum queues with one active consumer each, redelivery in order, and retry tiers.
final class SimBroker {
    final class Message {
        let number: Int64
        let body: [UInt8]
        var deliveries = 0
        init(number: Int64, body: [UInt8]) {
            self.number = number
            self.body = body
        }
    }

    final class Queue {
        let name: String
        let hasOneConsumer: Bool
        /// Sorted by number.
        var ready: [Message] = []
        var consumers: [SimChannel] = []
        var turn = 0
        init(name: String, hasOneConsumer: Bool) {
            self.name = name
            self.hasOneConsumer = hasOneConsumer
        }
    }

    let world: World
    var downUntil: World.Time = 0
    private(set) var queues: [String: Queue] = [:]
    private var routes: [String: String] = [:]
    private(set) var channels: [SimChannel] = []
    var links: [SimBrokerLink] = []
    private var lastNumber: Int64 = 0

    init(world: World, shardCount: Int32) {
        self.world = world
        func make(_ name: String, _ route: String?, hasOneConsumer: Bool) {
            queues[name] = Queue(name: name, hasOneConsumer: hasOneConsumer)
            if let route { routes[route] = name }
        }
        for number in 0..<Int(shardCount) {
            make(Topology.shardQueue(number), Route.shard(number), hasOneConsumer: true)
        }
        make(Topology.intakeQueue, Route.send, hasOneConsumer: false)
        make(Topology.bulkQueue, Route.bulk, hasOneConsumer: false)
        make(Topology.webhookQueue, Route.webhook, hasOneConsumer: false)
        make(Topology.unroutedQueue, nil, hasOneConsumer: false)
        make(Topology.deadQueue, nil, hasOneConsumer: false)
    }

    /// Whether nothing is left anywhere, what is not acknowledged included.
    var isEmpty: Bool { queues.values.allSatisfy(\.ready.isEmpty) && channels.allSatisfy(\.unacknowledged.isEmpty) }

    /// A confirmed publish.
    func publish(_ body: [UInt8], route: String) {
        guard let queue = routes[route].flatMap({ queues[$0] }) else { preconditionFailure("no queue for \(route)") }
        lastNumber += 1
        queue.ready.append(Message(number: lastNumber, body: body))
        serve(queue)
    }

    // MARK: Consumers

    func add(_ channel: SimChannel) { channels.append(channel) }

    func subscribe(_ channel: SimChannel, to name: String) {
        let queue = queues[name]!
        queue.consumers.append(channel)
        serve(queue)
    }

    func unsubscribe(_ channel: SimChannel, from name: String) {
        let queue = queues[name]!
        queue.consumers.removeAll { $0 === channel }
        serve(queue)
    }

    /// The channel is gone: what it did not acknowledge comes again, in its old order.
    func remove(_ channel: SimChannel) {
        channels.removeAll { $0 === channel }
        guard let name = channel.queue, let queue = queues[name] else { return }
        queue.consumers.removeAll { $0 === channel }
        queue.ready += channel.unacknowledged.map(\.message)
        queue.ready.sort { $0.number < $1.number }
        channel.unacknowledged = []
        serve(queue)
    }

    func serve(_ queue: Queue) {
        while let message = queue.ready.first {
            let candidates = queue.hasOneConsumer ? Array(queue.consumers.prefix(1)) : queue.consumers
            let free = candidates.filter(\.hasRoom)
            guard !free.isEmpty else { return }
            queue.turn += 1
            queue.ready.removeFirst()
            message.deliveries += 1
            if message.deliveries > 1 { world.hits[.redelivered] += 1 }
            free[queue.turn % free.count].deliver(message)
        }
    }

    /// Everybody is disconnected, nothing is lost.
    func crash(for span: World.Time) {
        world.hit(.brokerCrash, "for \(span / 1_000) ms")
        downUntil = world.now + span
        for link in links { link.serverLost() }
    }
}

/// Wake-ups are published without a look at what becomes of them, and may be lost.
final class SimPublisher: WakePublisher {
    private let process: SimProcess
    private let broker: SimBroker
    private let lossRate: Double

    init(_ process: SimProcess, _ broker: SimBroker, lossRate: Double) {
        self.process = process
        self.broker = broker
        self.lossRate = lossRate
    }

    func publishWakeUps(_ messages: [RabbitMessage]) {
        process.output { [self] in
            let world = broker.world
            for message in messages {
                if world.now < broker.downUntil || world.chance(lossRate) {
                    world.hits[.wakeLost] += 1
                    continue
                }
                var delay = world.any(300...4_000)
                if let tier = Topology.tiers.first(where: { $0.exchange == message.exchange }) {
                    world.hits[.wakeByTier] += 1
                    delay += tier.delay.microseconds
                }
                world.after(delay) { [broker] in broker.publish(message.body, route: message.routingKey) }
            }
        }
    }
}
