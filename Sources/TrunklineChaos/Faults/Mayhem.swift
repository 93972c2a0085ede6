internal import Synchronization
internal import TestKit

/// Does harm, by a seeded schedule of several lanes side by side, until it is told to end. A fault counts only when it hit
/// something; otherwise it waits for a moment in which it does.
final class Mayhem: Sendable {
    let stage: Stage
    let producer: Producer
    /// Length of the load: how often what happens follows from it.
    let seconds: Double
    private struct State {
        var counts: [FaultRecord.Kind: Int] = [:]
        var hits: [FaultRecord.Kind: Int] = [:]
        var isOver = false
        var misbehaviour: [String] = []
        var troubled: Set<String> = []
        var missed: [String] = []
    }
    private let state = Mutex(State())

    init(_ stage: Stage, _ producer: Producer) {
        self.stage = stage
        self.producer = producer
        seconds = stage.options.loadSeconds
    }

    /// How often each kind has hit.
    var counts: [FaultRecord.Kind: Int] { state.withLock { $0.counts } }
    /// How much each kind has hit: calls in the air, connections.
    var hits: [FaultRecord.Kind: Int] { state.withLock { $0.hits } }
    /// Sentences about workers that did not end as they were told to.
    var misbehaviour: [String] { state.withLock { $0.misbehaviour } }
    /// Faults that could not be done, in words.
    var missed: [String] { state.withLock { $0.missed } }

    var isOver: Bool { Task.isCancelled || state.withLock { $0.isOver } }

    /// Begins nothing new; what is under way is brought to its end.
    func end() { state.withLock { $0.isOver = true } }

    /// Writes a fault down, and counts it when it hit something.
    func count(_ record: FaultRecord) {
        stage.faultLog.append(record)
        guard record.hits > 0 else { return }
        state.withLock { state in
            state.counts[record.kind, default: 0] += 1
            state.hits[record.kind, default: 0] += record.hits
        }
    }

    func misbehaved(_ sentence: String) { state.withLock { $0.misbehaviour.append(sentence) } }

    func miss(_ what: String) { state.withLock { $0.missed.append(what) } }

    /// Marks a lane as in trouble; false when it is already, or when as many of its kind are as may be.
    func troubles(_ lane: LoadPlan.Lane, atMost limit: Int) -> Bool {
        state.withLock { state in
            guard state.troubled.count(where: { $0.hasPrefix(lane.kind.rawValue) }) < max(1, limit) else {
                return false
            }
            return state.troubled.insert(lane.name).inserted
        }
    }

    func calms(_ lane: LoadPlan.Lane) { state.withLock { _ = $0.troubled.remove(lane.name) } }

    /// Everything, until ``end()``; after ``setAPIFaults()``.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.labelLoop() }
            group.addTask { await self.watchLoop() }
            group.addTask { await self.workerLane() }
            if !stage.gateways.isEmpty { group.addTask { await self.gatewayLane() } }
            group.addTask { await self.brokerLane() }
            group.addTask { await self.databaseLane() }
            group.addTask { await self.proxyLane() }
            if stage.options.hasProxies { group.addTask { await self.partitionLane() } }
            group.addTask { await self.lineLane() }
            if !stage.plan.destinations.isEmpty { group.addTask { await self.destinationLane() } }
            group.addTask { await self.onceLane() }
        }
    }

    /// Sleeps, and says whether to go on.
    func pause(_ span: Duration) async -> Bool {
        let deadline = ContinuousClock.now + span
        while ContinuousClock.now < deadline {
            if isOver { return false }
            try? await Task.sleep(for: min(.milliseconds(100), deadline - ContinuousClock.now))
        }
        return !isOver
    }

    /// Asks until something holds; false after `limit`.
    func wait(_ limit: Duration, until condition: () async -> Bool) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline, !isOver {
            if await condition() { return true }
            try? await Task.sleep(for: .milliseconds(15))
        }
        return false
    }

    // MARK: The API's own faults

    /// A twentieth of all calls, in every way that the API and receivers may fail; questions for health too.
    ///
    /// - Throws: ``ChaosError`` when the simulator refuses one: a run without them would prove less than it says.
    func setAPIFaults() async throws {
        let part = stage.options.apiFaults / 0.05
        func fault(_ kind: String, _ probability: Double, _ more: String = "") -> String {
            #"{"kind":"\#(kind)","probability":\#(probability * part)\#(more)}"#
        }
        func ofCalls(on part: String) -> [String] {
            let on = #","on":"\#(part)""#
            return [
                #"{"kind":"latency","minMs":20,"maxMs":150\#(on)}"#,
                fault("status", 0.010, #","status":500"# + on),
                fault("status", 0.006, #","status":503"# + on),
                fault("status", 0.004, #","status":429,"retryAfter":1"# + on),
                fault("status", 0.002, #","status":429,"retryAfter":2,"retryAfterForm":"date""# + on),
                fault("acceptThenDrop", 0.010, on),
                fault("dropBefore", 0.010, on),
                fault("acceptThenStatus", 0.004, #","status":502"# + on),
                fault("truncate", 0.003, on),
                fault("hang", 0.0005, on),
                fault("acceptThenHang", 0.0005, on),
            ]
        }
        let ofHealth = [
            fault("status", 0.02, #","on":"health","status":503"#),
            fault("status", 0.01, #","on":"health","status":429,"retryAfter":1"#),
            fault("dropBefore", 0.015, #","on":"health""#),
            fault("hang", 0.005, #","on":"health""#),
        ]
        for fault in ofCalls(on: "messages") + ofCalls(on: "hooks") + ofHealth {
            try await stage.simulator.control("POST", "/faults", fault)
        }
    }

    // MARK: Housekeeping

    /// Says for each connection of the API which worker's it is.
    private func labelLoop() async {
        var known: Set<UInt64> = []
        while await pause(.milliseconds(300)) {
            let flows = await stage.api.openFlows()
            let new = flows.filter { !known.contains(Self.name($0)) }
            guard !new.isEmpty else { continue }
            for worker in stage.workers {
                guard let pid = worker.pid else { continue }
                let own = SocketOwners.ports(of: pid, to: stage.api.port)
                let mine = new.filter { own.contains($0.clientPort) }
                guard !mine.isEmpty else { continue }
                known.formUnion(mine.map(Self.name))
                var record = FaultRecord(.owner, hits: mine.count)
                record.worker = worker.number
                record.ports = mine.map(\.serverPort)
                stage.faultLog.append(record)
            }
        }
    }

    private static func name(_ flow: FaultProxy.OpenFlow) -> UInt64 {
        UInt64(flow.clientPort) << 16 | UInt64(flow.serverPort)
    }

    /// Starts processes that ended by themselves, for example because the database was away when they started.
    private func watchLoop() async {
        while await pause(.seconds(1)) {
            for process in stage.workers + stage.gateways where process.pid == nil && process.take() {
                do {
                    try process.start()
                } catch {
                    misbehaved("\(process.name) could not be started: \(error)")
                }
                process.giveBack()
            }
        }
    }
}
