internal import Crypto
internal import PostgresDriver
internal import TestKit
internal import TrunklineCore
internal import TrunklineEngine

/// A sequence of one seed: a small install with two owners, five lines, four destinations and three persons, where keys, supersede keys and
/// caps are so few that everything meets. The steps follow from the seed and from the model that has taken the steps before.
///
/// Every other seed has a theme: what takes several steps in the right order to come about is tried again and again, with
/// other steps between.
package final class ConformanceSequence {
    package static let shardCount: Int32 = 4
    /// Where every clock begins: 2026-06-01, half an hour before midnight UTC.
    package static let start: Int64 = 1_780_270_200_000_000
    /// The first number of a job, and the first revision of a changed lane.
    package static let firstNumber: Int64 = 1_000
    package static let firstRevision: Int64 = 100
    static let boots = [UInt8(0xA1), 0xB2].map { BootID(bytes: Array(repeating: $0, count: 16)) }

    package let model: LedgerModel
    private var random: SeededGenerator
    private var time = ConformanceSequence.start
    private var isBegun = false
    let theme: Theme?
    private var beats = 0
    /// The lane of the theme.
    var themeLane = 1

    package init(
        seed: UInt64,
        lanes: [LedgerModel.Lane],
        mutation: LedgerModel.Mutation?,
        weakness: LedgerModel.Weakness?
    ) {
        random = SeededGenerator(seed: seed, part: "conformance")
        theme = seed % 2 == 0 ? Theme.allCases[Int(seed / 2 % UInt64(Theme.allCases.count))] : nil
        model = LedgerModel(shardCount: Self.shardCount, clock: { Self.start })
        model.lanes = lanes
        for lane in lanes {
            model.laneStates[lane.number] = .init()
            model.laneStates[lane.number]?.gateSince = Self.start
        }
        model.lastNumber = Self.firstNumber - 1
        model.lastRevision = Self.firstRevision - 1
        model.mutation = mutation
        model.weakness = weakness
        model.clock = { [unowned self] in time }
        themeLane =
            switch theme {
            case .days: any(of: [2, 3, 5, 7])
            case .quiet, .quietlyCancelled: Int(any(8...9))
            default: Int(any(1...7))
            }
    }

    private static let numbers = Array(Int32(1)...9)

    package var now: Int64 { time }

    /// Does to the model what is outside of the port.
    package func apply(_ outside: ConformanceStep.Outside) {
        switch outside {
        case .timePasses(let milliseconds): time += milliseconds * 1_000
        case .hold(let lane, let until):
            model.changeLane(lane) {
                $0.isHeld = true
                $0.holdUntil = until
            }
        case .resume(let lane):
            model.changeLane(lane) {
                $0.isHeld = false
                $0.holdUntil = nil
            }
        case .cap(let lane, let cap): model.changeLane(lane) { $0.dailyCap = cap }
        case .remove(let lane): model.changeLane(lane) { $0.isRemoved = true }
        case .cancel(let key): model.cancel(key)
        case .reschedule(let job, let time): model.reschedule(job, to: time)
        case .replay(let job): model.replay(job)
        }
    }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool { Double(random.next() >> 11) * 0x1p-53 < probability }
    func any(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }
    func any<Element>(of elements: [Element]) -> Element { elements[Int(any(0...Int64(elements.count - 1)))] }
    private func some<Element>(of elements: [Element], most: Int) -> [Element] {
        var left = elements
        var chosen: [Element] = []
        for _ in 0..<min(most, Int(any(0...Int64(most)))) where !left.isEmpty {
            chosen.append(left.remove(at: Int(any(0...Int64(left.count - 1)))))
        }
        return chosen
    }

    private var boot: BootID { chance(0.75) ? Self.boots[0] : Self.boots[1] }
    private var someShards: [Int32] { (0..<Self.shardCount).filter { _ in chance(0.8) } }

    /// Mostly what is true; sometimes a fence that has fallen, or a shard of the other one.
    private var owner: LedgerOwner {
        let boot = boot
        var (shards, fences): ([Int32], [Int64]) = ([], [])
        for number in 0..<Self.shardCount {
            let shard = model.shards[Int(number)]
            guard shard.owner == boot || chance(0.05) else { continue }
            shards.append(number)
            fences.append(shard.fence - (chance(0.05) ? 1 : 0))
        }
        return LedgerOwner(boot: boot, shardCount: Self.shardCount, shards: shards, fences: fences)
    }

    // MARK: Steps

    package func next() -> ConformanceStep {
        if !isBegun {
            isBegun = true
            return .acquire((0..<Self.shardCount).map { ShardFence(shard: $0, fence: 0) }, Self.boots[0])
        }
        if let theme, chance(0.85) {
            let melody = Self.melody(theme)
            defer { beats += 1 }
            return step(melody[beats % melody.count])
        }
        switch any(0...99) {
        case 0..<22: return .take(take())
        case 22..<30:
            return .adopt(
                owner,
                age: .milliseconds(any(of: [0, 0, 100])),
                after: chance(0.9) ? 0 : 1_003,
                limit: Int32(any(of: [1, 500, 500]))
            )
        case 30..<46: return .claim(claim())
        case 46..<62: return .settle(settlements(), boot)
        case 62..<65: return .abandon(attempts(), owner)
        case 65: return .beginEffect(attempts(), boot)
        case 66: return credentials()
        case 67..<69: return .place(some(of: model.jobs.map(\.id), most: 4), owner)
        case 69..<72: return .expire(owner)
        case 72..<78:
            return .outside(.timePasses(any(of: [1, 60, 1_000, 5_000, 31_000, 31_000, 1_800_000, 46_800_000])))
        case 78..<84: return .outside(people())
        case 84..<90: return reading()
        case 90..<94: return lane()
        default: return fleet()
        }
    }

    private func take() -> TakeRequest {
        var batch = TakeBatch()
        for _ in 0..<any(1...3) {
            do {
                if chance(0.7) {
                    batch.append(try send(), requestBytes: [UInt8(batch.count)], fast: chance(0.6))
                } else {
                    batch.append(try delivery(), requestBytes: [UInt8(batch.count)], fast: chance(0.6))
                }
            } catch {
                preconditionFailure("not a job: \(error)")
            }
        }
        var pace = PaceWrites()
        for lane in some(of: [Int32(1), 2, 3, 6], most: 1) {
            pace.lanes.append(lane)
            pace.next.append(Int32(any(0...3_000)))
        }
        return TakeRequest(
            batch: batch,
            owner: chance(0.75) ? owner : nil,
            lease: .milliseconds(any(of: [1_000, 30_000])),
            jobClass: chance(0.8) ? .single : .bulk,
            parked: chance(0.05) ? .deadLettered : nil,
            pace: pace
        )
    }

    /// What the rules about time read of a job.
    private struct Times {
        let notBefore: Timestamp?
        let sendBefore: Timestamp?
        let supersedeKey: String?
        let factAt: Timestamp?
    }

    private func times() -> Times {
        let supersedes = chance(0.3)
        let notBefore: Int64? = chance(0.25) ? time + any(-5...60) * 1_000_000 : nil
        let sendBefore: Int64? = chance(0.25) ? (notBefore ?? time) + any(1...90) * 1_000_000 : nil
        return Times(
            notBefore: notBefore.map { Timestamp(microseconds: $0) },
            sendBefore: sendBefore.map { Timestamp(microseconds: $0) },
            supersedeKey: supersedes ? "thing:\(any(0...1))" : nil,
            factAt: supersedes ? Timestamp(microseconds: time - any(0...4) * 1_000_000) : nil
        )
    }

    private func send() throws -> SendJob {
        let times = times()
        return try SendJob(
            line: LineID(chance(0.03) ? "nobody" : "line-\(any(1...5))"),
            key: IdempotencyKey("key:\(any(0...9))"),
            to: PhoneNumber("+97250123456\(any(0...2))"),
            body: chance(0.85) ? "Ready." : "Ready!",
            purpose: .order,
            notBefore: times.notBefore,
            sendBefore: times.sendBefore,
            supersedeKey: times.supersedeKey,
            factAt: times.factAt
        )
    }

    private func delivery() throws -> DeliverJob {
        let times = times()
        return try DeliverJob(
            // Ids of lines are no ids of destinations.
            destination: DestinationID(chance(0.05) ? "line-2" : any(of: ["hook", "line-1", "note", "list"])),
            key: IdempotencyKey("key:\(any(0...9))"),
            type: "order.ready",
            happenedAt: Timestamp(microseconds: Self.start),
            data: .object([.init("order", .number(chance(0.85) ? "1" : "2"))]),
            notBefore: times.notBefore,
            sendBefore: times.sendBefore,
            supersedeKey: times.supersedeKey,
            factAt: times.factAt,
            orderingKey: chance(0.7) ? "customer:\(any(0...1))" : nil
        )
    }

    private func claim() -> ClaimRequest {
        let waiting = model.jobs.filter { [.waiting, .unknown].contains($0.state) }.map(\.id)
        var jobs = some(of: waiting, most: 4)
        for job in some(of: model.jobs.map(\.id), most: 1) + (chance(0.05) ? [77] : []) where !jobs.contains(job) {
            jobs.append(job)
        }
        var pace = PaceWrites()
        for lane in some(of: model.lanes.map(\.number), most: 2) {
            pace.lanes.append(lane)
            pace.next.append(Int32(any(0...3_000)))
        }
        return ClaimRequest(jobs: jobs, owner: owner, lease: .milliseconds(any(of: [1_000, 30_000])), pace: pace)
    }

    private func settlements() -> [Settlement] {
        let sending = model.jobs.filter { $0.state == .sending }.map(\.id)
        var jobs = some(of: sending, most: 3)
        let others = model.jobs.filter { $0.attempt > 0 }.map(\.id) + model.finished.keys.sorted()
        for job in some(of: others, most: 1) where !jobs.contains(job) { jobs.append(job) }
        return jobs.map { job in
            let attempt = model.row(job)?.attempt ?? model.finished[job]?.attempt ?? 1
            let outcome = any(of: SettleOutcome.allCases + [.sent, .unknown])
            return Settlement(
                job: job,
                attempt: max(1, attempt - (chance(0.12) ? 1 : 0)),
                outcome: outcome,
                reason: outcome == .sent ? nil : any(of: ["timed_out", "server_error"]),
                dueIn: .milliseconds(any(of: [0, 0, 2_000, 20_000])),
                mayHaveLeft: outcome == .unknown || outcome == .park && chance(0.3),
                remoteID: outcome == .sent ? "remote-\(job)" : nil,
                status: chance(0.5) ? Int32(any(200...503)) : nil,
                evidence: chance(0.3) ? "evidence \(any(0...9))" : nil
            )
        }
    }

    private func attempts() -> [JobAttempt] {
        model.jobs.filter { $0.attempt > 0 && ($0.state == .sending || chance(0.1)) }.map {
            JobAttempt(job: $0.id, attempt: $0.attempt - (chance(0.1) ? 1 : 0))
        }
    }

    func credentials() -> ConformanceStep {
        let lane = Int32(any(of: [8, 8, 9]))
        let generation = max(0, (model.credentials[lane]?.generation ?? 0) - (chance(0.2) ? 1 : 0))
        let new = SealedCredentials(bytes: [UInt8(any(0...9))], keyVersion: 1)
        switch any(0...9) {
        case 0: return .credentials(lane)
        case 1...4:
            return .beginRefresh(
                RefreshRequest(lane: lane, generation: generation, owner: owner, lease: .seconds(any(of: [1, 30])))
            )
        case 5: return .endRefresh(RefreshEnd(lane: lane, generation: generation, renewed: nil), boot)
        default:
            return .endRefresh(
                RefreshEnd(lane: lane, generation: generation, renewed: new, lastsFor: .seconds(any(1...9))),
                boot
            )
        }
    }

    private func people() -> ConformanceStep.Outside {
        let lane = Int(any(0...9))
        let job = model.jobs.isEmpty ? 77 : any(of: model.jobs).id
        let parked = model.jobs.filter(\.isParked)
        switch any(0...9) {
        case 0: return .hold(lane, until: chance(0.5) ? time + 3_000_000 : nil)
        case 1, 2: return .resume(lane)
        case 3: return .cap(lane, chance(0.3) ? nil : Int32(any(1...3)))
        case 4: return chance(0.2) ? .remove(lane) : .resume(lane)
        case 5, 6: return .cancel("key:\(any(0...9))")
        case 7: return .reschedule(job, to: time + any(of: [-1, 0, 10]) * 1_000_000)
        default: return .replay(parked.isEmpty ? job : any(of: parked).id)
        }
    }

    private func reading() -> ConformanceStep {
        switch any(0...6) {
        case 0, 1:
            let key =
                model.jobs.isEmpty || chance(0.5)
                ? RowKey.start
                : any(of: model.jobs.map { RowKey(person: $0.person, place: $0.place, job: $0.id) })
            return .load(some(of: Self.numbers, most: 7), after: key, limit: Int32(any(of: [2, 50])))
        case 2: return .watch(some(of: model.jobs.map(\.id) + [77], most: 5))
        case 3: return .lanes(someShards)
        case 4, 5: return .lastSends(someShards)
        default: return .forgotten(someShards, busy: some(of: Self.numbers, most: 2))
        }
    }

    private func lane() -> ConformanceStep {
        let lane = Int32(any(1...10))
        switch any(0...3) {
        case 0: return .pause(lane, .milliseconds(any(of: [1_000, 60_000])))
        case 1: return .holdTold([lane])
        default:
            let gate: Gate.Word = any(of: [.open, .heldTransient, .heldHuman, .probing, .ramping])
            return .keepGates([
                GateRow(
                    lane: lane,
                    gate: gate,
                    reason: chance(0.5) ? "line_not_sendable" : nil,
                    probes: Int32(any(0...3)),
                    nextProbeIn: chance(0.5) ? .milliseconds(any(0...60_000)) : nil,
                    rampingFor: gate == .ramping ? .milliseconds(any(0...9_000)) : nil
                )
            ])
        }
    }

    private func fleet() -> ConformanceStep {
        let origin = "http://api-\(any(0...1))"
        switch any(0...17) {
        case 0, 1: return .beat(heartbeat())
        case 2: return .fleet
        case 3: return .shards
        case 4, 5:
            let wanted = someShards.map {
                ShardFence(shard: $0, fence: model.shards[Int($0)].fence - (chance(0.2) ? 1 : 0))
            }
            return .acquire(wanted, boot)
        case 6: return .release(someShards, boot)
        case 7: return .forget(Self.boots)
        case 8: return .breakers
        case 9, 10:
            return .openBreaker(
                BreakerOpening(origin: origin, reason: "test", nextProbeIn: .milliseconds(any(0...9_000))),
                boot
            )
        case 11: return .probeBreaker(origin, boot)
        case 12:
            return .endProbe(
                ProbeEnd(origin: origin, isAnswered: chance(0.5), nextProbeIn: .milliseconds(any(0...9_000))),
                boot
            )
        case 13: return .configuredLanes(after: any(of: [0, 100, 101]), and: chance(0.5) ? [2, 6] : [])
        case 14: return message()
        case 15: return .acceptEvents((0..<any(1...3)).map { _ in event() })
        case 16: return chance(0.5) ? message() : .shardCount
        default: return chance(0.5) ? .terminate(Self.boots) : .waitsForUs(.init(pid: 1, start: 1))
        }
    }

    private func heartbeat() -> Heartbeat {
        Heartbeat(
            boot: boot,
            host: "here",
            processID: 42,
            version: "1",
            backends: [],
            hasBroker: chance(0.8),
            isStopping: chance(0.2),
            origins: some(of: ["http://api-0", "http://api-1"], most: 2).map {
                OriginReport(
                    origin: $0,
                    counts: CallCounts(active: Int(any(0...9)), failing: Int(any(0...3))),
                    reach: any(of: [.answers, .silent, nil])
                )
            }
        )
    }

    private func message() -> ConformanceStep {
        let raw = Array("message \(any(0...2))".utf8)
        switch any(0...2) {
        case 0:
            return .refuse([
                RefusalRow(
                    via: "intake",
                    refusal: Refusal(kind: .malformed, reason: "no JSON"),
                    lane: nil,
                    key: nil,
                    raw: raw,
                    rawLength: Int64(raw.count)
                )
            ])
        case 1: return .unsuspect(Array(SHA256.hash(data: raw)))
        default:
            return .suspect(
                SuspectMessage(
                    digest: Array(SHA256.hash(data: raw)),
                    via: "intake",
                    raw: raw,
                    rawLength: Int64(raw.count)
                ),
                boot
            )
        }
    }

    private func event() -> NamedEvent {
        do {
            let event = try WebhookJob(
                source: SourceID(any(of: ["shop", "shop", "shop", "lost"])),
                headers: [],
                body: Array("body \(any(0...1))".utf8),
                receivedAt: Timestamp(microseconds: time)
            )
            let key = EventKey("event-\(any(0...2))")
            return NamedEvent(event, EventName(key: key, orderingName: "record \(any(0...1))"))
        } catch {
            preconditionFailure("not an event: \(error)")
        }
    }
}
