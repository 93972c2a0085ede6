internal import TestKit

extension Mayhem {
    /// Faults on the wire, between all parts.
    func proxyLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "proxies")
        await withTaskGroup(of: Void.self) { group in
            while await pause(random.span(1...4)) {
                let worker = random.pick(stage.workers)
                let part = random.pick(
                    [.database, .database, .broker, .api, .api, .producer, .rows] as [FaultRecord.Part]
                )
                let proxy =
                    switch part {
                    case .database: worker.database
                    case .broker: worker.broker
                    case .api: stage.api
                    case .producer: stage.producer
                    case .rows: stage.rows
                    }
                var record = FaultRecord(Self.kinds(of: part, &random))
                record.part = part
                if part == .database || part == .broker { record.worker = worker.number }
                let dice = SeededGenerator(seed: random.next())
                group.addTask { [record] in await self.strike(proxy, record, dice) }
            }
        }
    }

    private static func kinds(of part: FaultRecord.Part, _ random: inout SeededGenerator) -> FaultRecord.Kind {
        let common: [FaultRecord.Kind] = [.proxyCut, .proxySlow, .proxyFreeze, .proxyCutAfter]
        switch part {
        case .database: return random.pick(common + [.proxyReply, .proxyReply, .proxyReply, .proxyReply])
        case .rows: return random.pick(common + [.proxyReply, .proxyReply])
        case .broker: return random.pick(common + [.proxyConfirm, .proxyInFrame])
        case .producer: return random.pick(common + [.proxyConfirm, .proxyConfirm, .proxyInFrame])
        case .api: return random.pick(common + [.proxyAnswer, .proxyAnswer, .proxyAnswer])
        }
    }

    /// Statements of the worker and of `enqueue` whose replies are worth losing.
    private static let statements = [
        "take", "take", "claim", "claim", "settle", "settle", "settle", "adopt", "place_due", "expire", "beat",
        "release",
    ]

    private func strike(_ proxy: FaultProxy, _ record: FaultRecord, _ dice: SeededGenerator) async {
        var (record, dice) = (record, dice)
        let how: FaultProxy.Cut = dice.chance(0.5) ? .reset : .close
        switch record.kind {
        case .proxyCut:
            record.hits = await cutSome(proxy, record, how, &dice)
            if record.hits > 0 { count(record.ended()) }
        case .proxySlow:
            let span = dice.span(4...12)
            let delay = dice.span(0.02...0.25)
            record.delay = delay.components.attoseconds / 1_000_000_000
            record.hits = await proxy.slow(by: delay, for: span)
            try? await Task.sleep(for: span)
            count(record.ended())
        case .proxyFreeze:
            let span = dice.span(1...(record.part == .api ? 6 : 9))
            record.hits = await proxy.freeze(for: span)
            try? await Task.sleep(for: span)
            count(record.ended())
        case .proxyReply:
            let statement = record.part == .rows ? "take" : dice.pick(Self.statements)
            record.word = statement
            await armed(proxy, record) { proxy.swallowReply(of: statement) }
        case .proxyConfirm: await armed(proxy, record) { proxy.swallowConfirm() }
        case .proxyInFrame: await armed(proxy, record) { proxy.cutInFrame() }
        case .proxyAnswer: await armed(proxy, record) { proxy.swallowAnswer() }
        default:
            let bytes = Int.random(in: 1...4_000, using: &dice)
            let fromServer = dice.chance(0.5)
            await armed(proxy, record) { proxy.cut(after: bytes, fromServer: fromServer, how) }
        }
    }

    /// Of the API's connections those with a call in the air, up to five; of the others all.
    private func cutSome(
        _ proxy: FaultProxy,
        _ record: FaultRecord,
        _ how: FaultProxy.Cut,
        _ dice: inout SeededGenerator
    ) async -> Int {
        guard record.part == .api else { return await proxy.cut(how) }
        let calls = await proxy.openFlows().filter(\.hasCallInTheAir).shuffled(using: &dice)
        return await proxy.cut(how, clientPorts: Set(calls.prefix(5).map(\.clientPort)))
    }

    /// Waits until the fault has struck; it does not count when it does not within some seconds.
    private func armed(_ proxy: FaultProxy, _ record: FaultRecord, _ arm: () -> Void) async {
        let before = await proxy.strikes()
        arm()
        let struck = await wait(.seconds(8)) { await proxy.strikes() > before }
        guard struck else { return proxy.disarm() }
        var record = record
        record.hits = 1
        count(record.ended())
    }
}
