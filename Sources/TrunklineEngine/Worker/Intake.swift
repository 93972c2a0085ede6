internal import Crypto
internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// What comes next of what the broker delivers: one batch after another, each taken until it is written or refused.
///
/// Messages may be deadly to read: those that came back twice are read one at a time, and their bytes are recorded before
/// anybody looks inside. After three workers that did not come to the end of one, it is put aside. The other half of the
/// rule, jobs that are deadly to send, is in `trunkline.abandon` and `Claiming`.
final class Intake {
    /// Deliveries in one take; beyond it a statement gets longer, not cheaper.
    private static let batchLimit = 256
    /// Each try may keep the session, and with it the claims, for as long as a lock is waited for.
    private static let longestLockWait: Duration = .seconds(4)
    private static let deadlyReaders: Int32 = 3

    private struct Aside {
        let number: Int
        let arrivals: [Arrivals.Arrival]
        let way: Arrivals.Way
    }

    private let here: Surroundings
    private let taking: Taking
    private let refusals: Refusals
    private let ledger: any JobLedger
    private var arrivals = Arrivals()
    private var isTaking = false
    /// How often the batch of a way was halved, down to the one message at fault.
    private var halvings: [Arrivals.Way: Int] = [:]
    /// How often a message that was alone in its statement failed on a lock, of each way.
    private var lockWaits: [Arrivals.Way: Int] = [:]
    /// What waits for a while before it is taken again, in the order in which it was left.
    private var aside: [Aside] = []
    private var asideNumber = 0
    /// Digests of messages that came back often and that this worker has noted as such.
    private var notedSuspects: Set<[UInt8]> = []

    init(_ here: Surroundings, _ taking: Taking, _ refusals: Refusals, _ ledger: any JobLedger) {
        self.here = here
        self.taking = taking
        self.refusals = refusals
        self.ledger = ledger
    }

    // MARK: Arrivals

    /// Whether everything that was delivered is taken.
    var isDone: Bool { !isTaking && arrivals.isEmpty }

    func arrived(_ queue: ConsumedQueue, _ delivery: RabbitDelivery) {
        arrivals.append(
            .init(
                queue: queue,
                epoch: queue.epoch,
                tag: delivery.tag,
                redelivered: delivery.redelivered,
                isSuspect: delivery.deliveryCount >= 2,
                body: delivery.body,
                bodySize: delivery.bodySize
            )
        )
        if here.isOff(.ackAfterCommit) {
            queue.commit(delivery.tag, epoch: queue.epoch)
            _ = queue.acknowledge()
        }
    }

    /// Channels are gone: what they delivered comes again.
    func dropStale() { arrivals.dropStale() }

    /// Forgets what of a queue is not being taken. Returns the lowest tag among it.
    func forget(_ queue: ConsumedQueue) -> UInt64? {
        var lowest = arrivals.forget(queue)
        aside = aside.compactMap { entry in
            let mine = entry.arrivals.filter { $0.queue === queue }
            guard !mine.isEmpty else { return entry }
            let tags = mine.filter { $0.epoch == queue.epoch }.map(\.tag) + [lowest].compactMap(\.self)
            lowest = tags.min()
            let others = entry.arrivals.filter { $0.queue !== queue }
            return others.isEmpty ? nil : Aside(number: entry.number, arrivals: others, way: entry.way)
        }
        return lowest
    }

    // MARK: Taking

    /// Takes the next batch unless one is under way: what arrives meanwhile is the batch after it.
    func take(at now: Instant) {
        guard !isTaking, !arrivals.isEmpty else { return }
        guard let (way, batch) = arrivals.next(limit: { max(1, Self.batchLimit >> halvings[$0, default: 0]) }) else {
            return
        }
        isTaking = true
        if noteIfSuspect(batch, way) { return }
        taking.take(batch, way, at: now) { [weak self] result in
            guard let self else { return }
            isTaking = false
            switch result {
            case .failure(let error): failed(batch, way, error)
            case .success(let unknown):
                lockWaits[way] = nil
                if let halved = halvings[way] { halvings[way] = halved > 1 ? halved - 1 : nil }
                clearSuspect(batch)
                leaveAside(unknown, way)
            }
        }
    }

    /// Messages of which it is not known what became of them are neither acknowledged nor refused. They are taken again:
    /// by this worker after a while, or by another one when this one has ended.
    private func leaveAside(_ unknown: [Arrivals.Arrival], _ way: Arrivals.Way) {
        let unknown = staying(unknown)
        guard !unknown.isEmpty else { return }
        asideNumber += 1
        let number = asideNumber
        aside.append(Aside(number: number, arrivals: unknown, way: way))
        here.loop.after(.seconds(5)) { [weak self] in
            guard let self, let index = aside.firstIndex(where: { $0.number == number }) else { return }
            let entry = aside.remove(at: index)
            let again = entry.arrivals.map { arrival in
                var arrival = arrival
                arrival.hasWaited = true
                return arrival
            }
            arrivals.putBack(again, way: entry.way)
        }
    }

    /// A lane is known that was not. What lies aside for it goes before whatever comes for it from now on.
    func laneIsNew() {
        for entry in aside.reversed() { arrivals.putBack(entry.arrivals, way: entry.way) }
        aside = []
    }

    private func failed(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, _ error: PostgresError) {
        let batch = staying(batch)
        if batch.isEmpty { return }
        if error.isConnectionLost || error.outcomeUnknown {
            // Taken again: what was committed is found by its key.
            arrivals.putBack(batch, way: way)
        } else if batch.count > 1 {
            halvings[way] = min(halvings[way, default: 0] + 1, 8)
            again(batch, way, in: .milliseconds(5))
        } else if error.isLockFault {
            // It failed on a lock: it stays unacknowledged, with what is behind it, which may be of its person, and is tried
            // again here.
            let waits = lockWaits[way, default: 0]
            lockWaits[way] = waits + 1
            again(batch, way, in: min(Self.longestLockWait, .milliseconds(100) * (1 << min(waits, 6))))
        } else {
            // The data itself: put aside with its bytes, so that its neighbours go on.
            here.log.error("message cannot be stored", metadata: ["error": "\(error)"])
            refuse(
                batch[0],
                Refusal(
                    kind: .invalid,
                    reason: "the database cannot store the message (SQLSTATE \(error.sqlState ?? "none"))"
                )
            ) { [weak self] error in
                if error != nil { self?.again(batch, way, in: .seconds(1)) }
            }
        }
    }

    /// Those that are to be taken again here. A queue that is being left waits for nothing: what could not be taken of it goes
    /// back with its channel.
    private func staying(_ arrivals: [Arrivals.Arrival]) -> [Arrivals.Arrival] {
        arrivals.filter { arrival in
            guard arrival.queue.isLeaving else { return true }
            if arrival.epoch == arrival.queue.epoch {
                _ = arrival.queue.acknowledge()
                arrival.queue.giveBack()
            }
            return false
        }
    }

    private func again(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way, in wait: Duration) {
        arrivals.putBack(batch, way: way)
        arrivals.pause(way)
        here.loop.after(wait) { [weak self] in self?.arrivals.resume(way) }
    }

    private func refuse(
        _ arrival: Arrivals.Arrival,
        _ refusal: Refusal,
        done: @escaping (PostgresError?) -> Void
    ) {
        isTaking = true
        refusals.record([Refused(refusal: refusal, arrival: arrival)]) { [weak self] error in
            self?.isTaking = false
            done(error)
        }
    }

    // MARK: Messages that may be deadly

    /// Records a message that came back often, unless this worker has. Returns whether the take must wait for that.
    private func noteIfSuspect(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way) -> Bool {
        guard let arrival = batch.first, arrival.isSuspect else { return false }
        let digest = Array(SHA256.hash(data: arrival.body))
        guard !notedSuspects.contains(digest) else { return false }
        let message = SuspectMessage(
            digest: digest,
            via: arrival.queue.kind.via,
            raw: Array(arrival.body.prefix(RefusalRow.rawLimit)),
            rawLength: Int64(clamping: arrival.bodySize)
        )
        ledger.suspect(message, by: here.boot) { [weak self] result in
            guard let self else { return }
            isTaking = false
            switch result {
            case .failure(let error):
                failed([arrival], way, error)
            case .success(let readers) where readers > Self.deadlyReaders:
                putAside(arrival, way)
            case .success:
                notedSuspects.insert(digest)
                arrivals.putBack([arrival], way: way)
                here.wakeTurn(in: .zero)
            }
        }
        return true
    }

    /// A suspect message was taken: it was read to its end.
    private func clearSuspect(_ batch: [Arrivals.Arrival]) {
        guard let arrival = batch.first, arrival.isSuspect else { return }
        let digest = Array(SHA256.hash(data: arrival.body))
        notedSuspects.remove(digest)
        ledger.unsuspect(digest: digest) { _ in }
    }

    private func putAside(_ arrival: Arrivals.Arrival, _ way: Arrivals.Way) {
        here.log.error(
            "message put aside: workers died while they read it",
            metadata: ["queue": "\(arrival.queue.name)"]
        )
        let refusal = Refusal(
            kind: .poison,
            reason: "\(Self.deadlyReaders) workers did not come to the end of reading it"
        )
        refuse(arrival, refusal) { [weak self] error in
            if let error { self?.failed([arrival], way, error) } else { self?.clearSuspect([arrival]) }
        }
    }
}
