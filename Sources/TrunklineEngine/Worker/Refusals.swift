internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// A message that is refused, as it is recorded.
struct Refused {
    let refusal: Refusal
    let arrival: Arrivals.Arrival
    var lane: LaneName?
    var key: String?
}

/// Records refusals with their reason and original bytes, then lets their deliveries be acknowledged.
final class Refusals {
    private let here: Surroundings
    private let ledger: any JobLedger

    init(_ here: Surroundings, _ ledger: any JobLedger) {
        self.here = here
        self.ledger = ledger
    }

    /// `done` is told why they could not be recorded; nil: they are.
    func record(_ refused: [Refused], done: @escaping (PostgresError?) -> Void) {
        let rows = refused.map { entry in
            RefusalRow(
                via: entry.arrival.queue.kind.via,
                refusal: entry.refusal,
                lane: entry.lane,
                key: entry.key,
                raw: entry.arrival.body,
                rawLength: Int64(entry.arrival.bodySize)
            )
        }
        ledger.refuse(rows) { [weak here] result in
            switch result {
            case .failure(let error): done(error)
            case .success:
                for entry in refused {
                    here?.log.notice(
                        "message refused",
                        metadata: ["kind": "\(entry.refusal.kind.rawValue)", "reason": "\(entry.refusal)"]
                    )
                    entry.arrival.queue.commit(entry.arrival.tag, epoch: entry.arrival.epoch)
                }
                here?.telemetry.refused += refused.count
                done(nil)
            }
        }
    }
}
