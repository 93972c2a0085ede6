internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Commits that attempts which began quietly may take effect from now on, before they make the call that may.
final class Effects {
    private static let batchLimit = 256

    private struct Wish {
        let attempt: JobAttempt
        let done: (Bool) -> Void
    }

    private let here: Surroundings
    private let attempts: Attempts
    private let ledger: any OutcomeLedger
    private var wishes: [Wish] = []
    private var isWriting = false

    init(_ here: Surroundings, _ attempts: Attempts, _ ledger: any OutcomeLedger) {
        self.here = here
        self.attempts = attempts
        self.ledger = ledger
    }

    /// `done` is told whether the call may be made. If not, or if nobody knows, nothing has left, and the attempt is over.
    func begin(_ call: Call, _ done: @escaping (Bool) -> Void) {
        wishes.append(Wish(attempt: JobAttempt(job: call.job, attempt: call.attempt), done: done))
    }

    /// Writes what has gathered.
    func write() {
        guard !wishes.isEmpty, !isWriting else { return }
        let batch = Array(wishes.prefix(Self.batchLimit))
        wishes.removeFirst(batch.count)
        // Nothing waits for a connection: leases run.
        guard ledger.isConnected else { return answer(batch, []) }
        isWriting = true
        let sent = here.now
        ledger.beginEffect(batch.map(\.attempt), by: here.boot, lease: here.timing.lease) { [weak self] result in
            guard let self else { return }
            isWriting = false
            switch result {
            case .success(let begun):
                here.reached(.marked, times: begun.count)
                for attempt in begun { attempts.effectBegan(attempt, at: sent) }
                answer(batch, Set(begun))
            case .failure(let error):
                if !error.isConnectionLost {
                    here.log.warning("calls could not be announced", metadata: ["error": "\(error)"])
                }
                answer(batch, [])
            }
        }
    }

    private func answer(_ batch: [Wish], _ begun: Set<JobAttempt>) {
        for wish in batch { wish.done(begun.contains(wish.attempt)) }
    }
}
