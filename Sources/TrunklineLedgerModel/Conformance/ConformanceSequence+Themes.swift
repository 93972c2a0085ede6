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
        /// The days of a line with a cap.
        case days
        /// Scheduled notices of one person, the later one first.
        case scheduled
        /// A breaker that opens, is probed and closes.
        case breaker
        /// A gate that is held, asked and held.
        case gate
    }

    enum Beat {
        case take, adopt, claim, pass(Int64), abandon, cancel, settle([SettleOutcome]), expire
        /// In so many seconds.
        case schedule(Int64)
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
        case .scheduled: [.schedule(60), .schedule(5), .adopt, .pass(61_000), .place]
        case .breaker: [.openBreaker, .probeBreaker, .endProbe, .pass(1_000), .openBreaker, .pass(5_000)]
        case .gate: [.gate(.heldTransient), .pass(1_000), .gate(.probing), .lanes]
        case .days: [.take, .adopt, .claim, .take, .adopt, .claim, .settle([.sent, .retry]), .pass(46_800_000)]
        }
    }

    func step(_ beat: Beat) -> ConformanceStep {
        let boot = Self.boots[0]
        let mine = (0..<Self.shardCount).filter { model.shards[Int($0)].owner == boot }
        let owner = LedgerOwner(
            boot: boot,
            shardCount: Self.shardCount,
            shards: mine,
            fences: mine.map { model.shards[Int($0)].fence }
        )
        switch beat {
        case .take: return .take(take(owner, notBefore: nil))
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
                    lane: Int32(themeLine),
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
        case .abandon:
            let running = model.jobs.filter { $0.state == .sending }
            return .abandon(running.map { JobAttempt(job: $0.id, attempt: $0.attempt) }, owner)
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

    /// A plain notice of the theme's line.
    private func take(_ owner: LedgerOwner, notBefore: Int64?) -> TakeRequest {
        var batch = TakeBatch()
        do {
            let job = try SendJob(
                line: LineID("line-\(themeLine)"),
                key: IdempotencyKey("key:\(any(0...9))"),
                to: PhoneNumber("+97250123456\(theme == .days ? any(0...2) : 0)"),
                body: "Ready.",
                purpose: .order,
                notBefore: notBefore.map { Timestamp(microseconds: $0) }
            )
            batch.append(job, requestBytes: [7], fast: chance(0.5))
        } catch {
            preconditionFailure("not a job: \(error)")
        }
        return TakeRequest(batch: batch, owner: chance(0.5) ? owner : nil, lease: .seconds(1))
    }
}
