internal import Crypto
internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Messages that may be deadly to read: those that came back twice are read one at a time, and their bytes are recorded
/// before anybody looks inside. After three workers that did not come to the end of one, it is put aside.
///
/// The other half of the rule, jobs that are deadly to send, is in `trunkline.abandon` and `Worker.maySuspectBegin`.
extension Worker {
    private static let deadlyReaders: Int32 = 3

    /// Records a message that came back often, unless this worker has. Returns whether the take must wait for that.
    func noteIfSuspect(_ batch: [Arrivals.Arrival], _ way: Arrivals.Way) -> Bool {
        guard let arrival = batch.first, arrival.isSuspect else { return false }
        let digest = Array(SHA256.hash(data: arrival.body))
        guard !notedSuspects.contains(digest) else { return false }
        takeUnderWay = true
        let message = SuspectMessage(
            digest: digest,
            via: arrival.queue.kind.via,
            raw: Array(arrival.body.prefix(RefusalRow.rawLimit)),
            rawLength: Int64(clamping: arrival.bodySize)
        )
        intake.suspect(message, by: bootID) { [weak self] result in
            guard let self else { return }
            self.takeUnderWay = false
            switch result {
            case .failure(let error):
                self.takeFailed([arrival], way, error)
            case .success(let readers):
                if readers > Self.deadlyReaders {
                    self.putAside(arrival, way)
                } else {
                    self.notedSuspects.insert(digest)
                    self.arrivals.putBack([arrival], way: way)
                    self.loop.after(.zero) {}
                }
            }
        }
        return true
    }

    /// A suspect message was taken: it was read to its end.
    func clearSuspect(_ batch: [Arrivals.Arrival]) {
        guard let arrival = batch.first, arrival.isSuspect else { return }
        let digest = Array(SHA256.hash(data: arrival.body))
        notedSuspects.remove(digest)
        intake.unsuspect(digest: digest) { _ in }
    }

    private func putAside(_ arrival: Arrivals.Arrival, _ way: Arrivals.Way) {
        log.error("message put aside: workers died while they read it", metadata: ["queue": "\(arrival.queue.name)"])
        takeUnderWay = true
        let refused = Refused(
            refusal: Refusal(
                kind: .poison,
                reason: "\(Self.deadlyReaders) workers did not come to the end of reading it"
            ),
            arrival: arrival,
            line: nil,
            key: nil
        )
        refuse([refused]) { [weak self] error in
            guard let self else { return }
            self.takeUnderWay = false
            if let error { self.takeFailed([arrival], way, error) } else { self.clearSuspect([arrival]) }
        }
    }
}
