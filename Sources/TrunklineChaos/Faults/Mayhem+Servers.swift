internal import TestKit

extension Mayhem {
    /// Restarts and kills of the broker, and memory alarms, with messages unconfirmed or calls in the air.
    func brokerLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "broker")
        let rounds = max(2, Int(seconds / 52))
        let bag: [FaultRecord.Kind] = [.brokerRestart, .brokerKill, .brokerRestart, .brokerMemory]
        for round in 0..<rounds {
            // The next begins when its time has come, however long the last took.
            let at = seconds * (Double(round) + Double.random(in: 0.35...0.65, using: &random)) / Double(rounds)
            guard await waitUntil(at), case let hits = await work(), hits > 0 else { continue }
            let record = FaultRecord(bag[round % bag.count], hits: hits)
            do {
                switch record.kind {
                case .brokerRestart: try await stage.servers.broker.restart()
                case .brokerKill:
                    try await stage.servers.broker.kill()
                    try await stage.servers.broker.start()
                default:
                    try await stage.servers.control.raiseMemoryAlarm()
                    _ = await pause(random.span(3...8))
                    try await stage.servers.control.endMemoryAlarm()
                }
                count(record.ended())
            } catch {
                miss("\(record.kind.rawValue): \(error)")
                try? await stage.servers.broker.start()
            }
        }
    }

    /// Crashes (SIGKILL to the server and all its children) and restarts of the database, with calls in the air.
    func databaseLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "database")
        let rounds = max(1, Int(seconds / 60))
        let bag: [FaultRecord.Kind] = [.databaseCrash, .databaseCrash, .databaseRestart]
        for round in 0..<rounds {
            let at = seconds * (Double(round) + Double.random(in: 0.3...0.6, using: &random)) / Double(rounds)
            guard await waitUntil(at), case let hits = await work(), hits > 0 else { continue }
            let record = FaultRecord(bag[round % bag.count], hits: hits)
            do {
                if record.kind == .databaseCrash {
                    try await stage.servers.database.crash()
                    try await stage.servers.database.start()
                } else {
                    try await stage.servers.database.restart()
                }
                count(record.ended())
            } catch {
                miss("\(record.kind.rawValue): \(error)")
                try? await stage.servers.database.start()
            }
        }
    }

    /// What happens once or twice: rolling deploys, and a queue that somebody deletes.
    func onceLane() async {
        if seconds > 200 {
            guard await waitUntil(seconds * 0.25) else { return }
            await deploy()
            guard await waitUntil(seconds * 0.5) else { return }
            await deleteQueue()
            guard await waitUntil(seconds * 0.72) else { return }
            await deploy()
        } else if await waitUntil(seconds * 0.6) {
            await deleteQueue()
        }
    }

    /// Names without `trunkline.`; none when the broker does not answer.
    private func emptyShardQueues() async -> [String] {
        let prefix = "trunkline."
        let empty = (try? await stage.servers.messages().filter { $0.value == 0 }) ?? [:]
        return empty.keys.filter { $0.hasPrefix(prefix + "shard.") }.map { String($0.dropFirst(prefix.count)) }.sorted()
    }

    /// Deletes the queue of one shard while it is empty and nobody publishes: nobody promises the messages of a deleted
    /// queue. From then on the shard's messages go another way, until the queue is there again.
    private func deleteQueue() async {
        producer.book.setPaused(true)
        defer { producer.book.setPaused(false) }
        var random = SeededGenerator(seed: stage.options.seed, part: "queue")
        var empty: [String] = []
        let isFound = await wait(.seconds(40)) {
            guard producer.book.onTheWire == 0 else { return false }
            empty = await emptyShardQueues()
            return !empty.isEmpty
        }
        guard isFound else { return miss("broker.queue_deleted: no queue gets empty") }
        let name = random.pick(empty)
        var record = FaultRecord(.brokerQueueDeleted, hits: 1)
        record.queue = name
        do {
            try await stage.servers.control.deleteQueue("trunkline.\(name)", of: Servers.name)
            count(record.ended())
        } catch {
            miss("broker.queue_deleted: \(error)")
        }
    }

    // MARK: Moments

    /// Waits for so many seconds of the load.
    private func waitUntil(_ second: Double) async -> Bool {
        await pause(.milliseconds(max(0, Int64((second - producer.elapsed) * 1_000))))
    }

    private func callsInTheAir() async -> Int { await stage.api.openFlows().count { $0.hasCallInTheAir } }

    /// Messages that are not confirmed, or calls in the air, as soon as there are any; 0 when there are none for long. A fault
    /// that hits nothing proves nothing.
    private func work() async -> Int {
        var found = 0
        _ = await wait(.seconds(30)) {
            found = max(producer.unconfirmed, await callsInTheAir())
            return found > 0
        }
        return found
    }
}
