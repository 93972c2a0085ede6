import RabbitDriver

@testable import RabbitDriver
@testable import TrunklineEngine

/// A worker's connection to the broker.
final class SimBrokerLink: BrokerLink {
    private enum Phase { case idle, connecting, connected, waiting, closed }

    let process: SimProcess
    let broker: SimBroker
    private let world: World
    private var phase = Phase.idle
    /// Tells this connection from the one before it.
    private var life = 0
    /// The broker has ended it, and the client does not know yet.
    private var isBroken = false
    private var channels: [SimChannel] = []
    var onConnect: (() -> Void)?
    var onDisconnect: ((RabbitError) -> Void)?
    var onConnectFailed: ((RabbitError) -> Void)?

    init(_ process: SimProcess, _ broker: SimBroker) {
        self.process = process
        self.broker = broker
        world = process.world
        broker.links.append(self)
        process.whenDead { [weak self] in self?.clientWent() }
    }

    var isConnected: Bool { phase == .connected }
    var serverVersion: String? { isConnected ? "3.13.0" : nil }

    func open() {
        guard phase == .idle || phase == .closed else { return }
        connect()
    }

    private func connect() {
        phase = .connecting
        process.output { [self] in
            world.after(world.any(3_000...30_000)) { [self] in
                let isUp = world.now >= broker.downUntil
                process.input { [self] in
                    guard phase == .connecting else { return }
                    guard isUp else {
                        later()
                        onConnectFailed?(RabbitError(.cannotConnect, "no broker"))
                        return
                    }
                    phase = .connected
                    isBroken = false
                    life += 1
                    onConnect?()
                }
            }
        }
    }

    private func later() {
        phase = .waiting
        process.after(.milliseconds(world.any(100...1_500))) { [weak self] in
            guard let self, self.phase == .waiting else { return }
            self.connect()
        }
    }

    func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void) {
        guard phase == .connected else {
            process.after(.zero) { done(.failure(RabbitError(.notConnected, "not connected to the broker"))) }
            return
        }
        let channel = SimChannel(self)
        channels.append(channel)
        let life = life
        process.output { [self] in
            world.after(world.any(500...3_000)) { [self] in
                // An end that is on its way answers what is open.
                guard !isBroken else { return }
                process.input { [self] in
                    guard phase == .connected, self.life == life else {
                        return done(.failure(RabbitError(.connectionLost, "the connection was lost")))
                    }
                    guard !channel.isClosedByClient else { return }
                    broker.add(channel)
                    done(.success(channel))
                }
            }
        }
    }

    /// The socket breaks, or the broker goes: at the broker's side at once, here when it is noticed.
    func serverLost() {
        let life = life
        isBroken = true
        for channel in channels { channel.serverClosed() }
        world.after(world.any(0...200_000)) { [self] in
            process.input { [self] in
                guard phase == .connected, self.life == life else { return }
                let lost = channels
                for channel in lost { channel.serverClosed() }
                channels = []
                later()
                let error = RabbitError(.connectionLost, "the connection was lost")
                for channel in lost { channel.clientLearned(error) }
                onDisconnect?(error)
            }
        }
    }

    private func clientWent() {
        for channel in channels { channel.serverClosed() }
        channels = []
        broker.links.removeAll { $0 === self }
    }

    func forget(_ channel: SimChannel) { channels.removeAll { $0 === channel } }

    /// One channel of it, if there is any.
    var someChannel: SimChannel? {
        let open = channels.filter { $0.queue != nil }
        return open.isEmpty ? nil : world.any(of: open)
    }

    func close(done: @escaping () -> Void) {
        phase = .closed
        process.output { [self] in clientWent() }
        process.after(.milliseconds(1), done)
    }
}

/// A channel with at most one subscription.
final class SimChannel: ConsumerChannel {
    private let link: SimBrokerLink
    private let world: World
    private(set) var queue: String?
    private var prefetch = 0
    private var onDelivery: ((RabbitDelivery) -> Void)?
    private var lastTag: UInt64 = 0
    private var lastArrival: World.Time = 0
    /// At the broker: delivered and not acknowledged.
    var unacknowledged: [(tag: UInt64, message: SimBroker.Message)] = []
    private var isOpenAtServer = true
    private(set) var isClosedByClient = false
    var onClose: ((RabbitError) -> Void)?

    init(_ link: SimBrokerLink) {
        self.link = link
        world = link.process.world
    }

    var hasRoom: Bool { isOpenAtServer && unacknowledged.count < prefetch }

    private func arrival() -> World.Time {
        lastArrival = max(lastArrival, world.now + world.any(100...3_000))
        return lastArrival
    }

    func consume(
        queue: String,
        tag: String,
        prefetch: UInt16,
        onDelivery: @escaping (RabbitDelivery) -> Void,
        onCancel: @escaping () -> Void,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        link.process.output { [self] in
            guard isOpenAtServer else { return }
            self.onDelivery = onDelivery
            self.queue = queue
            self.prefetch = Int(prefetch)
            world.after(world.any(300...2_000)) { [self] in
                guard isOpenAtServer else { return }
                world.at(arrival()) { [self] in
                    link.process.input { [self] in if !isClosedByClient { done(.success(())) } }
                }
                link.broker.subscribe(self, to: queue)
            }
        }
    }

    func deliver(_ message: SimBroker.Message) {
        lastTag += 1
        let tag = lastTag
        unacknowledged.append((tag, message))
        let delivery = RabbitDelivery(
            tag: tag,
            redelivered: message.deliveries > 1,
            exchange: Topology.jobsExchange,
            routingKey: "",
            contentType: "application/json",
            messageID: nil,
            deliveryCount: message.deliveries - 1,
            deathCount: 0,
            firstDeathQueue: nil,
            bodySize: UInt64(message.body.count),
            body: message.body
        )
        world.at(arrival()) { [self] in
            link.process.input { [self] in
                // What is in the client's buffer when the connection ends was never read.
                guard !isClosedByClient, isOpenAtServer else { return }
                onDelivery?(delivery)
            }
        }
    }

    func ack(through tag: UInt64) {
        link.process.output { [self] in
            world.after(world.any(100...2_000)) { [self] in
                guard isOpenAtServer, let queue else { return }
                unacknowledged.removeAll { $0.tag <= tag }
                link.broker.serve(link.broker.queues[queue]!)
            }
        }
    }

    func cancel(tag: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        link.process.output { [self] in
            world.after(world.any(200...2_000)) { [self] in
                guard isOpenAtServer, let queue else { return }
                link.broker.unsubscribe(self, from: queue)
                // What was on the way is delivered before.
                world.at(arrival()) { [self] in
                    link.process.input { [self] in if !isClosedByClient, isOpenAtServer { done(.success(())) } }
                }
            }
        }
    }

    func close(done: @escaping (Result<Void, RabbitError>) -> Void) {
        guard !isClosedByClient else { return }
        isClosedByClient = true
        link.forget(self)
        link.process.output { [self] in
            world.after(world.any(100...2_000)) { [self] in serverClosed() }
        }
    }

    /// At the broker: gone, and what it held is ready again.
    func serverClosed() {
        guard isOpenAtServer else { return }
        isOpenAtServer = false
        link.broker.remove(self)
    }

    func clientLearned(_ error: RabbitError) {
        guard !isClosedByClient else { return }
        isClosedByClient = true
        onClose?(error)
    }

    /// The broker closes this channel alone.
    func breakAlone() {
        guard isOpenAtServer else { return }
        world.hit(.channelLost, queue ?? "")
        serverClosed()
        world.after(world.any(0...20_000)) { [self] in
            link.process.input { [self] in
                link.forget(self)
                clientLearned(RabbitError(.channelClosed, "simulated"))
            }
        }
    }
}
