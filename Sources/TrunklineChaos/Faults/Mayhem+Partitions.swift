internal import TestKit

extension Mayhem {
    /// One worker is partitioned from one server: sockets stay open and nothing passes, in both directions or in one.
    func partitionLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "partitions")
        // One of each server in every three, so that a short run meets all of them.
        var parts: [FaultRecord.Part] = []
        let every = max(5, seconds / 40)
        await withTaskGroup(of: Void.self) { group in
            while await pause(random.span(every * 0.5...every * 1.5)) {
                if parts.isEmpty { parts = [.database, .broker, .api].shuffled(using: &random) }
                var record = FaultRecord(.partition)
                record.part = parts.removeLast()
                record.direction = random.pick(FaultProxy.Direction.allCases)
                let span = random.chance(0.2) ? random.span(20...60) : random.span(1...20)
                let order = stage.workers.shuffled(using: &random)
                guard let worker = order.first(where: { $0.pid != nil }) else { continue }
                group.addTask { [record] in await self.partition(worker, record, span) }
            }
        }
    }

    private func partition(_ worker: FleetProcess, _ record: FaultRecord, _ span: Duration) async {
        var record = record
        record.worker = worker.number
        let api = stage.api.port
        let (proxy, covers): (FaultProxy, FaultProxy.Covers?) =
            switch record.part {
            case .database: (worker.database, nil)
            case .broker: (worker.broker, nil)
            // All workers share it: the kernel's tables say whose a connection is.
            default:
                (
                    stage.api,
                    { ports in worker.pid.map { SocketOwners.ports(of: $0, to: api) }?.intersection(ports) ?? [] }
                )
            }
        record.begin = Moment.now
        let (block, hits) = await proxy.block(record.direction ?? .both, of: covers)
        record.hits = hits
        _ = await pause(span)
        proxy.unblock(block)
        if hits > 0 { count(record.ended()) }
    }
}
