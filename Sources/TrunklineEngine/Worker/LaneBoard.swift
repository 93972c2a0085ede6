internal import Logging
internal import TrunklineCore

/// The lanes of this worker's shards: which are due, which wait for a call slot and in what order, and when time alone makes
/// one due again.
final class LaneBoard {
    /// Between two looks at a lane that has sent what it may today: is a job due that may have been sent before?
    private static let cappedLook: Duration = .seconds(5)
    /// Scheduled jobs of one lane that get their places before the next lane's turn.
    private static let placesOfTurn = 50

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let shards: Shards
    private let origins: Origins
    private var lanes: [Int32: Lane] = [:]
    /// Lanes that could use a call slot.
    private var turns = Rotation<Int32>()
    /// Lanes of received events, which need none.
    private var runs = Rotation<Int32>()
    private var lastWasRun = false
    /// Lanes with scheduled jobs whose time has come.
    private var placing = Rotation<Int32>()
    /// Lanes whose calls got no answer twice and more.
    private var suspects: Set<Int32> = []
    /// Those of them that wait until another one's call has ended.
    private var suspectsWithoutRoom: Set<Int32> = []

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ shards: Shards,
        _ origins: Origins
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.shards = shards
        self.origins = origins
    }

    // MARK: Lanes

    /// The lane's memory, if there is one.
    func lane(_ number: Int32) -> Lane? { lanes[number] }

    /// The lane's memory, made when first needed; nil when this worker does not own it or does not know it whole yet.
    func ownedLane(_ number: Int32) -> Lane? {
        if let lane = lanes[number] { return lane }
        guard shards.isKnownWhole(number), let lane = newLane(number) else { return nil }
        lanes[number] = lane
        return lane
    }

    /// An empty memory, which is not on the board yet.
    func newLane(_ number: Int32) -> Lane? { directory[number].map { Lane($0, at: here.now) } }

    /// Whether the lane was not given up, or read anew, since it was seen.
    func isCurrent(_ lane: Lane) -> Bool { lanes[lane.number] === lane }

    /// By number: whatever is done with several lanes is done in one order, so that a simulated run can be repeated.
    var lanesInOrder: [Lane] { lanes.values.sorted { $0.number < $1.number } }

    /// Lanes of which there is something to do.
    var busyLanes: Set<Int32> { Set(lanes.values.filter(\.isBusy).map(\.number)) }

    /// A lane whose rows are all read.
    func add(_ lane: Lane) {
        lanes[lane.number] = lane
        agenda.look(at: lane.number)
    }

    /// Not ours any more, or to be read anew.
    func forget(_ numbers: some Sequence<Int32>) {
        for number in numbers {
            lanes[number] = nil
            suspects.remove(number)
            turns.leave(number)
            runs.leave(number)
            placing.leave(number)
        }
        lookAtSuspectsWithoutRoom()
    }

    func forgetIdlePersons(at now: Instant) { for lane in lanes.values { lane.forgetIdle(at: now) } }

    // MARK: Turns

    /// Looks at the lanes that are due: those that could use a call slot wait for their turn, the others say when to look
    /// again.
    func look(at now: Instant) {
        for number in agenda.takeLanes() {
            guard let lane = lanes[number] else {
                turns.leave(number)
                runs.leave(number)
                continue
            }
            if lane.hasScheduled(at: now) { placing.join(number) }
            if wantsSlot(lane, at: now) {
                join(lane)
            } else {
                turns.leave(number)
                runs.leave(number)
            }
        }
    }

    var isAnyWaiting: Bool { !turns.isEmpty || !runs.isEmpty }

    /// Whether a job that has just arrived may have one of `free` slots: not one that a lane waits for.
    func leavesOne(of free: Int) -> Bool { here.isOff(.rotation) ? free > 0 : turns.leavesOne(of: free) }

    /// The lane whose turn it is; nil when none waits that may begin something. It joins again when it wants more. Lanes that
    /// call and lanes that are run have every other turn, so that neither kind waits for the other's work.
    func next(mayCall: Bool, mayRun: Bool) -> Int32? {
        if here.isOff(.rotation) { turns.beginRound() }
        for isRun in [!lastWasRun, lastWasRun] where isRun ? mayRun : mayCall {
            guard let number = isRun ? runs.next() : turns.next() else { continue }
            lastWasRun = isRun
            return number
        }
        return nil
    }

    func join(_ lane: Lane) {
        if directory[lane.number]?.isRun == true { runs.join(lane.number) } else { turns.join(lane.number) }
    }

    /// Whether the lane could use a call slot, for a job or for a question about its health. If not, its timer says when to
    /// look again, or an event will.
    func wantsSlot(_ lane: Lane, at now: Instant) -> Bool {
        guard let settings = directory[lane.number], shards.isOwned(lane.shard) else { return false }
        wakeForScheduled(lane, now)
        if settings.isOnHold(at: now) {
            if let ends = settings.holdEnds { wake(lane, at: ends, now) }
            return false
        }
        if let fault = settings.fault {
            obey(lane.unusable(fault, at: now), of: lane)
            // Whatever is wrong (a token file that cannot be read now) may be mended without a change of the row.
            directory.readAgain(settings.id)
            wake(lane, at: now + .seconds(15), now)
            return false
        }
        // Its end makes every lane of the origin due again.
        if origins.isBroken(settings) { return false }
        applyPace(lane, settings, at: now)
        if lane.isCapped(at: now) { wake(lane, at: now + Self.cappedLook, now) }
        if lane.hasReadyWork(at: now),
            lane.wantsQuestion(at: now) || lane.mayBegin(at: now)
        {
            return true
        }
        armTimer(of: lane, at: now)
        return false
    }

    func applyPace(_ lane: Lane, _ settings: LaneSettings, at now: Instant) {
        let (nextStep, rampIsOver) = lane.applyPace(settings.pace, at: now)
        if let nextStep { wake(lane, at: nextStep, now) }
        if rampIsOver { agenda.write(gateOf: lane.number) }
    }

    // MARK: Gates

    /// What a lane's gate asks for after it was told something.
    func obey(_ effects: Gate.Effects, of lane: Lane) {
        if effects.isToBeWritten { agenda.write(gateOf: lane.number) }
        if effects.isToBeLookedAt { agenda.look(at: lane.number) }
        guard let change = effects.change, let settings = directory[lane.number] else { return }
        here.log.notice(
            "gate",
            metadata: settings.logged([
                "gate": "\(change.after.rawValue)", "reason": "\(lane.hold?.reason.code ?? "")",
            ])
        )
    }

    // MARK: Timers

    /// Arms the lane's timer for the moment at which time alone changes something.
    func armTimer(of lane: Lane, at now: Instant) {
        wakeForScheduled(lane, now)
        if let next = lane.nextChange(after: now) { wake(lane, at: next, now) }
    }

    /// A scheduled job gets its place when its time has come, also on a line that may not send.
    private func wakeForScheduled(_ lane: Lane, _ now: Instant) {
        if let due = lane.nextScheduled, due > now { wake(lane, at: due, now) }
    }

    private func wake(_ lane: Lane, at next: Instant, _ now: Instant) {
        guard lane.arm(next, at: now), !here.isOff(.ownerTimer) else { return }
        let number = lane.number
        here.loop.at(next) { [weak self] in
            guard let self, let lane = lanes[number] else { return }
            lane.rang(next)
            agenda.look(at: number)
        }
    }

    // MARK: Scheduled jobs

    var hasJobsToPlace: Bool { !placing.isEmpty }

    /// Takes scheduled jobs whose time has come out of their lanes, which take turns.
    func jobsToPlace(at now: Instant, limit: Int) -> [Int64] {
        var jobs: [Int64] = []
        while jobs.count < limit, let number = placing.next() {
            guard let lane = lanes[number] else { continue }
            jobs += lane.takeScheduled(at: now, limit: Self.placesOfTurn)
            if lane.hasScheduled(at: now) { placing.join(number) }
            // What is taken may be gone from the database, and what comes after it must not wait for a reply about it.
            armTimer(of: lane, at: now)
        }
        return jobs
    }

    // MARK: Suspects

    /// A call of the lane ended. `isFailure`: without a usable answer.
    func noteCall(
        of lane: Lane,
        _ settings: LaneSettings,
        isFailure: Bool,
        wasRepeated: Bool = false,
        at now: Instant
    ) {
        if isFailure {
            lane.callFailed(at: now)
            if lane.isSuspect { suspects.insert(lane.number) }
        } else {
            lane.callAnswered(at: now)
            clearSuspicion(lane)
            if let origin = settings.origin { origins.answered(origin, wasRepeated: wasRepeated) }
        }
    }

    private func clearSuspicion(_ lane: Lane) {
        if suspects.remove(lane.number) != nil { lookAtSuspectsWithoutRoom() }
    }

    /// Suspect lanes together get at most half of the call slots: how many more calls they may have.
    func roomForSuspects() -> Int {
        var inAir = 0
        for number in suspects { inAir += lanes[number]?.inAir ?? 0 }
        return (here.configuration.maximumCalls + 1) / 2 - inAir
    }

    /// The suspect lane is looked at when another one's call has ended.
    func waitForRoom(_ lane: Lane) { suspectsWithoutRoom.insert(lane.number) }

    /// A call of the lane is recorded, or does not begin: if it is suspect, another one may call.
    func callEnded(of lane: Lane) { if suspects.contains(lane.number) { lookAtSuspectsWithoutRoom() } }

    private func lookAtSuspectsWithoutRoom() {
        guard !suspectsWithoutRoom.isEmpty else { return }
        agenda.look(at: suspectsWithoutRoom)
        suspectsWithoutRoom.removeAll(keepingCapacity: true)
    }

    /// The breaker of an origin closed: its lanes go on by the ramp.
    func restart(lanesOf origin: String, at now: Instant) {
        for lane in lanes.values where directory[lane.number]?.origin == origin {
            clearSuspicion(lane)
            obey(lane.restarted(at: now), of: lane)
        }
    }

    // MARK: What others are told

    /// Lanes that called lately, and those that failed, by origin.
    func callCounts(at now: Instant) -> [String: CallCounts] {
        var counts: [String: CallCounts] = [:]
        for lane in lanes.values where lane.isActive(at: now) {
            guard let origin = directory[lane.number]?.origin else { continue }
            counts[origin, default: CallCounts()].active += 1
            if lane.isFailing(at: now) { counts[origin]!.failing += 1 }
        }
        origins.countQuestions(into: &counts, at: now)
        return counts
    }

    /// When the next send of each paced lane may begin, to be kept for the next owner.
    func paceWrites(of numbers: [Int32]) -> PaceWrites {
        let now = here.now
        var seen: Set<Int32> = []
        var result = PaceWrites()
        for number in numbers.sorted() where seen.insert(number).inserted {
            guard let next = lanes[number]?.nextSend, next > now else { continue }
            result.lanes.append(number)
            result.next.append(Int32(clamping: (next - now).wholeMilliseconds))
        }
        return result
    }
}
