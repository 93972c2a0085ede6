internal import Logging
internal import RabbitDriver

/// Notices that exchanges or queues are gone, and declares everything again.
final class TopologyWatch {
    private let here: Surroundings
    private let broker: any BrokerLink
    private let shards: Shards
    private(set) var isDeclaring = false
    /// These wait for the declaration.
    private var waiting: [() -> Void] = []

    init(_ here: Surroundings, _ broker: any BrokerLink, _ shards: Shards) {
        self.here = here
        self.broker = broker
        self.shards = shards
    }

    /// A queue is not there: somebody deleted it, or the broker was wiped. Everything is declared again, which changes
    /// nothing that is right; then `done`, whatever came of it.
    func declareAgain(because queue: String, then done: @escaping () -> Void) {
        // Without a database nobody knows how many shards there must be.
        guard shards.count > 0 else { return here.loop.after(.seconds(2), done) }
        waiting.append(done)
        guard !isDeclaring else { return }
        isDeclaring = true
        here.log.warning("a queue is missing: declaring exchanges and queues again", metadata: ["queue": "\(queue)"])
        broker.openControlChannel { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): declared(.failure(error))
            case .success(let channel):
                channel.declare(Topology.plan(shards: Int(shards.count))) { [weak self] result in
                    channel.close { _ in }
                    self?.declared(result)
                }
            }
        }
    }

    private func declared(_ result: Result<Void, RabbitError>) {
        isDeclaring = false
        switch result {
        case .success: here.log.notice("exchanges and queues are in place again")
        case .failure(let error):
            here.log.warning("exchanges and queues could not be declared", metadata: ["error": "\(error)"])
        }
        let waiting = waiting
        self.waiting = []
        for done in waiting { done() }
    }

    /// Exchanges, and queues that nobody consumes from: nobody else notices that they are gone. `done` is told whether all
    /// are there; if not, the refusal has closed the channel.
    func lookAtPlaces(_ channel: any ControlChannel, done: @escaping (_ areThere: Bool) -> Void) {
        var places = [Topology.jobsExchange, Topology.deadLetterExchange, Topology.unroutedExchange][...]
        var tiers = Topology.tiers[...]
        func next() {
            let missing: (Result<Void, RabbitError>, String) -> Void = { [weak self] result, name in
                guard let self, !here.isStopped else { return }
                guard case .failure(let error) = result else { return next() }
                done(false)
                if error.replyCode == 404 { declareAgain(because: name) {} }
            }
            if let exchange = places.popFirst() {
                channel.find(exchange: exchange) { missing($0, exchange) }
            } else if let tier = tiers.popFirst() {
                channel.find(exchange: tier.exchange) { result in
                    guard case .success = result else { return missing(result, tier.exchange) }
                    channel.look(at: tier.queue) { missing($0.map { _ in }, tier.queue) }
                }
            } else {
                done(true)
            }
        }
        next()
    }
}
