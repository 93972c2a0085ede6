internal import TrunklineCore
internal import TrunklineEngine

extension ConformanceSequence {
    enum Theme: CaseIterable {
        /// Workers are lost over one job.
        case poison
        /// A lost worker's job goes well the next time.
        case forgiven
        /// Nobody can say for half a day whether it was sent.
        case doubt
        /// Somebody cancels what is in the air.
        case cancelled
        /// Workers are lost before and after an attempt's first call that may take effect.
        case quiet
        /// Somebody cancels what has made no such call yet.
        case quietlyCancelled
        /// Two owners and one lane's credentials.
        case refreshed
        /// The days of a lane with a cap.
        case days
        /// Scheduled notices of one person, the later one first.
        case scheduled
        /// A newer fact comes while an attempt runs.
        case replaced
        /// A breaker that opens, is probed and closes.
        case breaker
        /// A gate that is held, asked and held.
        case gate
    }

    enum Beat {
        case refresh, beginRefresh, handOver, take, adopt, claim, pass(Int64), beginEffect, abandon, cancel, settle(
            [SettleOutcome]
        ), expire
        /// In so many seconds.
        case schedule(Int64)
        /// About one thing, of this moment.
        case fact
        case place
        case openBreaker, probeBreaker, endProbe
        case gate(Gate.Word), lanes
    }

    static func melody(_ theme: Theme) -> [Beat] {
        switch theme {
        case .poison: [.take, .adopt] + Array(repeating: [.claim, .pass(31_000), .abandon], count: 6).flatMap { $0 }
        case .forgiven:
            [.take, .adopt, .claim, .pass(31_000), .abandon, .claim, .settle([.retry, .givenBack, .unknown])]
        case .doubt:
            [
                .take, .adopt, .claim, .settle([.unknown]), .claim, .pass(46_800_000), .settle([.unknown, .retry]),
                .expire,
            ]
                + [.claim, .settle([.unknown]), .pass(46_800_000), .claim]
        case .cancelled: [.take, .adopt, .claim, .cancel, .settle([.retry, .givenBack, .unknown])]
        case .quiet:
            [.take, .adopt, .claim, .pass(31_000), .abandon, .claim, .beginEffect, .pass(31_000), .abandon]
                + [.claim, .pass(31_000), .abandon, .claim, .beginEffect, .settle([.sent, .unknown, .retry])]
        case .quietlyCancelled:
            [.take, .adopt, .claim, .cancel, .beginEffect, .pass(31_000), .abandon]
        case .refreshed: [.beginRefresh, .handOver, .beginRefresh, .refresh, .refresh]
        case .replaced:
            [.fact, .adopt, .claim, .pass(1_000), .fact, .settle([.retry, .givenBack, .unknown]), .claim, .adopt]
        case .scheduled: [.schedule(60), .schedule(5), .adopt, .pass(61_000), .place]
        case .breaker: [.openBreaker, .probeBreaker, .endProbe, .pass(1_000), .openBreaker, .pass(5_000)]
        case .gate: [.gate(.heldTransient), .pass(1_000), .gate(.probing), .lanes]
        case .days: [.take, .adopt, .claim, .take, .adopt, .claim, .settle([.sent, .retry]), .pass(46_800_000)]
        }
    }

    private var running: [JobAttempt] {
        model.jobs.filter { $0.state == .sending }.map { JobAttempt(job: $0.id, attempt: $0.attempt) }
    }

    /// What is true of it.
    private func trueOwner(_ boot: BootID) -> LedgerOwner {
        let mine = (0..<Self.shardCount).filter { model.shards[Int($0)].owner == boot }
        return LedgerOwner(
            boot: boot,
            shardCount: Self.shardCount,
            shards: mine,
            fences: mine.map { model.shards[Int($0)].fence }
        )
    }

    func step(_ beat: Beat) -> ConformanceStep {
        let boot = Self.boots[0]
        let owner = trueOwner(boot)
        switch beat {
        case .take: return .take(take(owner, notBefore: nil))
        case .fact: return .take(take(owner, notBefore: nil, isFact: true))
        case .schedule(let seconds): return .take(take(owner, notBefore: now + seconds * 1_000_000))
        case .place: return .place(model.jobs.map(\.id), owner)
        case .openBreaker:
            return .openBreaker(BreakerOpening(origin: "http://api-0", reason: "test", nextProbeIn: .zero), boot)
        case .probeBreaker: return .probeBreaker("http://api-0", boot)
        case .endProbe:
            return .endProbe(ProbeEnd(origin: "http://api-0", isAnswered: true, nextProbeIn: .seconds(1)), boot)
        case .gate(let word):
            return .keepGates([
                GateRow(
                    lane: Int32(themeLane),
                    gate: word,
                    reason: "line_not_sendable",
                    probes: 1,
                    nextProbeIn: .seconds(1),
                    rampingFor: nil
                )
            ])
        case .lanes: return .lanes(Array(0..<Self.shardCount))
        case .adopt: return .adopt(owner, age: .zero, after: 0, limit: 500)
        case .claim:
            let jobs = model.jobs.filter { [.waiting, .unknown].contains($0.state) }.map(\.id)
            return .claim(ClaimRequest(jobs: jobs, owner: owner, lease: .seconds(1)))
        case .pass(let milliseconds): return .outside(.timePasses(milliseconds))
        case .refresh: return credentials()
        case .beginRefresh:
            let lane: Int32 = 8
            let boot = model.shards[Int(model.shard(ofLane: lane))].owner ?? boot
            return .beginRefresh(
                RefreshRequest(
                    lane: lane,
                    generation: model.credentials[lane]?.generation ?? 0,
                    owner: trueOwner(boot),
                    lease: .seconds(30)
                )
            )
        case .handOver:
            let other = Self.boots.first { $0 != model.shards[0].owner } ?? boot
            return .acquire(
                (0..<Self.shardCount).map { ShardFence(shard: $0, fence: model.shards[Int($0)].fence) },
                other
            )
        case .beginEffect: return .beginEffect(running, boot)
        case .abandon: return .abandon(running, owner)
        case .cancel:
            let running = model.jobs.filter { $0.state == .sending }
            return .outside(.cancel(running.first?.key ?? "key:0"))
        case .settle(let outcomes):
            let running = model.jobs.filter { $0.state == .sending }
            return .settle(
                running.map { row in
                    let outcome = any(of: outcomes)
                    return Settlement(
                        job: row.id,
                        attempt: row.attempt,
                        outcome: outcome,
                        reason: outcome == .sent ? nil : "timed_out",
                        mayHaveLeft: outcome == .unknown
                    )
                },
                boot
            )
        case .expire: return .expire(owner)
        }
    }

    /// A plain job of the theme's lane, always for one person but in the days.
    private func take(_ owner: LedgerOwner, notBefore: Int64?, isFact: Bool = false) -> TakeRequest {
        var batch = TakeBatch()
        let notBefore = notBefore.map { Timestamp(microseconds: $0) }
        let person = theme == .days ? any(0...2) : 0
        let thing = isFact ? "thing:0" : nil
        let factAt = isFact ? Timestamp(microseconds: now) : nil
        do {
            let key = try IdempotencyKey("key:\(any(0...9))")
            switch model.lanes[themeLane - 1].name {
            case .line(let line):
                let job = try SendJob(
                    line: line,
                    key: key,
                    to: PhoneNumber("+97250123456\(person)"),
                    body: "Ready.",
                    purpose: .order,
                    notBefore: notBefore,
                    supersedeKey: thing,
                    factAt: factAt
                )
                batch.append(job, requestBytes: [7], fast: chance(0.5))
            case .destination(let destination):
                let job = try DeliverJob(
                    destination: destination,
                    key: key,
                    type: "order.ready",
                    happenedAt: Timestamp(microseconds: Self.start),
                    data: .object([]),
                    notBefore: notBefore,
                    supersedeKey: thing,
                    factAt: factAt,
                    orderingKey: "customer:\(person)"
                )
                batch.append(job, requestBytes: [7], fast: chance(0.5))
            case .source: preconditionFailure("no theme is about a source's lane")
            }
        } catch {
            preconditionFailure("not a job: \(error)")
        }
        return TakeRequest(batch: batch, owner: chance(0.5) ? owner : nil, lease: .seconds(1))
    }
}
