internal import Foundation
internal import TestKit

extension Mayhem {
    /// States in which a line takes no sends, by the simulator's words.
    private static let states = [
        "qr_required", "temporarily_unavailable", "unknown_word", "disconnected", "reconnecting",
    ]

    /// Sick lines, and holds by hand.
    func lineLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "lines")
        let every = max(4, seconds / 60)
        await withTaskGroup(of: Void.self) { group in
            while await pause(random.span(every * 0.5...every * 1.5)) {
                let line = random.pick(stage.plan.lines)
                let (state, sick, held) = (random.pick(Self.states), random.span(38...60), random.span(5...20))
                let isHold = random.chance(0.4)
                guard troubles(line, atMost: stage.plan.lines.count / 8) else { continue }
                group.addTask {
                    await isHold ? self.hold(line, .lineHold, for: held) : self.makeSick(line, state, for: sick)
                    self.calms(line)
                }
            }
        }
    }

    private func makeSick(_ line: LoadPlan.Lane, _ state: String, for span: Duration) async {
        var record = FaultRecord(.lineState, hits: 1)
        record.lane = line.name
        record.word = state
        guard (try? await stage.simulator.control("PUT", "/lines/\(line.id)/state", #"{"state":"\#(state)"}"#)) != nil
        else {
            return miss("line.state: the simulator refused it")
        }
        record.begin = Moment.now
        _ = await pause(span)
        // The interval ends before the line is well again.
        record = record.ended()
        await heal(line.id)
        count(record)
    }

    private func heal(_ line: String) async {
        for _ in 0..<50 {
            if (try? await stage.simulator.control("PUT", "/lines/\(line)/state", #"{"state":"sendable"}"#)) != nil {
                return
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
        miss("line.state: \(line) stayed sick")
    }

    /// - Parameter kind: what it counts as.
    func hold(_ lane: LoadPlan.Lane, _ kind: FaultRecord.Kind, for span: Duration) async {
        let done = try? await stage.trunkline([lane.kind.rawValue, "hold", lane.id, "--reason", "chaos"])
        guard done?.status == 0 else {
            // It may be held or not: let nobody rest on it.
            return await resume(lane)
        }
        var record = FaultRecord(kind, hits: 1)
        record.lane = lane.name
        _ = await pause(span)
        record = record.ended()
        await resume(lane)
        count(record)
    }

    func resume(_ lane: LoadPlan.Lane) async {
        for _ in 0..<120 {
            let done = try? await stage.trunkline([lane.kind.rawValue, "resume", lane.id])
            if done?.status == 0 { return }
            try? await Task.sleep(for: .milliseconds(500))
        }
        miss("\(lane.name) stayed held")
    }

    /// Everything well again, so that what is left can drain.
    func heal() async throws {
        for proxy in [stage.api, stage.producer, stage.rows]
            + (stage.workers + stage.gateways).flatMap({ [$0.database, $0.broker] })
        {
            proxy.heal()
        }
        var phase = FaultRecord(.phase)
        phase.word = FaultRecord.healed
        stage.faultLog.append(phase)
        try await stage.simulator.control("DELETE", "/faults")
        for line in stage.plan.lines { await heal(line.id) }
        try await stage.servers.database.start()
        try await stage.servers.broker.start()
        try stage.servers.requireTheirPorts()
        try await stage.servers.control.endMemoryAlarm()
        for process in stage.workers + stage.gateways {
            process.send(SIGCONT)
            try process.start()
        }
        // Whoever said that it is gone for ever is not asked again by itself.
        for destination in stage.plan.destinations { await resume(destination) }
    }
}
