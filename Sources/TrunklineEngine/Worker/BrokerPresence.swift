internal import Logging
internal import RabbitDriver
internal import TrunklineCore

/// Whether this worker has the broker: what it tells the others, and whether the wire is only silent.
final class BrokerPresence {
    /// A broker that has not answered for that long is connected to anew.
    private static let patience: Duration = .seconds(5)
    private static let betweenQuestions: Duration = .seconds(2)

    private let here: Surroundings
    private let broker: any BrokerLink
    private var health = BrokerHealth()
    /// When it was asked for something and has not answered, or when it answered last.
    private var asked: Instant?
    private var answered: Instant?
    /// Rises with each connection.
    private var life = 0

    init(_ here: Surroundings, _ broker: any BrokerLink) {
        self.here = here
        self.broker = broker
        health.started(at: here.now)
    }

    func isGood(at now: Instant) -> Bool { health.isGood(at: now) }

    func connected(at now: Instant) {
        health.connected(at: now)
        asked = nil
        life += 1
        here.log.info("broker connected", metadata: ["version": "\(broker.serverVersion ?? "unknown")"])
    }

    func lost(_ error: RabbitError, at now: Instant) {
        health.lost(at: now, silentSince: asked)
        asked = nil
        here.log.warning("broker connection lost", metadata: ["error": "\(error)"])
    }

    /// Every two seconds. Heartbeats go one way each: a wire that is dead in one direction would keep messages from everybody
    /// until the broker's own patience ends.
    func ask(at now: Instant) {
        guard broker.isConnected else { return }
        if let asked {
            if now - asked > Self.patience { broker.reset(because: "it has not answered for \(Self.patience)") }
            return
        }
        guard answered.map({ now - $0 >= Self.betweenQuestions }) ?? true else { return }
        asked = now
        let life = life
        broker.ask { [weak self] in
            guard let self, self.life == life else { return }
            asked = nil
            answered = here.now
        }
    }
}
