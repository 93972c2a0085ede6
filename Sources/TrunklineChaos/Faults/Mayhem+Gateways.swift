internal import Glibc
internal import TestKit

extension Mayhem {
    /// Kills and freezes gateways that have requests in the air, and takes their database or their broker from them.
    func gatewayLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "gateways")
        let every = max(3, min(12, seconds / 20))
        var kinds: [FaultRecord.Kind] = []
        while await pause(random.span(every * 0.5...every * 1.5)) {
            if kinds.isEmpty {
                kinds = [.gatewayKill, .gatewayKill, .gatewayFreeze, .gatewayCutOff].shuffled(using: &random)
            }
            let kind = kinds.removeLast()
            let span = random.span(kind == .gatewayCutOff ? 1...15 : 0.5...8)
            let part: FaultRecord.Part = random.chance(0.5) ? .database : .broker
            guard let gateway = await busyGateway(stage.gateways.shuffled(using: &random)) else { continue }
            switch kind {
            case .gatewayKill: await kill(gateway)
            case .gatewayFreeze: await freeze(gateway, span)
            default: await cutOff(gateway, part, span)
            }
            gateway.giveBack()
        }
    }

    /// A gateway with requests in the air, taken. Waits for one.
    private func busyGateway(_ order: [FleetProcess]) async -> FleetProcess? {
        var found: FleetProcess?
        _ = await wait(.seconds(10)) {
            found = order.first { $0.pid != nil && producer.requests(at: $0) > 0 && $0.take() }
            return found != nil
        }
        return found
    }

    private func kill(_ gateway: FleetProcess) async {
        let record = record(.gatewayKill, gateway)
        gateway.send(SIGKILL)
        count(record.ended())
        await replace(gateway, within: .seconds(5), after: SIGKILL, expecting: -SIGKILL)
    }

    /// Now and then longer than its callers wait: they ask another one, and it takes what they asked when it wakes up.
    private func freeze(_ gateway: FleetProcess, _ span: Duration) async {
        let record = record(.gatewayFreeze, gateway)
        gateway.send(SIGSTOP)
        _ = await pause(span)
        gateway.send(SIGCONT)
        count(record.ended())
    }

    private func cutOff(_ gateway: FleetProcess, _ part: FaultRecord.Part, _ span: Duration) async {
        var record = record(.gatewayCutOff, gateway)
        record.part = part
        let proxy = part == .database ? gateway.database : gateway.broker
        let (block, hits) = await proxy.block(.both, of: nil)
        record.hits = hits
        _ = await pause(span)
        proxy.unblock(block)
        if hits > 0 { count(record.ended()) }
    }

    private func record(_ kind: FaultRecord.Kind, _ gateway: FleetProcess) -> FaultRecord {
        var record = FaultRecord(kind)
        record.word = gateway.name
        record.hits = producer.requests(at: gateway)
        return record
    }
}
