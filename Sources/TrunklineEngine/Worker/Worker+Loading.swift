internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// What is read of a shard, or of one line that was added to it, before anything of it may begin.
///
/// Rows come in slices, and a slice is taken in per turn: heartbeats and the lanes of other shards go on meanwhile. The
/// lanes that are built stand apart until the last row is known.
final class Loading {
    let shard: Int32
    /// The one lane that is read; nil: all of the shard.
    let lane: Int32?
    let generation: UInt64
    /// Lanes whose rows are not all read yet; the first one is read from behind `key`.
    var left: [Int32]
    var key = RowKey.start
    var lanes: [Int32: Worker.Lane] = [:]
    /// Jobs that are not waiting: looked at when everything else is known.
    var others: [SeenJob] = []
    /// Jobs to which something happened while rows were being read: read again at the end.
    var doubtful: Set<Int64> = []

    init(shard: Int32, lane: Int32?, generation: UInt64, lanes: [Int32]) {
        self.shard = shard
        self.lane = lane
        self.generation = generation
        left = lanes
    }
}

/// Loading what an owner must know, and what is known of a row.
extension Worker {
    /// Lanes in one statement, and shards that are read at the same time: a claim waits behind few slices at most.
    private static let lanesAtOnce = 500
    private static let loadsAtOnce = 4
    /// How long a shard that is read waits for those that are being read, to be asked about together with them.
    private static let readPatience: Duration = .seconds(1)
    /// Rows in one statement that reads known jobs again.
    static let watchLimit = 1_000

    /// Reads everything about a shard that its owner must know; for a new owner and after a lost connection alike.
    func load(_ shard: Shard) {
        shard.phase = .loading
        shard.generation += 1
        forgetLanes(of: [shard.number])
        guard intake.isConnected else {
            reloadWanted = true
            return
        }
        let loading = Loading(
            shard: shard.number,
            lane: nil,
            generation: shard.generation,
            lanes: lanesOfShard[shard.number] ?? []
        )
        shard.loading = loading
        begin(loading)
    }

    /// A line was added: its lane is read if its shard is known here, and its shard's other lanes do not notice.
    func loadNew(_ lane: Int32, of number: Int32) {
        guard let shard = shards[number] else { return }
        if let loading = shard.loading {
            loading.left.append(lane)
        } else if shard.phase == .owned, intake.isConnected {
            let loading = Loading(shard: number, lane: lane, generation: shard.generation, lanes: [lane])
            newLanes[lane] = loading
            begin(loading)
        }
    }

    /// What of the lane is being read at this moment.
    func loading(of lane: Int32) -> Loading? {
        newLanes[lane] ?? shardOfLane[lane].flatMap { shards[$0]?.loading }
    }

    private func begin(_ loading: Loading) {
        loadsWaiting.append(loading)
        loadNext()
    }

    private func loadNext() {
        while loadsUnderWay.count < Self.loadsAtOnce, !loadsWaiting.isEmpty {
            let loading = loadsWaiting.removeFirst()
            guard isWanted(loading) else { continue }
            loadsUnderWay[ObjectIdentifier(loading)] = loading
            readRows(loading)
        }
    }

    /// Whether the shard is still ours, and nobody began to read it anew.
    private func isWanted(_ loading: Loading) -> Bool {
        guard let shard = shards[loading.shard], shard.generation == loading.generation else { return false }
        return loading.lane.map { newLanes[$0] === loading } ?? (shard.loading === loading)
    }

    /// Its rows are read, or it is not wanted any more: the next one's turn.
    private func ended(_ loading: Loading) {
        guard loadsUnderWay.removeValue(forKey: ObjectIdentifier(loading)) != nil else { return }
        loadNext()
        readPastIfTime()
    }

    /// What a reply is worth: nothing when the shard is not ours any more, and after an error the same is read once more.
    private func rows(
        _ result: Result<[SeenJob], PostgresError>,
        of loading: Loading,
        again: @escaping () -> Void
    ) -> [SeenJob]? {
        switch result {
        case .success(let rows):
            if isWanted(loading) { return rows }
            ended(loading)
        case .failure(let error):
            // A lost connection forgets every loading, and begins anew when it is back.
            if error.isConnectionLost { return nil }
            guard isWanted(loading) else {
                ended(loading)
                return nil
            }
            log.warning("shard could not be loaded", metadata: ["shard": "\(loading.shard)", "error": "\(error)"])
            loop.after(.seconds(1)) { [weak self] in
                guard let self else { return }
                if isWanted(loading) { again() } else { ended(loading) }
            }
        }
        return nil
    }

    private func readRows(_ loading: Loading) {
        guard !loading.left.isEmpty else {
            loadsRead.append(loading)
            loadsReadSince = loadsReadSince ?? loop.present
            return ended(loading)
        }
        let lanes = Array(loading.left.prefix(Self.lanesAtOnce))
        let limit = configuration.loadSlice
        intake.load(lanes, after: loading.key, limit: Int32(clamping: limit)) { [weak self] result in
            guard let self, let jobs = rows(result, of: loading, again: { [weak self] in self?.readRows(loading) })
            else { return }
            if jobs.count >= limit, let last = jobs.last, let index = loading.left.firstIndex(of: last.lane) {
                loading.left.removeFirst(index)
                loading.key = RowKey(person: last.person, place: last.place, job: last.id)
            } else {
                loading.left.removeFirst(lanes.count)
                loading.key = .start
            }
            // The next slice is on its way while this one is taken in.
            readRows(loading)
            readPastIfTime()
            let now = loop.present
            for job in jobs {
                guard let lane = lane(job.lane, of: loading, now) else { continue }
                noteLastSend(job, in: lane, now)
                if job.state == .waiting || job.state == .unknown {
                    wait(job, in: lane, now)
                } else {
                    loading.others.append(job)
                }
            }
        }
    }

    /// One question for all shards that were taken over at once, unless some of them take long to read.
    private func readPastIfTime() {
        guard let since = loadsReadSince else { return }
        guard loadsUnderWay.isEmpty && loadsWaiting.isEmpty || loop.present - since >= Self.readPatience else { return }
        let group = loadsRead
        loadsRead = []
        loadsReadSince = nil
        readPast(of: group)
    }

    /// Pace, pause, gate and gap as the former owners left them. Read last: an attempt of theirs that was seen in the air is
    /// watched, and one that has ended meanwhile is among those that ended.
    private func readPast(of group: [Loading]) {
        let group = group.filter { isWanted($0) }
        guard !group.isEmpty else { return }
        let numbers = Set(group.map(\.shard)).sorted()
        let hasGap = numbers.contains { number in
            (lanesOfShard[number] ?? []).contains { lane in
                lineOfLane[lane].flatMap { lines[$0] }.map { $0.pace.recipientGap > .zero } ?? false
            }
        }
        let again: (PostgresError) -> Void = { [weak self] error in self?.readPastAgain(of: group, after: error) }
        var kept: [KeptLane]?
        intake.lanes(ofShards: numbers, of: shardCount) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): again(error)
            case .success(let rows):
                let now = loop.present
                let lanes = rows.map { KeptLane($0, now) }
                if hasGap { kept = lanes } else { complete(group[...], lanes) }
            }
        }
        // The newest pages of what has ended today are read for it.
        guard hasGap else { return }
        intake.lastSends(ofShards: numbers, of: shardCount) { [weak self] result in
            // Without the other half it is read again already.
            guard let self, let kept else { return }
            switch result {
            case .failure(let error): again(error)
            case .success(let sends): takePast(of: group, kept, sends, from: 0, readAt: loop.present)
            }
        }
    }

    private func readPastAgain(of group: [Loading], after error: PostgresError) {
        // A lost connection forgets every loading, and begins anew when it is back.
        if error.isConnectionLost { return }
        log.warning("shards could not be loaded", metadata: ["shards": "\(group.count)", "error": "\(error)"])
        loop.after(.seconds(1)) { [weak self] in self?.readPast(of: group) }
    }

    /// A slice of whom the former owners wrote to; after the last one everything is known.
    private func takePast(
        of group: [Loading],
        _ kept: [KeptLane],
        _ sends: [LastSend],
        from first: Int,
        readAt: Instant
    ) {
        let now = loop.present
        let end = min(first + configuration.loadSlice, sends.count)
        var loadings: [Int32: Loading] = [:]
        for send in sends[first..<end] {
            let number = send.lane
            guard let loading = loadings[number] ?? group.first(where: { isWanted($0) && isPart(number, of: $0) }),
                let lane = lane(number, of: loading, now)
            else { continue }
            loadings[number] = loading
            lane.queue.wroteTo(person: send.person, at: readAt - send.ago)
        }
        guard end == sends.count else {
            return loop.after(.zero) { [weak self] in
                self?.takePast(of: group, kept, sends, from: end, readAt: readAt)
            }
        }
        complete(group[...], kept)
    }

    /// One shard per turn.
    private func complete(_ group: ArraySlice<Loading>, _ kept: [KeptLane]) {
        guard let loading = group.first else { return }
        if isWanted(loading) {
            // A line that was added meanwhile is read first.
            if loading.left.isEmpty { complete(loading, kept) } else { begin(loading) }
        }
        guard group.count > 1 else { return }
        loop.after(.zero) { [weak self] in self?.complete(group.dropFirst(), kept) }
    }

    private func complete(_ loading: Loading, _ kept: [KeptLane]) {
        guard let shard = shards[loading.shard] else { return }
        let now = loop.present
        for kept in kept where isPart(kept.lane, of: loading) {
            guard let lane = lane(kept.lane, of: loading, now) else { continue }
            if kept.nextSend > now { lane.queue.resumePace(nextSend: kept.nextSend, at: now) }
            if kept.pausedUntil > now { lane.queue.paused(until: kept.pausedUntil) }
            if case .unheard(let word) = kept.word { unheard(word, of: "a lane's gate") }
            lane.gate = Gate(policy: Self.linePolicy, memory: kept.gate, at: now)
            lane.writtenGate = kept.word.heard
            lane.writtenProbes = kept.gate.probes
            lane.heldSince = kept.heldSince
            lane.isHoldTold = kept.isHoldTold
        }
        for (number, lane) in loading.lanes {
            lanes[number] = lane
            dueLanes.insert(number)
        }
        if let lane = loading.lane {
            newLanes[lane] = nil
        } else {
            shard.loading = nil
            shard.phase = .owned
        }
        for call in calls.values where isPart(call.lane, of: loading) {
            lane(call.lane)?.queue.resume(person: call.person)
        }
        for job in loading.others where !loading.doubtful.contains(job.id) { know(job, now) }
        let doubtful = loading.doubtful.sorted()
        for start in stride(from: 0, to: doubtful.count, by: Self.watchLimit) {
            lookAgain(at: Set(doubtful[start..<min(start + Self.watchLimit, doubtful.count)]))
        }
        if loading.lane == nil {
            adoptWanted = true
            if shard.queue == nil { subscribe(shard) }
        }
    }

    private func isPart(_ lane: Int32, of loading: Loading) -> Bool {
        loading.lane.map { $0 == lane } ?? (shardOfLane[lane] == loading.shard)
    }

    /// The lane that is being built, made when first needed; nil when it is no part of this.
    private func lane(_ number: Int32, of loading: Loading, _ now: Instant) -> Lane? {
        if let lane = loading.lanes[number] { return lane }
        guard isPart(number, of: loading), let lane = newLane(number) else { return nil }
        // What is due already need not be sorted out at the first look, all at once.
        lane.queue.look(at: now)
        loading.lanes[number] = lane
        return lane
    }

    /// Takes a row into memory, whatever its state.
    func know(_ job: SeenJob, _ now: Instant) {
        guard let lane = lane(job.lane) else {
            loading(of: job.lane)?.doubtful.insert(job.id)
            return
        }
        noteLastSend(job, in: lane, now)
        switch job.state {
        case .waiting, .unknown:
            wait(job, in: lane, now)
            dueLanes.insert(job.lane)
        case .sending:
            if calls[job.id] != nil { return }
            if job.claimedBy == bootID {
                // The reply of the claim's COMMIT was lost: we began this attempt and never knew, so nothing has left.
                guard !isOff(.reread) else { return }
                outcomes.append(
                    Settlement(
                        job: job.id,
                        attempt: job.attempt,
                        outcome: .givenBack,
                        reason: Reason.claimReplyLost.code
                    )
                )
            }
            lane.queue.hold(person: job.person)
            foreign[job.id] = ForeignAttempt(
                attempt: job.attempt,
                lane: job.lane,
                person: job.person,
                expiredSince: nil
            )
        case .parked, .accepted:
            break
        case .unheard(let word):
            unheard(word, of: "a row's state")
        }
    }

    /// The gap to the person's next message counts from the last attempt, whoever made it and whatever came of it.
    private func noteLastSend(_ job: SeenJob, in lane: Lane, _ now: Instant) {
        guard let ago = job.claimedAgo, ago < lane.queue.settings.recipientGap else { return }
        lane.queue.wroteTo(person: job.person, at: now - ago)
    }

    /// A job waits in its lane.
    private func wait(_ job: SeenJob, in lane: Lane, _ now: Instant) {
        guard calls[job.id] == nil else { return }
        lane.queue.remove(JobID(job.id), person: job.person)
        let queued = QueuedJob(
            id: JobID(job.id),
            person: job.person,
            place: job.place,
            jobClass: job.jobClass,
            due: now + max(.zero, job.dueIn),
            attempt: job.attempt,
            tries: job.tries,
            isStamped: job.isStamped,
            isSuspect: job.isSuspect
        )
        if job.attempt > 0 {
            retryWaits[job.id] = RetryWait(lane: job.lane, person: job.person, attempt: job.attempt)
        }
        if job.place > 0 { lane.queue.add(queued) } else { lane.queue.schedule(queued) }
    }

    /// The lane's memory, made when first needed; nil when this worker does not own it or does not know it whole yet.
    func lane(_ number: Int32) -> Lane? {
        if let lane = lanes[number] { return lane }
        guard newLanes[number] == nil, let shard = shardOfLane[number], shards[shard]?.phase == .owned,
            let lane = newLane(number)
        else { return nil }
        lanes[number] = lane
        return lane
    }

    private func newLane(_ number: Int32) -> Lane? {
        guard let line = lineOfLane[number].flatMap({ lines[$0] }) else { return nil }
        return Lane(
            number: number,
            shard: line.shard,
            queue: LaneQueue(settings: line.pace),
            gate: Gate(policy: Self.linePolicy, at: loop.present)
        )
    }

    func forgetLanes(of numbers: Set<Int32>) {
        for shard in numbers {
            shards[shard]?.loading = nil
            for number in lanesOfShard[shard] ?? [] {
                lanes[number] = nil
                newLanes[number] = nil
                suspectLanes.remove(number)
                turns.leave(number)
                placing.leave(number)
            }
        }
        lookAtSuspectsWithoutRoom()
        func isGone(_ lane: Int32) -> Bool { shardOfLane[lane].map(numbers.contains) ?? false }
        retryWaits = retryWaits.filter { !isGone($0.value.lane) }
        foreign = foreign.filter { !isGone($0.value.lane) }
    }

    /// After a lost connection nothing in memory is trusted; `load` builds it again. Calls in the air go on.
    func forgetMemoryOfShards() {
        let forgotten = shardsInOrder.filter { $0.phase != .leaving }
        for shard in forgotten {
            shard.phase = .loading
            shard.generation += 1
        }
        forgetLanes(of: Set(forgotten.map(\.number)))
        for (id, attempt) in foreign {
            foreign[id] = ForeignAttempt(attempt: attempt.attempt, lane: attempt.lane, person: attempt.person)
        }
        loadsWaiting = []
        loadsUnderWay = [:]
        loadsRead = []
        loadsReadSince = nil
        adoptUnderWay = false
        placeUnderWay = false
        watchUnderWay = false
    }
}
