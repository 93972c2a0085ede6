internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// When a worker may hold messages of the broker: only while it can take them.
///
/// A worker that is cut off from the database and not from the broker would be the active consumer of the shared queues and
/// of its former shards for as long as its connection lives, and nobody else would get their messages. So it subscribes when
/// its own renewal is young and all three sessions are there. When the renewal is as old as the silence limit, or a session
/// has been missing for too long, it closes its channels: everything is at the head of its queue again, in order.
extension Worker {
    static let shardPrefetch: UInt16 = 300
    private static let sharedPrefetch: UInt16 = 500
    /// A session, or the broker, that has not answered for that long is asked about.
    private static let patience: Duration = .seconds(5)

    static func prefetch(of kind: ConsumedQueue.Kind) -> UInt16 {
        if case .shard = kind { shardPrefetch } else { sharedPrefetch }
    }

    // MARK: Subscriptions

    /// This worker may act and has what it needs, by a look that came after its last renewal.
    func consume() {
        guard !isConsuming else { return }
        isConsuming = true
        if broker.isConnected { subscribeToAll() }
    }

    func subscribeToAll() {
        for queue in sharedQueues + shardsInOrder.compactMap(\.queue) {
            queue.subscribe(prefetch: Self.prefetch(of: queue.kind))
        }
    }

    /// Twice a second.
    func giveBackIfUnfit(_ now: Instant) {
        guard isConsuming, !isOff(.giveBack) else { return }
        let isSilent = renewedAt.map { now - $0 >= timing.silenceLimit } ?? true
        let lacks = lacksSessions(at: now)
        guard isSilent || lacks else { return }
        isConsuming = false
        log.warning(
            "messages given back until the database can be used again",
            metadata: ["reason": lacks ? "a session is missing" : "the heartbeat is too old"]
        )
        for queue in sharedQueues + shardsInOrder.compactMap(\.queue) { queue.giveBack() }
        arrivals.dropStale()
        if lacks { handOver() }
    }

    /// The session that renews is there and another one is not: whoever can work need not wait for this worker's silence.
    private func handOver() {
        guard control.isConnected, !shards.isEmpty else { return }
        let numbers = shardsInOrder.map(\.number)
        for shard in shardsInOrder { lose(shard) }
        control.release(numbers, by: bootID) { _ in }
    }

    // MARK: Silence

    /// libpq waits for ever on a wire that is frozen. A session that has answered nothing for a while is looked at through
    /// the one that renews: when the server says twice that it waits for us, while we wait for it, the wire between is dead.
    /// A statement that really takes long is left alone.
    func lookAtSilentSessions(_ now: Instant) {
        for (name, session) in [("intake", intake), ("settle", settler)] as [(String, any LedgerSession)] {
            let id = ObjectIdentifier(session)
            guard let since = session.silentSince, now - since > Self.patience, let backend = backends[id] else {
                watch.frozen[id] = nil
                continue
            }
            guard control.isConnected, mayAct(at: now) else { continue }
            control.waitsForUs(backend) { [weak self] result in
                guard let self, case .success(let waits) = result, session.silentSince == since else { return }
                let times = waits ?? true ? (self.watch.frozen[id] ?? 0) + 1 : 0
                self.watch.frozen[id] = times
                guard times >= 2 else { return }
                self.watch.frozen[id] = nil
                session.drop("the \(name) session answers nothing, and the server waits for it")
            }
        }
    }

    /// Every two seconds. Heartbeats go one way each: a wire that is dead in one direction would keep messages from everybody
    /// until the broker's own patience ends.
    func askBroker(_ now: Instant) {
        guard broker.isConnected else { return }
        if let asked = watch.brokerAsked {
            if now - asked > Self.patience { broker.reset(because: "it has not answered for \(Self.patience)") }
            return
        }
        guard watch.brokerAnswered.map({ now - $0 >= .seconds(2) }) ?? true else { return }
        watch.brokerAsked = now
        let life = watch.brokerLife
        broker.ask { [weak self] in
            guard let self, self.watch.brokerLife == life else { return }
            self.watch.brokerAsked = nil
            self.watch.brokerAnswered = self.loop.present
        }
    }
}
