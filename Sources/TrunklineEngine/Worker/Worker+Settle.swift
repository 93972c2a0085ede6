internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// Recording outcomes: fenced by the attempt number and by nothing else.
extension Worker {
    private static let batchLimit = 256

    /// Writes the outcomes that have gathered. After a lost connection the same ones again: settling twice is settling once.
    func settleOutcomes(_ now: Instant) {
        guard !outcomes.isEmpty, !settleUnderWay, settler.isConnected else { return }
        if let settleRetryAt, settleRetryAt > now { return }
        settleUnderWay = true
        let batch = Array(outcomes.prefix(settleLimit))
        outcomes.removeFirst(batch.count)
        settler.settle(batch, by: bootID) { [weak self] result in
            guard let self else { return }
            self.settleUnderWay = false
            switch result {
            case .success(let answers):
                reached(.settled, times: batch.count)
                self.settleLimit = min(Self.batchLimit, self.settleLimit * 2)
                self.settled(batch, answers)
            case .failure(let error):
                self.settleFailed(batch, error)
            }
        }
    }

    /// The next owner must know of it too, also when the connection is away at this moment.
    func keepPause(of lane: Int32, until end: Instant) {
        pausesToKeep[lane] = max(pausesToKeep[lane] ?? end, end)
    }

    /// Before the outcomes that they came with: whoever reads those as settled finds the pauses.
    func writePauses(_ now: Instant) {
        guard !pausesToKeep.isEmpty, settler.isConnected else { return }
        let pauses = pausesToKeep.sorted { $0.key < $1.key }
        pausesToKeep.removeAll(keepingCapacity: true)
        for (lane, end) in pauses where end > now {
            settler.pause(lane, for: end - now) { [weak self] result in
                guard case .failure = result else { return }
                self?.loop.after(.milliseconds(200)) { [weak self] in self?.keepPause(of: lane, until: end) }
            }
        }
    }

    private func settleFailed(_ batch: [Settlement], _ error: PostgresError) {
        var again = batch
        if !error.isConnectionLost {
            log.warning(
                "outcomes could not be recorded; trying again",
                metadata: ["error": "\(error)", "count": "\(batch.count)"]
            )
            if batch.count > 1 {
                settleLimit = max(1, batch.count / 2)
            } else if !error.isRetriable, batch[0].evidence != nil {
                // The other side's words cannot be stored; the outcome can.
                again = [batch[0].withoutEvidence]
            }
            settleRetryAt = loop.present + .milliseconds(100)
            loop.after(.milliseconds(110)) {}
        }
        outcomes.insert(contentsOf: again, at: 0)
    }

    private func settled(_ batch: [Settlement], _ answers: [SettleAnswer]) {
        let now = loop.present
        var pending: [Int64: [Settlement]] = [:]
        for settlement in batch { pending[settlement.job, default: []].append(settlement) }
        for answer in answers {
            let (id, attempt, verdict) = (answer.job, answer.attempt, answer.verdict)
            guard let settlement = pending[id]?.first(where: { $0.attempt == attempt }) else { continue }
            if case .unheard(let word) = verdict { unheard(word, of: "settle") }
            if [.stale, .lateSent, .evidence].contains(verdict) {
                log.notice(
                    "outcome came late",
                    metadata: ["job": "\(id)", "attempt": "\(attempt)", "verdict": "\(verdict.word)"]
                )
            }
            guard let call = calls[id], call.attempt == attempt else { continue }
            calls[id] = nil
            guard let lane = lanes[call.lane] else {
                // Its row may have been read before this was written.
                loading(of: call.lane)?.doubtful.insert(id)
                continue
            }
            // What was not sent has given its place under the daily cap back.
            if verdict != .sent, verdict != .unknown { lane.cappedUntil = nil }
            if verdict == .waiting || verdict == .unknown {
                let isGivenBack = settlement.outcome == .givenBack
                lane.queue.add(
                    QueuedJob(
                        id: JobID(id),
                        person: call.person,
                        place: call.place,
                        jobClass: call.jobClass,
                        due: now + settlement.dueIn,
                        attempt: attempt,
                        tries: call.tries - (isGivenBack ? 1 : 0),
                        isStamped: verdict == .unknown,
                        isSuspect: call.isSuspect && isGivenBack
                    )
                )
                retryWaits[id] = RetryWait(lane: call.lane, person: call.person, attempt: attempt)
                wakeByTier(id, attempt, lane.shard, settlement.dueIn)
            }
            lane.queue.ended(person: call.person, at: now)
            if suspectLanes.contains(lane.number) { lookAtSuspectsWithoutRoom() }
            if verdict == .stale || !verdict.isHeard {
                // Somebody took the attempt over while it was ours to settle, or a later schema has another word for what
                // became of it: the row says what goes on.
                lane.queue.hold(person: call.person)
                lookAgain(at: [id], held: [LanePerson(lane: call.lane, person: call.person)])
            }
            dueLanes.insert(call.lane)
        }
        if isDraining { drainIfDue(now) }
    }

    /// The row waits; the tier's message is a second alarm clock beside the owner's own timer.
    fileprivate func wakeByTier(_ id: Int64, _ attempt: Int32, _ shard: Int32, _ wait: Duration) {
        guard !isOff(.retryTiers) else { return }
        // A wait that is shorter than every tier has the shortest one, as a clock that may be late.
        let tier = Topology.tier(atMost: wait) ?? Topology.tiers[0]
        publisher.publishWakeUps([
            .init(
                exchange: tier.exchange,
                routingKey: Route.shard(Int(shard)),
                body: WakeUp(job: JobID(id), attempt: AttemptNumber(attempt)).encode()
            )
        ])
    }
}

extension Worker {
    /// A wake-up came, perhaps through a tier: where its job waits on, the next tier wakes again.
    func woken(_ wake: WakeUp, shard: Int32, _ now: Instant) {
        guard let known = retryWaits[wake.job.value], known.attempt == wake.attempt.value,
            let job = lanes[known.lane]?.queue.waiting(wake.job, person: known.person),
            job.due > now + .milliseconds(500)
        else { return }
        wakeByTier(wake.job.value, known.attempt, shard, job.due - now)
    }
}
