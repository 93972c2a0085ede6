internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// What is read of a shard, or of one lane that was added to it, before anything of it may begin.
///
/// Rows come in slices, and a slice is taken in per turn: heartbeats and the lanes of other shards go on meanwhile. The lanes
/// that are built stand apart until the last row is known.
final class Loading {
    let shard: Int32
    /// The one lane that is read; nil: all of the shard.
    let lane: Int32?
    let generation: UInt64
    /// Lanes whose rows are not all read yet; the first one is read from behind `key`.
    fileprivate var left: [Int32]
    fileprivate var key = RowKey.start
    fileprivate var lanes: [Int32: Lane] = [:]
    /// Jobs that are not waiting: looked at when everything else is known.
    fileprivate var others: [SeenJob] = []
    /// Jobs to which something happened while rows were being read: read again at the end.
    fileprivate var doubtful: Set<Int64> = []

    init(shard: Int32, lane: Int32?, generation: UInt64, lanes: [Int32]) {
        self.shard = shard
        self.lane = lane
        self.generation = generation
        left = lanes
    }

    /// A lane came to the shard.
    func add(_ lane: Int32) { left.append(lane) }
    func doubt(_ job: Int64) { doubtful.insert(job) }
}

/// Reads what an owner must know of its shards, and puts lanes on the board when they are known whole.
final class Loader {
    /// Lanes in one statement, and shards that are read at the same time: a claim waits behind few slices at most.
    private static let lanesAtOnce = 500
    private static let loadsAtOnce = 4
    /// How long a shard that is read waits for those that are being read, to be asked about together with them.
    private static let readPatience: Duration = .seconds(1)

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let board: LaneBoard
    private let attempts: Attempts
    private let rows: Rows
    private let ledger: any JobLedger
    /// Loadings that wait to be read, those that are being read, and those that are read but for what their former owner did
    /// last.
    private var waiting: [Loading] = []
    private var underWay: [ObjectIdentifier: Loading] = [:]
    private var read: [Loading] = []
    private var readSince: Instant?

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ board: LaneBoard,
        _ attempts: Attempts,
        _ rows: Rows,
        _ ledger: any JobLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.board = board
        self.attempts = attempts
        self.rows = rows
        self.ledger = ledger
    }

    // MARK: Rows, slice by slice

    func begin(_ loading: Loading) {
        waiting.append(loading)
        readNext()
    }

    /// Every loading begins anew when the connection is back.
    func connectionLost() {
        waiting = []
        underWay = [:]
        read = []
        readSince = nil
    }

    private func readNext() {
        while underWay.count < Self.loadsAtOnce, !waiting.isEmpty {
            let loading = waiting.removeFirst()
            guard shards.isWanted(loading) else { continue }
            underWay[ObjectIdentifier(loading)] = loading
            readRows(loading)
        }
    }

    /// Its rows are read, or it is not wanted any more: the next one's turn.
    private func ended(_ loading: Loading) {
        guard underWay.removeValue(forKey: ObjectIdentifier(loading)) != nil else { return }
        readNext()
        readPastIfTime()
    }

    /// What a reply is worth: nothing when the shard is not ours any more, and after an error the same is read once more.
    private func jobs(
        _ result: Result<[SeenJob], PostgresError>,
        of loading: Loading,
        again: @escaping () -> Void
    ) -> [SeenJob]? {
        switch result {
        case .success(let jobs):
            if shards.isWanted(loading) { return jobs }
            ended(loading)
        case .failure(let error):
            // A lost connection forgets every loading, and begins anew when it is back.
            if error.isConnectionLost { return nil }
            guard shards.isWanted(loading) else {
                ended(loading)
                return nil
            }
            here.log.warning("shard could not be loaded", metadata: ["shard": "\(loading.shard)", "error": "\(error)"])
            here.loop.after(.seconds(1)) { [weak self] in
                guard let self else { return }
                if shards.isWanted(loading) { again() } else { ended(loading) }
            }
        }
        return nil
    }

    private func readRows(_ loading: Loading) {
        guard !loading.left.isEmpty else {
            read.append(loading)
            readSince = readSince ?? here.now
            return ended(loading)
        }
        let lanes = Array(loading.left.prefix(Self.lanesAtOnce))
        let limit = here.configuration.loadSlice
        ledger.load(lanes, after: loading.key, limit: Int32(clamping: limit)) { [weak self] result in
            guard let self, let jobs = jobs(result, of: loading, again: { [weak self] in self?.readRows(loading) })
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
            takeIn(jobs, loading)
        }
    }

    private func takeIn(_ jobs: [SeenJob], _ loading: Loading) {
        let now = here.now
        for job in jobs {
            guard let lane = lane(job.lane, of: loading, now) else { continue }
            lane.noteLastSend(job, at: now)
            if job.state == .waiting || job.state == .unknown {
                rows.wait(job, in: lane, now)
            } else {
                loading.others.append(job)
            }
        }
    }

    /// The lane that is being built, made when first needed; nil when it is no part of this.
    private func lane(_ number: Int32, of loading: Loading, _ now: Instant) -> Lane? {
        if let lane = loading.lanes[number] { return lane }
        guard shards.isPart(number, of: loading), let lane = board.newLane(number) else { return nil }
        lane.expectLooks(from: now)
        loading.lanes[number] = lane
        return lane
    }

    // MARK: What former owners left

    /// One question for all shards that were taken over at once, unless some of them take long to read.
    private func readPastIfTime() {
        guard let since = readSince else { return }
        guard underWay.isEmpty && waiting.isEmpty || here.now - since >= Self.readPatience else { return }
        let group = read
        read = []
        readSince = nil
        readPast(of: group)
    }

    /// Pace, pause, gate and gap as the former owners left them. Read last: an attempt of theirs that was seen in the air is
    /// watched, and one that has ended meanwhile is among those that ended.
    private func readPast(of group: [Loading]) {
        let group = group.filter { shards.isWanted($0) }
        guard !group.isEmpty else { return }
        let numbers = Set(group.map(\.shard)).sorted()
        let hasGap = numbers.contains { number in
            directory.lanes(of: number).contains { directory[$0].map { $0.pace.recipientGap > .zero } ?? false }
        }
        let again: (PostgresError) -> Void = { [weak self] error in self?.readPastAgain(of: group, after: error) }
        var kept: [KeptLane]?
        ledger.lanes(ofShards: numbers, of: shards.count) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): again(error)
            case .success(let rows):
                let now = here.now
                let lanes = rows.map { KeptLane($0, now) }
                if hasGap { kept = lanes } else { complete(group[...], lanes) }
            }
        }
        // The newest pages of what has ended today are read for it.
        guard hasGap else { return }
        ledger.lastSends(ofShards: numbers, of: shards.count) { [weak self] result in
            // Without the other half it is read again already.
            guard let self, let kept else { return }
            switch result {
            case .failure(let error): again(error)
            case .success(let sends): takePast(of: group, kept, sends, from: 0, readAt: here.now)
            }
        }
    }

    private func readPastAgain(of group: [Loading], after error: PostgresError) {
        // A lost connection forgets every loading, and begins anew when it is back.
        if error.isConnectionLost { return }
        here.log.warning("shards could not be loaded", metadata: ["shards": "\(group.count)", "error": "\(error)"])
        here.loop.after(.seconds(1)) { [weak self] in self?.readPast(of: group) }
    }

    /// A slice of whom the former owners wrote to; after the last one everything is known.
    private func takePast(
        of group: [Loading],
        _ kept: [KeptLane],
        _ sends: [LastSend],
        from first: Int,
        readAt: Instant
    ) {
        let now = here.now
        let end = min(first + here.configuration.loadSlice, sends.count)
        var loadings: [Int32: Loading] = [:]
        for send in sends[first..<end] {
            let number = send.lane
            guard
                let loading = loadings[number]
                    ?? group.first(where: { shards.isWanted($0) && shards.isPart(number, of: $0) }),
                let lane = lane(number, of: loading, now)
            else { continue }
            loadings[number] = loading
            lane.wroteTo(person: send.person, at: readAt - send.ago)
        }
        guard end == sends.count else {
            return here.loop.after(.zero) { [weak self] in
                self?.takePast(of: group, kept, sends, from: end, readAt: readAt)
            }
        }
        complete(group[...], kept)
    }

    // MARK: Everything is known

    /// One shard per turn.
    private func complete(_ group: ArraySlice<Loading>, _ kept: [KeptLane]) {
        guard let loading = group.first else { return }
        if shards.isWanted(loading) {
            // A line that was added meanwhile is read first.
            if loading.left.isEmpty { complete(loading, kept) } else { begin(loading) }
        }
        guard group.count > 1 else { return }
        here.loop.after(.zero) { [weak self] in self?.complete(group.dropFirst(), kept) }
    }

    private func complete(_ loading: Loading, _ kept: [KeptLane]) {
        let now = here.now
        for kept in kept where shards.isPart(kept.lane, of: loading) {
            guard let lane = lane(kept.lane, of: loading, now) else { continue }
            if case .unheard(let word) = kept.word { here.unheard(word, of: "a lane's gate") }
            lane.takeOver(kept, at: now)
        }
        for lane in loading.lanes.values { board.add(lane) }
        shards.endLoading(loading)
        for person in attempts.persons(where: { shards.isPart($0, of: loading) }) {
            board.ownedLane(person.lane)?.resume(person: person.person)
        }
        for job in loading.others where !loading.doubtful.contains(job.id) { rows.know(job, now) }
        let doubtful = loading.doubtful.sorted()
        for start in stride(from: 0, to: doubtful.count, by: Rows.watchLimit) {
            rows.look(at: Set(doubtful[start..<min(start + Rows.watchLimit, doubtful.count)]))
        }
        guard loading.lane == nil else { return }
        agenda.adopt()
        agenda.subscribe(toShard: loading.shard)
    }
}
