internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Whether what is in memory is still what is in the database: every 10 s.
extension Worker {
    /// The row is the truth: a shard is loaded again when the database has jobs that should have begun in a lane of which
    /// nothing is in memory. Every 10 s.
    func auditIfDue(_ now: Instant) {
        guard intake.isConnected, mayAct(at: now), lastAudit.map({ now - $0 >= .seconds(10) }) ?? true else { return }
        lastAudit = now
        var busy = Set(newLanes.keys)
        for lane in lanes.values where lane.queue.count > 0 || lane.queue.inAir > 0 { busy.insert(lane.number) }
        for attempt in foreign.values { busy.insert(attempt.lane) }
        let owned = shards.values.filter { $0.phase == .owned }.map(\.number).sorted()
        guard !owned.isEmpty else { return }
        forgetEndedRetries()
        intake.forgotten(ofShards: owned, of: shardCount, busy: busy.sorted()) { [weak self] result in
            guard let self, case .success(let numbers) = result else { return }
            for number in numbers {
                guard let shard = self.shards[number], shard.phase == .owned else { continue }
                self.log.notice(
                    "shard loaded again: jobs in the database that were not in memory",
                    metadata: ["shard": "\(number)"]
                )
                self.load(shard)
            }
        }
    }

    /// A job that waits for its next try may have been cancelled or superseded meanwhile: what stands behind it must not
    /// wait for a try that never comes. All of them in turn, a batch at a time.
    private func forgetEndedRetries() {
        if retriesToCheck.isEmpty { for id in retryWaits.keys { retriesToCheck.join(id) } }
        var asked: [Int64] = []
        while asked.count < Self.watchLimit, let id = retriesToCheck.next() {
            if let wait = retryWaits[id], lanes[wait.lane] != nil { asked.append(id) }
        }
        guard !asked.isEmpty else { return }
        intake.watch(asked) { [weak self] result in
            guard let self, case .success(let rows) = result else { return }
            let there = Set(rows.map(\.id))
            for id in asked where !there.contains(id) && calls[id] == nil {
                guard let wait = retryWaits.removeValue(forKey: id), let lane = lanes[wait.lane] else { continue }
                if lane.queue.remove(JobID(id), person: wait.person) { dueLanes.insert(wait.lane) }
            }
        }
    }
}
