internal import Glibc
internal import TestKit

extension Mayhem {
    /// Kills and freezes, one every few seconds, each with a call in the air.
    func workerLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "workers")
        let isShort = seconds < 200
        var round = 0
        // Freezes of several workers overlap with each other and with kills.
        await withTaskGroup(of: Void.self) { group in
            while await pause(random.span(isShort ? 0.8...2.0 : 2.4...5.0)) {
                // Two kills for each freeze.
                round += 1
                let kills = round % 3 != 2
                let longest = isShort ? 6.0 : random.chance(0.15) ? 40.0 : 12.0
                let (span, rest) = (random.span(1...longest), random.span(0...2))
                let order = stage.workers.shuffled(using: &random)
                guard let worker = await busyWorker(order) else { continue }
                group.addTask { await kills ? self.kill(worker, rest) : self.freeze(worker, span) }
            }
        }
    }

    /// A worker with calls in the air, taken. Waits for one.
    private func busyWorker(_ order: [FleetProcess]) async -> FleetProcess? {
        var found: FleetProcess?
        _ = await wait(.seconds(10)) {
            for worker in order where worker.pid != nil && worker.take() {
                if await stage.calls(of: worker).inTheAir > 0 {
                    found = worker
                    return true
                }
                worker.giveBack()
            }
            return false
        }
        return found
    }

    private func kill(_ worker: FleetProcess, _ rest: Duration) async {
        defer { worker.giveBack() }
        guard var record = await stop(worker, .workerKill) else { return }
        worker.send(SIGKILL)
        // The connections are as they were when it stopped; what counts is when it ended.
        record.begin = Moment.now
        count(record.ended())
        try? await Task.sleep(for: rest)
        await replace(worker, within: .seconds(5), after: SIGKILL, expecting: -SIGKILL)
    }

    private func freeze(_ worker: FleetProcess, _ span: Duration) async {
        defer { worker.giveBack() }
        guard let record = await stop(worker, .workerFreeze) else { return }
        _ = await pause(span)
        worker.send(SIGCONT)
        count(record.ended())
    }

    /// Stops a process, and only then looks at its connections: they cannot change any more. Nil, and it goes on, when no
    /// call is in the air.
    private func stop(_ worker: FleetProcess, _ kind: FaultRecord.Kind) async -> FaultRecord? {
        var record = FaultRecord(kind)
        record.worker = worker.number
        worker.send(SIGSTOP)
        let calls = await stage.calls(of: worker)
        guard calls.inTheAir > 0 else {
            worker.send(SIGCONT)
            return nil
        }
        record.ports = calls.ports
        record.hits = calls.inTheAir
        return record
    }

    /// Starts another process; the last one must end in time by the signal that it was sent, and say so.
    func replace(_ worker: FleetProcess, within limit: Duration, after signal: Int32, expecting wanted: Int32) async {
        do {
            let status = try await worker.replace(within: limit)
            if status != wanted {
                misbehaved(
                    "\(worker.name), sent \(ChildProcess.words(for: -signal)), \(FleetProcess.words(forEnd: status))"
                )
            }
        } catch {
            misbehaved("\(worker.name) could not be started: \(error)")
        }
    }

    /// SIGTERM to one after the other: what a deploy does. Each must end by itself and say 0.
    func deploy() async {
        for worker in stage.workers.shuffled() {
            guard await wait(.seconds(60), until: { worker.take() }) else { return }
            // A process that has just begun dies of the signal, and has nothing to hand back.
            guard await wait(.seconds(20), until: { await stage.calls(of: worker).ports.count > 0 }) else {
                worker.giveBack()
                continue
            }
            var record = FaultRecord(.rollingDeploy)
            record.worker = worker.number
            record.hits = await stage.calls(of: worker).inTheAir
            worker.send(SIGTERM)
            await replace(worker, within: .seconds(45), after: SIGTERM, expecting: 0)
            worker.giveBack()
            count(record.ended())
            guard await pause(.seconds(3)) else { return }
        }
    }
}
