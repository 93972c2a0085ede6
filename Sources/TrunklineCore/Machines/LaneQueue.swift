internal import DequeModule
internal import HeapModule

/// Whether a job is a single notice or part of an import, which never delays a single notice.
package enum JobClass: Int16, Sendable, Comparable {
    case single = 0
    case bulk = 1
    package static func < (left: JobClass, right: JobClass) -> Bool { left.rawValue < right.rawValue }
}

/// What an owner keeps in memory of an unfinished job. The row is the truth.
package struct QueuedJob: Sendable, Hashable {
    package let id: JobID
    /// Digest of the ordering key: jobs of one person go out in the order of their places.
    package let person: Int64
    /// Position in the lane; 0 while a scheduled job has none.
    package var place: Int64
    package let jobClass: JobClass
    /// Not before this.
    package var due: ContinuousClock.Instant
    /// The attempt that ended last; 0 for none.
    package var attempt: Int32
    /// Definite refusals so far.
    package var tries: Int32
    /// Whether an earlier attempt may have sent it.
    package var isStamped: Bool
    /// Whether a worker was lost during its last attempt: it must be the only such one in the air of its process.
    package var isSuspect: Bool

    /// Whether the next attempt repeats a call that the other side refused or did not answer. What only a lost worker left
    /// behind says nothing about the other side.
    package var isRepeat: Bool { !isSuspect && (isStamped || tries > 0) }

    /// Where it stands among its person's jobs.
    fileprivate var rank: Int64 { isStamped ? 0 : place }

    package init(
        id: JobID,
        person: Int64,
        place: Int64,
        jobClass: JobClass,
        due: ContinuousClock.Instant,
        attempt: Int32,
        tries: Int32,
        isStamped: Bool,
        isSuspect: Bool = false
    ) {
        self.id = id
        self.person = person
        self.place = place
        self.jobClass = jobClass
        self.due = due
        self.attempt = attempt
        self.tries = tries
        self.isStamped = isStamped
        self.isSuspect = isSuspect
    }
}

/// The order and the pace of one lane: which job may begin, and when to look again. No I/O, no clock.
///
/// Rules (design D8, D9): jobs of one person strictly by place, a retry keeps its place and holds what is behind it; one
/// call per person at a time; the gap between two messages to one person; the line's pace and concurrency; single notices
/// before bulk, and a single notice behind bulk jobs of its person lifts those into its own class.
package struct LaneQueue: Sendable {
    private struct Person {
        /// Sorted by place; the first is the head.
        var jobs: Deque<QueuedJob> = []
        /// How many of them are single notices.
        var singles = 0
        /// A call of this person is in the air (ours or a former owner's).
        var isBusy = false
        var notBefore: ContinuousClock.Instant?
        /// When its call in the air was counted.
        var begunAt: ContinuousClock.Instant?
        /// Tells a current heap entry from a stale one; never used twice in a lane.
        var version: UInt64 = 0
        var jobClass: JobClass { singles > 0 ? .single : .bulk }
        var isIdle: Bool { jobs.isEmpty && !isBusy }

        /// Where a job of that rank goes: behind those of the same rank. Nearly always the end, for places rise.
        func index(behind rank: Int64) -> Int {
            guard let last = jobs.last, last.rank > rank else { return jobs.count }
            var (low, high) = (0, jobs.count - 1)
            while low < high {
                let middle = (low + high) / 2
                if jobs[middle].rank <= rank { low = middle + 1 } else { high = middle }
            }
            return low
        }

        /// Whether it changed what the head stands for.
        mutating func insert(_ job: QueuedJob) -> Bool {
            // One that may have been sent holds its person whatever comes.
            let index = index(behind: job.rank)
            jobs.insert(job, at: index)
            guard job.jobClass == .single else { return index == 0 }
            singles += 1
            return index == 0 || singles == 1
        }

        mutating func begin(at now: ContinuousClock.Instant, version: UInt64, notBefore: ContinuousClock.Instant?) {
            isBusy = true
            begunAt = now
            self.version = version
            self.notBefore = notBefore
        }

        mutating func remove(at index: Int) -> QueuedJob {
            let job = jobs.remove(at: index)
            if job.jobClass == .single { singles -= 1 }
            return job
        }

        /// Where the job of that id is, which has that rank.
        func index(of id: JobID, rank: Int64) -> Int? {
            var index = index(behind: rank) - 1
            while index >= 0, jobs[index].rank == rank {
                if jobs[index].id == id { return index }
                index -= 1
            }
            return nil
        }
    }

    private struct Ready: Comparable, Sendable {
        let jobClass: JobClass
        let place: Int64
        let person: Int64
        let version: UInt64
        static func < (left: Ready, right: Ready) -> Bool {
            (left.jobClass.rawValue, left.place, left.person) < (right.jobClass.rawValue, right.place, right.person)
        }
    }

    private struct Timed: Comparable, Sendable {
        let instant: ContinuousClock.Instant
        let person: Int64
        let version: UInt64
        static func < (left: Timed, right: Timed) -> Bool { left.instant < right.instant }
    }

    private struct Scheduled: Comparable, Sendable {
        let due: ContinuousClock.Instant
        let id: JobID
        static func < (left: Scheduled, right: Scheduled) -> Bool { (left.due, left.id) < (right.due, right.id) }
    }

    // Changed in place: a person may have a hundred thousand jobs, and a copy of them for each one more is without end.
    private var persons: [Int64: Person] = [:]
    private var lastVersion: UInt64 = 0
    /// Every placed job that waits here, with its rank among its person's.
    private var known: [JobID: Int64] = [:]
    private var ready = Heap<Ready>()
    /// Those of `ready` whose job may have been sent before.
    private var readyStamped = Heap<Ready>()
    private var timed = Heap<Timed>()
    /// Persons without work, and when their gap is over.
    private var fading = Heap<Timed>()
    /// The latest moment that anybody named here: what is due by then need not wait for a look.
    private var latest: ContinuousClock.Instant?
    private var scheduled = Heap<Scheduled>()
    private var scheduledJobs: [JobID: QueuedJob] = [:]
    private var pace: PaceState

    /// Calls of this lane in the air.
    package private(set) var inAir = 0
    /// Calls of this lane that a living former owner still has in the air.
    package var othersInAir = 0
    /// Whether the lane's concurrency leaves room for another call.
    private var hasRoom: Bool { inAir + othersInAir < settings.concurrency }
    /// Jobs that wait in this lane, scheduled ones included.
    package private(set) var count = 0
    /// Changes take effect at the next look.
    package var settings: Pace

    package init(settings: Pace, pace: PaceState = PaceState()) {
        self.settings = settings
        self.pace = pace
    }

    /// When the next send may begin as far as the pace goes; nil: at once.
    package var nextSend: ContinuousClock.Instant? { pace.nextSend(settings) }

    /// A job has its place and waits.
    package mutating func add(_ job: QueuedJob) {
        precondition(job.place > 0, "a placed job has a place")
        remove(job.id, person: job.person)  // a job waits once
        count += 1
        known[job.id] = job.rank
        // A new head, or a head whose class the newcomer lifted.
        if persons[job.person, default: Person()].insert(job) { offer(job.person) }
    }

    /// What is added next is compared with `now`, so that a look need not sort out what is due already.
    package mutating func look(at now: ContinuousClock.Instant) { latest = max(latest ?? now, now) }

    /// A job without a place waits for its time and blocks nobody.
    package mutating func schedule(_ job: QueuedJob) {
        count += 1
        scheduledJobs[job.id] = job
        scheduled.insert(Scheduled(due: job.due, id: job.id))
    }

    /// Scheduled jobs whose time has come, at most `limit`; the owner gives them places and adds them.
    package mutating func takeScheduled(at now: ContinuousClock.Instant, limit: Int) -> [QueuedJob] {
        var due: [QueuedJob] = []
        while due.count < limit, let first = scheduled.min, first.due <= now {
            scheduled.removeMin()
            if let job = scheduledJobs.removeValue(forKey: first.id) {
                count -= 1
                due.append(job)
            }
        }
        return due
    }

    /// A call of `person` is in the air that this owner did not begin: it holds the person's order, not the lane.
    package mutating func hold(person: Int64) {
        let version = newVersion()
        persons[person, default: Person()].isBusy = true
        persons[person]!.version = version
    }

    /// A call of this owner is in the air that this queue does not know of, because its memory was built anew.
    package mutating func resume(person: Int64) {
        inAir += 1
        hold(person: person)
    }

    /// A person was written to at `instant` (before this owner came).
    package mutating func wroteTo(person: Int64, at instant: ContinuousClock.Instant) {
        guard settings.recipientGap > .zero else { return }
        let end = instant + settings.recipientGap
        persons[person, default: Person()].notBefore = max(persons[person]?.notBefore ?? end, end)
        offer(person)
        forgetIfIdle(person)
    }

    /// Begins the job that comes next, if one may begin now, and counts its call as in the air.
    ///
    /// - Parameter onlyStamped: only one that may have been sent before: what a line may send today is spent, and such a
    ///   one is counted already.
    package mutating func begin(at now: ContinuousClock.Instant, onlyStamped: Bool = false) -> QueuedJob? {
        guard hasRoom, pace.allows(at: now, settings) else { return nil }
        guard let number = firstReady(at: now, onlyStamped: onlyStamped), let job = persons[number]?.remove(at: 0)
        else { return nil }
        known[job.id] = nil
        count -= 1
        started(number, at: now)
        return job
    }

    /// Whether a job that just arrived may begin at once, past the queue; if so its call counts as in the air.
    ///
    /// Only when it is the head of its person and no waiting job of its class could begin in its stead.
    package mutating func beginNew(person number: Int64, jobClass: JobClass, at now: ContinuousClock.Instant) -> Bool {
        guard hasRoom, pace.allows(at: now, settings) else { return false }
        if let person = persons[number] {
            guard person.isIdle, person.notBefore.map({ $0 <= now }) ?? true else { return false }
        }
        if firstReady(at: now, onlyStamped: false) != nil, let first = ready.min, first.jobClass <= jobClass {
            return false
        }
        started(number, at: now)
        return true
    }

    /// The bytes of the person's call leave at `instant`, later than it was counted (connecting takes its time): pace and
    /// gap count from here.
    package mutating func left(person number: Int64, at instant: ContinuousClock.Instant) {
        if !settings.isUnlimited { pace.sendLeft(at: instant) }
        if settings.recipientGap > .zero { persons[number]?.notBefore = instant + settings.recipientGap }
    }

    /// A call has ended, whatever came of it; the person's next job may go once the gap has passed.
    package mutating func ended(person number: Int64, at now: ContinuousClock.Instant) {
        inAir -= 1
        release(person: number)
    }

    /// A call that was counted did not begin after all: pace and gap are as before.
    package mutating func takenBack(person number: Int64) {
        inAir -= 1
        if let begunAt = persons[number]?.begunAt { pace.sendTakenBack(begunAt: begunAt) }
        persons[number]?.notBefore = nil
        release(person: number)
    }

    /// A former owner's call has ended.
    package mutating func release(person number: Int64) {
        guard persons[number] != nil else { return }
        persons[number]!.isBusy = false
        offer(number)
        forgetIfIdle(number)
    }

    /// Takes a waiting job out, e.g. because its row is gone. Returns whether it was there.
    @discardableResult
    package mutating func remove(_ id: JobID, person number: Int64) -> Bool {
        if scheduledJobs.removeValue(forKey: id) != nil {
            count -= 1
            return true
        }
        guard let rank = known.removeValue(forKey: id), let index = persons[number]?.index(of: id, rank: rank) else {
            return false
        }
        let classBefore = persons[number]!.jobClass
        _ = persons[number]!.remove(at: index)
        count -= 1
        if index == 0 || persons[number]!.jobClass != classBefore { offer(number) }
        forgetIfIdle(number)
        return true
    }

    /// The waiting job of that id, if it is known here.
    package func waiting(_ id: JobID, person: Int64) -> QueuedJob? {
        if let job = scheduledJobs[id] { return job }
        guard let rank = known[id], let entry = persons[person], let index = entry.index(of: id, rank: rank) else {
            return nil
        }
        return entry.jobs[index]
    }

    /// A former owner of the lane would send again at `instant`.
    package mutating func resumePace(nextSend instant: ContinuousClock.Instant, at now: ContinuousClock.Instant) {
        pace.resume(nextSend: instant, at: now, settings)
    }

    /// The party asked for quiet.
    package mutating func paused(until instant: ContinuousClock.Instant) { pace.paused(until: instant) }

    /// Whether a job could begin now but for the gate: what a preflight is worth asking for.
    package mutating func hasReadyWork(at now: ContinuousClock.Instant, onlyStamped: Bool = false) -> Bool {
        firstReady(at: now, onlyStamped: onlyStamped) != nil
    }

    /// Whether a job could begin at this moment but for the gate.
    package mutating func mayBegin(at now: ContinuousClock.Instant, onlyStamped: Bool = false) -> Bool {
        hasRoom && pace.allows(at: now, settings)
            && firstReady(at: now, onlyStamped: onlyStamped) != nil
    }

    /// When the next scheduled job is due; nil when there is none. It needs its place then, whatever the gate says.
    package var nextScheduled: ContinuousClock.Instant? { scheduled.min?.due }

    /// When to look again if nothing else happens; nil: only an event can change anything.
    package mutating func nextLook(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var next: ContinuousClock.Instant?
        if hasRoom {
            if hasReadyWork(at: now) {
                next = pace.allows(at: now, settings) ? now : pace.nextSend(settings)
            } else if let first = timed.min {
                next = max(first.instant, pace.nextSend(settings) ?? first.instant)
            }
        }
        if let first = scheduled.min { next = min(next ?? first.due, first.due) }
        return next
    }

    // MARK: Private

    /// The person whose head comes next.
    private mutating func firstReady(at now: ContinuousClock.Instant, onlyStamped: Bool) -> Int64? {
        promote(at: now)
        while let first = ready.min, !isCurrent(first.person, first.version) { ready.removeMin() }
        guard onlyStamped else { return ready.min?.person }
        while let first = readyStamped.min, !isCurrent(first.person, first.version) { readyStamped.removeMin() }
        return readyStamped.min?.person
    }

    private func isCurrent(_ person: Int64, _ version: UInt64) -> Bool { persons[person]?.version == version }

    private mutating func newVersion() -> UInt64 {
        lastVersion += 1
        return lastVersion
    }

    private mutating func started(_ number: Int64, at now: ContinuousClock.Instant) {
        inAir += 1
        pace.sendBegan(at: now)
        let version = newVersion()
        let notBefore = settings.recipientGap > .zero ? now + settings.recipientGap : nil
        persons[number, default: Person()].begin(at: now, version: version, notBefore: notBefore)
    }

    /// Puts the person's head into the heap it belongs to; earlier entries of the person become stale.
    private mutating func offer(_ number: Int64) {
        let version = newVersion()
        persons[number]!.version = version
        guard let person = persons[number], !person.isBusy, let head = person.jobs.first else { return }
        let instant = max(head.due, person.notBefore ?? head.due)
        if let latest, instant <= latest {
            makeReady(head, person.jobClass, number, version)
        } else {
            timed.insert(Timed(instant: instant, person: number, version: version))
        }
    }

    private mutating func makeReady(_ head: QueuedJob, _ jobClass: JobClass, _ number: Int64, _ version: UInt64) {
        let entry = Ready(jobClass: jobClass, place: head.place, person: number, version: version)
        ready.insert(entry)
        if head.isStamped { readyStamped.insert(entry) }
    }

    private mutating func promote(at now: ContinuousClock.Instant) {
        look(at: now)
        while let first = timed.min, first.instant <= now {
            timed.removeMin()
            guard let person = persons[first.person], person.version == first.version, let head = person.jobs.first
            else { continue }
            makeReady(head, person.jobClass, first.person, first.version)
        }
        while let first = timed.min, !isCurrent(first.person, first.version) { timed.removeMin() }
        forgetIdle(at: now)
    }

    /// A million persons pass through a line: one without work is kept only for the gap, and not for ever.
    private mutating func forgetIfIdle(_ number: Int64) {
        guard let person = persons[number], person.isIdle else { return }
        if let end = person.notBefore {
            fading.insert(Timed(instant: end, person: number, version: person.version))
        } else {
            persons[number] = nil
        }
    }

    /// Forgets persons whose gap has passed. For the owner to call now and then.
    package mutating func forgetIdle(at now: ContinuousClock.Instant) {
        while let first = fading.min, first.instant <= now {
            fading.removeMin()
            if isCurrent(first.person, first.version) { persons[first.person] = nil }
        }
    }
}
