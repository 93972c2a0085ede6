import TestKit
import Testing
import TrunklineCore

private let start = ContinuousClock.now
private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1_000)) }
private let unlimited = Pace(interval: .zero, concurrency: 16, recipientGap: .zero)

private func job(
    _ id: Int64,
    person: Int64,
    place: Int64? = nil,
    class jobClass: JobClass = .single,
    due: Double = 0
) -> QueuedJob {
    QueuedJob(
        id: JobID(id),
        person: person,
        place: place ?? id,
        jobClass: jobClass,
        due: at(due),
        attempt: 0,
        tries: 0,
        isStamped: false
    )
}

@Suite struct LaneQueueTests {
    @Test func jobsOfOnePersonGoOneByOneInPlaceOrder() {
        let lane = Box(settings: unlimited)
        for id in [3, 1, 2] as [Int64] { lane.add(job(id, person: 7)) }
        for id in [1, 2, 3] as [Int64] {
            #expect(lane.begin(at: at(0))?.id == JobID(id))
            #expect(lane.begin(at: at(0)) == nil)
            lane.ended(person: 7, at: at(0))
        }
        #expect(lane.count == 0 && lane.inAir == 0)
    }

    @Test func aRetryKeepsItsPlaceAndHoldsWhatIsBehindIt() {
        let lane = Box(settings: unlimited)
        lane.add(job(1, person: 7))
        lane.add(job(2, person: 7))
        lane.add(job(3, person: 8))
        #expect(lane.begin(at: at(0))?.id == JobID(1))
        lane.add(job(1, person: 7, due: 10))
        lane.ended(person: 7, at: at(0))
        #expect(lane.begin(at: at(0))?.id == JobID(3))
        #expect(lane.begin(at: at(9)) == nil)
        #expect(lane.nextLook(after: at(9)) == at(10))
        #expect(lane.begin(at: at(10))?.id == JobID(1))
    }

    @Test func paceSpacesSendsAndATakenBackOneCostsNothing() {
        let lane = Box(settings: Pace(interval: .seconds(3), concurrency: 4, recipientGap: .zero))
        for id in 1...3 as ClosedRange<Int64> { lane.add(job(id, person: id)) }
        #expect(lane.begin(at: at(0))?.id == JobID(1))
        #expect(lane.begin(at: at(2.9)) == nil)
        #expect(lane.nextLook(after: at(0)) == at(3))
        #expect(lane.begin(at: at(3))?.id == JobID(2))
        lane.takenBack(person: 2)
        #expect(lane.begin(at: at(3))?.id == JobID(3))
    }

    @Test func concurrencyIsALimitOfCallsInTheAir() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 2, recipientGap: .zero))
        for id in 1...3 as ClosedRange<Int64> { lane.add(job(id, person: id)) }
        #expect(lane.begin(at: at(0)) != nil)
        #expect(lane.begin(at: at(0)) != nil)
        #expect(lane.begin(at: at(0)) == nil)
        #expect(lane.nextLook(after: at(0)) == nil)
        lane.ended(person: 1, at: at(1))
        #expect(lane.begin(at: at(1))?.id == JobID(3))
    }

    /// At a hand-over: what the former owner still has in the air leaves no room for more than the lane may have.
    @Test func callsOfAFormerOwnerCountUntilTheyHaveEnded() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 2, recipientGap: .zero))
        lane.othersInAir = 1
        for id in 1...3 as ClosedRange<Int64> { lane.add(job(id, person: id)) }
        #expect(lane.begin(at: at(0)) != nil)
        #expect(lane.begin(at: at(0)) == nil && !lane.beginNew(person: 9, jobClass: .single, at: at(0)))
        #expect(lane.nextLook(after: at(0)) == nil)
        lane.othersInAir = 0
        #expect(lane.begin(at: at(1))?.id == JobID(2))
        #expect(lane.begin(at: at(1)) == nil && lane.inAir == 2)
    }

    @Test func paceAndGapCountFromWhenTheBytesLeave() {
        let lane = Box(settings: Pace(interval: .seconds(3), concurrency: 2, recipientGap: .seconds(10)))
        for id in [1, 2] as [Int64] { lane.add(job(id, person: 7)) }
        lane.add(job(3, person: 8))
        #expect(lane.begin(at: at(0))?.id == JobID(1))
        lane.left(person: 7, at: at(2))
        lane.ended(person: 7, at: at(2.5))
        #expect(lane.begin(at: at(4.9)) == nil)
        #expect(lane.begin(at: at(5))?.id == JobID(3))
        lane.ended(person: 8, at: at(5))
        #expect(lane.begin(at: at(11.9)) == nil)
        #expect(lane.begin(at: at(12))?.id == JobID(2))
    }

    @Test func aSpentDayLetsOnlyWhatMayHaveBeenSentGo() {
        let lane = Box(settings: unlimited)
        for id in [1, 2, 4] as [Int64] { lane.add(job(id, person: id)) }
        var stamped = job(3, person: 3)
        stamped.isStamped = true
        lane.add(stamped)
        #expect(lane.hasReadyWork(at: at(0), onlyStamped: true))
        #expect(lane.begin(at: at(0), onlyStamped: true)?.id == JobID(3))
        #expect(lane.begin(at: at(0), onlyStamped: true) == nil && !lane.hasReadyWork(at: at(0), onlyStamped: true))
        #expect(lane.begin(at: at(0))?.id == JobID(1))
    }

    @Test func theGapIsPerPerson() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 16, recipientGap: .seconds(10)))
        lane.add(job(1, person: 7))
        lane.add(job(2, person: 7))
        lane.add(job(3, person: 8))
        #expect(lane.begin(at: at(0))?.id == JobID(1))
        lane.ended(person: 7, at: at(1))
        #expect(lane.begin(at: at(1))?.id == JobID(3))
        #expect(lane.begin(at: at(9.9)) == nil)
        #expect(lane.begin(at: at(10))?.id == JobID(2))
    }

    @Test func aNewOwnerKeepsTheGapOfTheFormerOne() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 16, recipientGap: .seconds(10)))
        lane.wroteTo(person: 7, at: at(-4))
        lane.add(job(1, person: 7))
        #expect(lane.begin(at: at(0)) == nil)
        #expect(lane.nextLook(after: at(0)) == at(6))
        #expect(lane.begin(at: at(6)) != nil)
    }

    @Test func aForeignCallHoldsItsPersonAndNotTheLane() {
        let lane = Box(settings: unlimited)
        lane.hold(person: 7)
        lane.add(job(1, person: 7))
        lane.add(job(2, person: 8))
        #expect(lane.begin(at: at(0))?.id == JobID(2))
        #expect(lane.begin(at: at(0)) == nil)
        lane.release(person: 7)
        #expect(lane.begin(at: at(0))?.id == JobID(1))
    }

    @Test func bulkNeverDelaysASingleNoticeAndIsLiftedByOneBehindIt() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 1, recipientGap: .zero))
        lane.add(job(1, person: 1, class: .bulk))
        lane.add(job(2, person: 2, class: .bulk))
        lane.add(job(3, person: 3, class: .single))
        lane.add(job(4, person: 2, class: .single))
        var order: [Int64] = []
        while let next = lane.begin(at: at(0)) {
            order.append(next.id.value)
            lane.ended(person: next.person, at: at(0))
        }
        #expect(order == [2, 3, 4, 1])
    }

    @Test func theFastPathIsForTheHeadOfItsPersonOnly() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 2, recipientGap: .zero))
        #expect(lane.beginNew(person: 1, jobClass: .single, at: at(0)))
        // The person has a call in the air.
        #expect(!lane.beginNew(person: 1, jobClass: .single, at: at(0)))
        lane.add(job(5, person: 2))
        // Somebody of the class waits and could begin.
        #expect(!lane.beginNew(person: 3, jobClass: .single, at: at(0)))
        #expect(lane.begin(at: at(0))?.id == JobID(5))
        // No slot.
        #expect(!lane.beginNew(person: 3, jobClass: .single, at: at(0)))
    }

    @Test func scheduledJobsBlockNobodyBeforeTheirTime() {
        let lane = Box(settings: unlimited)
        lane.schedule(job(1, person: 7, place: 0, due: 60))
        lane.add(job(2, person: 7))
        #expect(lane.begin(at: at(0))?.id == JobID(2))
        #expect(lane.takeScheduled(at: at(59)).isEmpty)
        #expect(lane.nextLook(after: at(1)) == at(60))
        #expect(lane.takeScheduled(at: at(60)).map(\.id) == [JobID(1)])
    }

    @Test func aPersonWhoWasForgottenDoesNotComeBackEarly() {
        let lane = Box(settings: unlimited)
        lane.add(job(1, person: 7))
        lane.remove(JobID(1), person: 7)
        lane.add(job(2, person: 7, due: 10))
        #expect(lane.begin(at: at(0)) == nil)
        #expect(lane.begin(at: at(10))?.id == JobID(2))
    }

    @Test func whatMayHaveBeenSentHoldsItsPersonWhateverComes() {
        let lane = Box(settings: unlimited)
        lane.add(
            QueuedJob(
                id: JobID(6),
                person: 7,
                place: 6,
                jobClass: .single,
                due: at(60),
                attempt: 1,
                tries: 1,
                isStamped: true
            )
        )
        // Accepted before it, seen after it.
        lane.add(job(5, person: 7))
        #expect(lane.begin(at: at(59)) == nil)
        #expect(lane.begin(at: at(60))?.id == JobID(6))
    }

    @Test func aPauseDelaysTheWholeLane() {
        let lane = Box(settings: unlimited)
        lane.add(job(1, person: 7))
        lane.paused(until: at(30))
        #expect(lane.begin(at: at(29)) == nil)
        #expect(lane.nextLook(after: at(1)) == at(30))
        #expect(lane.begin(at: at(30)) != nil)
    }

    @Test func scheduledJobsComeInBoundedBatchesInTheOrderOfTheirTimes() {
        let lane = Box(settings: unlimited)
        for id in 1...5 as ClosedRange<Int64> { lane.schedule(job(id, person: id, place: 0, due: Double(6 - id))) }
        #expect(lane.takeScheduled(at: at(10), limit: 2).map(\.id) == [JobID(5), JobID(4)])
        #expect(lane.takeScheduled(at: at(10), limit: 9).map(\.id) == [JobID(3), JobID(2), JobID(1)])
    }

    @Test func someoneWhoWasForgottenAfterTheGapMayBeWrittenToAgain() {
        let lane = Box(settings: Pace(interval: .zero, concurrency: 4, recipientGap: .seconds(10)))
        lane.add(job(1, person: 7))
        #expect(lane.begin(at: at(0)) != nil)
        lane.ended(person: 7, at: at(1))
        lane.forgetIdle(at: at(9))
        #expect(!lane.beginNew(person: 7, jobClass: .single, at: at(9)))
        lane.forgetIdle(at: at(10))
        #expect(lane.beginNew(person: 7, jobClass: .single, at: at(10)))
    }

    /// One person with very many jobs: adding, finding, taking out of the middle and a retry at the head cost no search. With
    /// a copy of the person's jobs for each of them this takes longer than any test may.
    @Test(.timeLimit(.minutes(1))) func aPersonMayHaveVeryManyJobs() {
        let lane = Box(settings: unlimited)
        let count: Int64 = 200_000
        lane.look(at: at(0))
        for id in 1...count { lane.add(job(id, person: 7)) }
        for id in stride(from: 3, through: count, by: 3) as StrideThrough<Int64> {
            #expect(lane.waiting(JobID(id), person: 7)?.place == id)
            if id.isMultiple(of: 1_000) { lane.remove(JobID(id), person: 7) }
        }
        for _ in 0..<1_000 {
            let head = lane.begin(at: at(0))!
            lane.add(head)
            lane.ended(person: 7, at: at(0))
            #expect(head.id == JobID(1))
        }
        #expect(lane.count == Int(count) - Int(count) / 3_000)
    }

    /// Against a model that searches: random arrivals, ends, retries and removals.
    @Test(arguments: 0..<40)
    func itAgreesWithAModelThatSearches(seedOffset: UInt64) {
        let seed = 0x7472_756e_6b00 &+ seedOffset
        var random = SeededGenerator(seed: seed)
        let pace = Pace(
            interval: Bool.random(using: &random) ? .zero : .milliseconds(300),
            concurrency: Int.random(in: 1...4, using: &random),
            recipientGap: Bool.random(using: &random) ? .zero : .milliseconds(700)
        )
        let lane = Box(settings: pace)
        var waiting: [QueuedJob] = []
        var inAir: [QueuedJob] = []
        var lastBegin: [Int64: Double] = [:]
        var lastSend: Double?
        var clock = 0.0
        var nextID: Int64 = 1
        for _ in 0..<600 {
            clock += Double.random(in: 0...0.2, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let new = job(
                    nextID,
                    person: Int64.random(in: 1...5, using: &random),
                    class: Bool.random(using: &random) ? .bulk : .single
                )
                nextID += 1
                waiting.append(new)
                lane.add(new)
            case 1:
                guard let index = inAir.indices.randomElement(using: &random) else { continue }
                var ended = inAir.remove(at: index)
                if Int.random(in: 0..<3, using: &random) == 0 {
                    ended.due = at(clock + Double.random(in: 0...1, using: &random))
                    waiting.append(ended)
                    lane.add(ended)
                }
                lane.ended(person: ended.person, at: at(clock))
            case 2:
                guard Int.random(in: 0..<6, using: &random) == 0,
                    let index = waiting.indices.randomElement(using: &random)
                else { continue }
                let gone = waiting.remove(at: index)
                #expect(lane.remove(gone.id, person: gone.person))
            default:
                let expected = model(waiting, inAir, lastBegin, lastSend, clock, pace)
                let actual = lane.begin(at: at(clock))
                #expect(actual?.id == expected?.id, "seed \(seed)")
                if let actual {
                    waiting.removeAll { $0.id == actual.id }
                    inAir.append(actual)
                    lastBegin[actual.person] = clock
                    lastSend = clock
                }
            }
            #expect(lane.count == waiting.count && lane.inAir == inAir.count, "seed \(seed)")
        }
    }

    private func model(
        _ waiting: [QueuedJob],
        _ inAir: [QueuedJob],
        _ lastBegin: [Int64: Double],
        _ lastSend: Double?,
        _ clock: Double,
        _ pace: Pace
    ) -> QueuedJob? {
        let now = at(clock)
        guard inAir.count < pace.concurrency else { return nil }
        if let lastSend, !pace.isUnlimited, at(lastSend) + pace.interval > now { return nil }
        let heads = Dictionary(grouping: waiting, by: \.person).values.compactMap { jobs -> (QueuedJob, JobClass)? in
            let head = jobs.min { $0.place < $1.place }!
            guard !inAir.contains(where: { $0.person == head.person }), head.due <= now else { return nil }
            if pace.recipientGap > .zero, let last = lastBegin[head.person], at(last) + pace.recipientGap > now {
                return nil
            }
            return (head, jobs.map(\.jobClass).min()!)
        }
        return heads.min { ($0.1.rawValue, $0.0.place) < ($1.1.rawValue, $1.0.place) }?.0
    }
}

/// `#expect` cannot call mutating methods: the queue behind a reference.
private final class Box {
    private var queue: LaneQueue
    init(settings: Pace) { queue = LaneQueue(settings: settings) }
    var count: Int { queue.count }
    var inAir: Int { queue.inAir }
    var othersInAir: Int {
        get { queue.othersInAir }
        set { queue.othersInAir = newValue }
    }
    func add(_ job: QueuedJob) { queue.add(job) }
    func schedule(_ job: QueuedJob) { queue.schedule(job) }
    func takeScheduled(at now: ContinuousClock.Instant, limit: Int = .max) -> [QueuedJob] {
        queue.takeScheduled(at: now, limit: limit)
    }
    func look(at now: ContinuousClock.Instant) { queue.look(at: now) }
    func waiting(_ id: JobID, person: Int64) -> QueuedJob? { queue.waiting(id, person: person) }
    func forgetIdle(at now: ContinuousClock.Instant) { queue.forgetIdle(at: now) }
    func hold(person: Int64) { queue.hold(person: person) }
    func release(person: Int64) { queue.release(person: person) }
    func wroteTo(person: Int64, at instant: ContinuousClock.Instant) { queue.wroteTo(person: person, at: instant) }
    func begin(at now: ContinuousClock.Instant, onlyStamped: Bool = false) -> QueuedJob? {
        queue.begin(at: now, onlyStamped: onlyStamped)
    }
    func hasReadyWork(at now: ContinuousClock.Instant, onlyStamped: Bool) -> Bool {
        queue.hasReadyWork(at: now, onlyStamped: onlyStamped)
    }
    func beginNew(person: Int64, jobClass: JobClass, at now: ContinuousClock.Instant) -> Bool {
        queue.beginNew(person: person, jobClass: jobClass, at: now)
    }
    func left(person: Int64, at instant: ContinuousClock.Instant) { queue.left(person: person, at: instant) }
    func ended(person: Int64, at now: ContinuousClock.Instant) { queue.ended(person: person, at: now) }
    func takenBack(person: Int64) { queue.takenBack(person: person) }
    @discardableResult func remove(_ id: JobID, person: Int64) -> Bool { queue.remove(id, person: person) }
    func paused(until instant: ContinuousClock.Instant) { queue.paused(until: instant) }
    func nextLook(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? { queue.nextLook(after: now) }
}
