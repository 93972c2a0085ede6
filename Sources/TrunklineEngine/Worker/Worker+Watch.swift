internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// What a worker does about servers that are away, wiped or silent.
extension Worker {
    /// What it knows of them.
    struct Watch {
        /// Why the database cannot be used.
        var absence = Absence()
        /// Why the heartbeat fails.
        var heartbeat = Absence()
        /// Since when a session is missing that taking or settling needs.
        var incompleteSince: Instant?
        /// When the queues were looked at last, and whether such a look is under way.
        var lastLook: Instant?
        var isLooking = false
        /// Deliveries of each queue at the last look.
        var delivered: [String: UInt64] = [:]
        var queues = QueueWatch()
        /// When the broker was asked for something and has not answered, or when it answered last.
        var brokerAsked: ContinuousClock.Instant?
        var brokerAnswered: ContinuousClock.Instant?
        /// Rises with each connection to the broker.
        var brokerLife = 0
        /// How often in a row the server said of a session that it waits for us while we wait for it.
        var frozen: [ObjectIdentifier: Int] = [:]
        /// The topology is being declared; these wait for it.
        var isDeclaring = false
        var waiting: [() -> Void] = []
        /// Why the worker ends although nobody asked it to.
        var endReason: WorkerError?
    }

    // MARK: The database

    /// A try to connect failed. Said once per state: a full connection table lasts for minutes.
    func databaseFailed(_ error: PostgresError) {
        if watch.absence.began(error) {
            log.warning("the database cannot be used; waiting for it", metadata: ["error": "\(error)"])
        }
    }

    /// A heartbeat was written: nothing is missing any more, if all sessions are there.
    func databaseAnswered() {
        _ = watch.heartbeat.ended()
        guard intake.isConnected, settler.isConnected else { return }
        if watch.absence.ended() { log.notice("the database can be used again") }
    }

    /// Whether a session has been missing for too long that taking or settling needs, for example because the server has
    /// no connection free. Such a worker must not go on renewing: its shards belong to those that can work.
    func lacksSessions(at now: Instant) -> Bool {
        guard !intake.isConnected || !settler.isConnected else {
            watch.incompleteSince = nil
            return false
        }
        let since = watch.incompleteSince ?? now
        watch.incompleteSince = since
        return now - since > timing.actingLimit
    }

    // MARK: A wiped broker

    /// A queue is not there: somebody deleted it, or the broker was wiped. Everything is declared again, which changes
    /// nothing that is right; then `done`, whatever came of it.
    func declareAgain(because queue: String, then done: @escaping () -> Void) {
        // Without a database nobody knows how many shards there must be.
        guard shardCount > 0 else { return loop.after(.seconds(2), done) }
        watch.waiting.append(done)
        guard !watch.isDeclaring else { return }
        watch.isDeclaring = true
        log.warning("a queue is missing: declaring exchanges and queues again", metadata: ["queue": "\(queue)"])
        broker.openControlChannel { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): self.declared(.failure(error))
            case .success(let channel):
                channel.declare(Topology.plan(shards: Int(self.shardCount))) { [weak self] result in
                    channel.close { _ in }
                    self?.declared(result)
                }
            }
        }
    }

    private func declared(_ result: Result<Void, RabbitError>) {
        watch.isDeclaring = false
        switch result {
        case .success: log.notice("exchanges and queues are in place again")
        case .failure(let error):
            log.warning("exchanges and queues could not be declared", metadata: ["error": "\(error)"])
        }
        let waiting = watch.waiting
        watch.waiting = []
        for done in waiting { done() }
    }

    // MARK: A silent broker

    /// Every ten seconds: has a queue messages from which nothing comes? Asked only of quiet ones, on a channel that lives
    /// for one look, so that a refusal harms no consumer.
    func lookAtQueues(_ now: Instant) {
        guard !isDraining, broker.isConnected, isConsuming, shardCount > 0, mayAct(at: now), !watch.isLooking,
            !watch.isDeclaring, !isOff(.consumerWatch)
        else { return }
        guard let last = watch.lastLook else {
            watch.lastLook = now
            return
        }
        guard now - last >= timing.queueLook else { return }
        watch.lastLook = now
        var quiet: [ConsumedQueue] = []
        for queue in sharedQueues + shardsInOrder.compactMap(\.queue) where !queue.isLeaving {
            let before = watch.delivered.updateValue(queue.delivered, forKey: queue.name)
            // What is delivered and not acknowledged is being worked on, or the database is away.
            if before == queue.delivered, !queue.hasUnacknowledged {
                quiet.append(queue)
            } else {
                watch.queues.heard(from: queue.name)
            }
        }
        watch.isLooking = true
        broker.openControlChannel { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure: self.watch.isLooking = false
            case .success(let channel): self.lookAtPlaces(channel) { self.look(at: quiet[...], channel) }
            }
        }
    }

    /// Exchanges, and queues that nobody consumes from: nobody else notices that they are gone.
    private func lookAtPlaces(_ channel: any ControlChannel, then go: @escaping () -> Void) {
        var places = [Topology.jobsExchange, Topology.deadLetterExchange, Topology.unroutedExchange][...]
        var tiers = Topology.tiers[...]
        func next() {
            let missing: (Result<Void, RabbitError>, String) -> Void = { [weak self] result, name in
                guard let self, !self.isStopped else { return }
                guard case .failure(let error) = result else { return next() }
                // The refusal has closed the channel.
                self.watch.isLooking = false
                if error.replyCode == 404 { self.declareAgain(because: name) {} }
            }
            if let exchange = places.popFirst() {
                channel.find(exchange: exchange) { missing($0, exchange) }
            } else if let tier = tiers.popFirst() {
                channel.find(exchange: tier.exchange) { result in
                    guard case .success = result else { return missing(result, tier.exchange) }
                    channel.look(at: tier.queue) { missing($0.map { _ in }, tier.queue) }
                }
            } else {
                go()
            }
        }
        next()
    }

    private func look(at queues: ArraySlice<ConsumedQueue>, _ channel: any ControlChannel) {
        guard let queue = queues.first else {
            watch.isLooking = false
            channel.close { _ in }
            return
        }
        channel.look(at: queue.name) { [weak self] result in
            guard let self, !self.isStopped else { return }
            switch result {
            case .failure(let error):
                self.watch.isLooking = false
                self.watch.queues.heard(from: queue.name)
                if error.replyCode == 404 {
                    self.declareAgain(because: queue.name) { [weak self] in self?.subscribeAgain(queue) }
                }
            case .success(let look):
                self.looked(at: queue, messages: look.messages)
                if self.watch.isLooking { self.look(at: queues.dropFirst(), channel) }
            }
        }
    }

    private func looked(at queue: ConsumedQueue, messages: Int) {
        // It may have begun to deliver, or to be left, while the broker was asked.
        guard queue.delivered == watch.delivered[queue.name], !queue.isLeaving else {
            return watch.queues.heard(from: queue.name)
        }
        switch watch.queues.looked(at: queue.name, messages: messages) {
        case nil: return
        case .subscribe:
            log.warning(
                "a queue has messages and delivers none: subscribing again",
                metadata: ["queue": "\(queue.name)", "messages": "\(messages)"]
            )
            askWhoConsumes(queue)
        case .reconnect:
            log.warning(
                "a queue has messages and delivers none: connecting to the broker again",
                metadata: ["queue": "\(queue.name)", "messages": "\(messages)"]
            )
            watch.isLooking = false
            broker.reset(because: "\(queue.name) delivers nothing")
        case .end:
            watch.isLooking = false
            watch.endReason = WorkerError(
                "the broker delivers nothing from \(queue.name), which has \(messages) messages, to this worker, whatever it "
                    + "does: the process ends, so that its supervisor starts it again"
            )
            log.error(
                "a queue has messages and delivers none: ending",
                metadata: ["queue": "\(queue.name)", "messages": "\(messages)"]
            )
            drain()
        }
    }

    /// Gives the subscription up, asks whether anybody else consumes, and subscribes again.
    private func askWhoConsumes(_ queue: ConsumedQueue) {
        queue.giveBack()
        arrivals.dropStale()
        let epoch = queue.epoch
        // The broker lets go of a closed channel's consumer a little after it has answered.
        loop.after(.seconds(1)) { [weak self] in
            guard let self, queue.epoch == epoch, self.broker.isConnected else { return }
            self.broker.openControlChannel { [weak self] result in
                guard let self, queue.epoch == epoch else { return }
                guard case .success(let channel) = result else { return self.subscribeAgain(queue) }
                channel.look(at: queue.name) { [weak self] result in
                    channel.close { _ in }
                    guard let self, queue.epoch == epoch else { return }
                    if case .success(let look) = result {
                        self.watch.queues.asked(queue.name, isAlone: look.consumers == 0)
                    }
                    self.subscribeAgain(queue)
                }
            }
        }
    }

    func subscribeAgain(_ queue: ConsumedQueue) {
        guard broker.isConnected, isConsuming, !queue.isLeaving, !isDraining, !isStopped else { return }
        queue.subscribe(prefetch: Self.prefetch(of: queue.kind))
    }
}
