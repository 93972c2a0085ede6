import PostgresDriver
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// What must hold whatever goes wrong. Looked at from outside: at what was given to the system, at what left it, and at
/// what the other side accepted.
final class Rules {
    private struct Given {
        let line: Int
        let person: String
        let isScheduled: Bool
        var ways: [Scenario.Work.Way]
        /// When it was answered (rows) or confirmed (queues), and its number among all that were.
        var at: World.Time = 0
        var number = 0
        let digest: [UInt8]
        /// Its messages, as a queue has them.
        var bodies: Set<[UInt8]>
    }

    private let world: World
    private let scenario: Scenario
    private let database: SimDatabase
    private let api: SimAPI
    private var given: [String: Given] = [:]
    private var otherBodies: Set<String> = []
    private var moved: Set<String> = []
    private var begunAt: [String: World.Time] = [:]
    private var left: [SimCall] = []
    private var lastNumber = 0

    init(world: World, scenario: Scenario, database: SimDatabase, api: SimAPI) {
        self.world = world
        self.scenario = scenario
        self.database = database
        self.api = api
        api.onAccept = { [unowned self] call, earlier in accepted(call, earlier) }
    }

    // MARK: What is given

    func sending(_ work: Scenario.Work) {
        let key = work.job.key.value
        world.trace("given \(key) to person \(work.job.to.value.suffix(1)) on line-\(work.line) as \(work.way)")
        if var known = given[key] {
            known.ways.append(work.way)
            known.bodies.insert(work.job.encode())
            if known.digest != work.job.contentDigest { otherBodies.insert(key) }
            given[key] = known
            return
        }
        given[key] = Given(
            line: work.line,
            person: work.job.to.value,
            isScheduled: work.job.notBefore != nil,
            ways: [work.way],
            digest: work.job.contentDigest,
            bodies: [work.job.encode()]
        )
    }

    /// The job was accepted into the database, or the broker has it for certain.
    func answered(_ work: Scenario.Work) {
        lastNumber += 1
        given[work.job.key.value]?.at = world.now
        given[work.job.key.value]?.number = lastNumber
    }

    func rescheduled(_ key: String) { moved.insert(key) }

    // MARK: What leaves

    /// Claims and fast jobs as the worker gives them: attempts begin here, as their owner sees it.
    func begins(_ claims: [Int64], _ takes: [String], by process: SimProcess) {
        if !claims.isEmpty { world.trace("claim of \(claims)") }
        for key in claims.compactMap({ database.row($0)?.key }) + takes {
            begunAt["\(process.number) \(key)"] = world.now
        }
    }

    /// The bytes of a send leave.
    func left(_ call: SimCall) {
        let key = call.key!
        call.begunAt = begunAt["\(call.process.number) \(key)"] ?? world.now
        world.trace("\(key) leaves worker \(call.process.number)")
        guard !call.leftAfterFreeze else { return }
        guard let row = database.row(ofKey: key) else {
            let end = database.end(ofKey: key)
            // An older attempt may have turned out to be sent while this one was being begun.
            if end == nil || end!.state != "sent" || end!.at - World.wallStart < call.begunAt {
                world.violated("nothing leaves for a job that has ended", "\(key) (\(end?.state ?? "no job"))")
            }
            return
        }
        call.attempt = row.attempt
        call.lane = row.lane
        call.person = row.person
        if row.state != .sending || row.claimedBy?.bytes != call.process.boot {
            world.violated("nothing leaves without a claim", "\(key) is \(row.state) of another")
        } else if scenario.clockJumps == 0, call.deadline > row.leaseUntil! - World.wallStart {
            world.violated(
                "no call outlives its lease",
                "\(key) by \(call.deadline - (row.leaseUntil! - World.wallStart)) µs"
            )
        }
        checkLine(call)
        checkOthers(call)
        checkConcurrency(call)
        checkPace(call)
        left.append(call)
    }

    private func checkLine(_ call: SimCall) {
        if let since = api.lines[call.line]?.closedSince, world.now - since > 30_500_000 {
            world.violated(
                "no send into a line that is not sendable",
                "\(call.line), for \((world.now - since) / 1_000) ms"
            )
        }
        guard let line = database.model.lanes.first(where: { $0.id == call.line }), line.isHeld else { return }
        let isTroubled =
            world.now - database.lastTrouble < 12_000_000 || world.now - call.process.lastTrouble < 12_000_000
            || scenario.errorRate > 0 || scenario.replyLossRate > 0
        // One look and what it takes; without a good look for longer than the acting limit nothing begins.
        let limit = isTroubled ? scenario.timing.actingLimit.microseconds + 2_500_000 : 1_600_000
        let held = world.now - (database.heldSince[line.id] ?? 0)
        if held > limit {
            world.violated("no send into a held line", "\(call.line), for \(held / 1_000) ms")
        }
    }

    private func checkOthers(_ call: SimCall) {
        for other in left where other.lane == call.lane && other.person == call.person && other !== call {
            guard other.endedAt == nil, other.deadline + World.second > world.now else { continue }
            world.violated("one call per person at a time", "\(call.key!) and \(other.key!)")
        }
    }

    /// A lane's concurrency, over owners: what a lost worker has in the air is left to its lease, but not what one has that gave
    /// its shard away.
    private func checkConcurrency(_ call: SimCall) {
        guard isCalm(call.process), let line = database.line(ofLane: call.lane) else { return }
        let others = left.filter { other in
            other.lane == call.lane && other !== call && other.endedAt == nil && other.deadline > world.now
                && isCalm(other.process)
        }
        if others.count >= line.concurrency {
            let keys = ([call] + others).map { $0.key! }.joined(separator: ", ")
            world.violated(
                "a lane's concurrency",
                "\(keys) on \(call.line), of which \(line.concurrency) may be in the air"
            )
        }
    }

    /// Whether a worker has lately been what others take it for: running, heard, answered by the API, and sure of what it knows.
    private func isCalm(_ process: SimProcess) -> Bool {
        let since = world.now - 15 * World.second
        return process.isRunning && !process.troubles.contains { $0 >= since } && database.lastTrouble < since
            && process.databaseCuts.allSatisfy { $0.end < since } && scenario.errorRate == 0
            && scenario.replyLossRate == 0 && scenario.clockJumps == 0
            && scenario.providerOutages == 0
    }

    private func checkPace(_ call: SimCall) {
        // What the next owner is told is in the database's time.
        guard scenario.clockJumps == 0, let line = database.line(ofLane: call.lane) else { return }
        for other in left where other.lane == call.lane {
            let apart = abs(other.begunAt - call.begunAt)
            if apart + 1_000 < Int64(line.interval) * 1_000 {
                world.violated("the pace", "\(call.key!) and \(other.key!) on \(call.line), \(apart / 1_000) ms apart")
            }
            if other.person == call.person, apart + 1_000 < Int64(line.gap) * 1_000 {
                world.violated("the gap", "\(call.key!) and \(other.key!) to one person, \(apart / 1_000) ms apart")
            }
        }
    }

    // MARK: What is accepted

    private func accepted(_ call: SimCall, _ earlier: [SimCall]) {
        let key = call.key!
        guard earlier.isEmpty else {
            for other in earlier {
                if call.leftAfterFreeze { continue }
                if isRecorded(other) {
                    world.violated("nothing is sent twice", "\(key), although worker \(other.process.number) knew")
                }
            }
            return world.hit(.acceptedTwice, key)
        }
        guard scenario.clockJumps == 0, let row = database.row(ofKey: key), row.place > 0, !call.leftAfterFreeze else {
            return
        }
        for other in database.jobs
        where other.lane == row.lane && other.person == row.person && other.place > 0 && other.place < row.place
            && !other.isParked && other.notBefore == nil && api.accepted[other.key] == nil
        {
            world.violated("in order of place", "\(key) before \(other.key)")
        }
    }

    /// Without troubles a worker has recorded what it knows by then.
    private static let recording = 20 * World.second
    /// Nothing keeps it from that for longer.
    private static let longestDelay = 120 * World.second

    /// Whether a worker knew that a call was accepted, and lived long enough after that to record it.
    private func isRecorded(_ call: SimCall) -> Bool {
        guard let known = call.knownAt else { return false }
        let isCut = call.process.databaseCuts.contains {
            $0.begin <= known + World.second && world.now <= $0.end + Self.recording
        }
        if isCut { return false }
        var limit = known + Self.recording
        for trouble in database.troubles where trouble >= known - Self.recording && trouble <= limit {
            limit = max(limit, trouble + Self.recording)
        }
        for cut in call.process.databaseCuts where cut.begin <= limit && cut.end >= known {
            limit = max(limit, cut.end + Self.recording)
        }
        limit = min(limit, known + Self.longestDelay)
        return !call.process.troubles.contains { $0 >= known && $0 <= limit }
    }

    // MARK: The end

    func checkEnd(isDone: Bool, broker: SimBroker) {
        if !isDone {
            let rows = database.jobs.filter { !$0.isParked }
                .map { "\($0.key) \($0.state) place \($0.place) due \(($0.dueAt - World.wallStart) / 1_000)" }
            let queues = broker.queues.values.filter { !$0.ready.isEmpty }.map { "\($0.ready.count) in \($0.name)" }
            let open = broker.channels.filter { !$0.unacknowledged.isEmpty }
                .map { "\($0.unacknowledged.count) unacknowledged of \($0.queue ?? "?")" }
            world.violated("everything ends", (rows + queues.sorted() + open.sorted()).joined(separator: "; "))
        }
        for (key, given) in given.sorted(by: { $0.value.number < $1.value.number }) {
            checkEnd(of: key, given)
        }
        checkOrder()
    }

    private func checkEnd(of key: String, _ given: Given) {
        guard let entry = database.model.ledger[LedgerModel.Scoped(1, key)] else {
            // What killed its readers was put aside unread: its bytes name it.
            if !database.refusals.contains(where: { $0.key == key || given.bodies.contains($0.raw) }) {
                world.violated("nothing is lost", "\(key) is nowhere")
            }
            return
        }
        let row = database.row(entry.job)
        let end = database.model.finished[entry.job]
        if (row == nil) == (end == nil) { return world.violated("one end for each job", key) }
        let calls = api.accepted[key] ?? []
        if let end {
            if end.state == "sent", calls.isEmpty { world.violated("sent means accepted", key) }
            if end.state != "sent", !calls.isEmpty {
                world.violated("what was accepted is sent", "\(key) is \(end.state)")
            }
        }
        if end?.state != "sent", calls.contains(where: isRecorded) {
            world.violated(
                "what is known to be accepted ends as sent",
                "\(key) is \(row.map { "\($0.state)" } ?? end?.state ?? "")"
            )
        }
    }

    /// Messages of one queue, and rows of which one was answered before the other began, go out in that order.
    private func checkOrder() {
        // What the database's clock, set back, says is not due yet holds nobody up.
        guard scenario.clockJumps == 0 else { return }
        let whole = given.filter { key, given in
            given.ways.count == 1 && !given.isScheduled && !moved.contains(key) && !otherBodies.contains(key)
                && database.row(ofKey: key) == nil && api.accepted[key] != nil
                && !(api.accepted[key]!.contains(where: \.leftAfterFreeze))
        }.sorted { $0.value.number < $1.value.number }
        for (index, first) in whole.enumerated() {
            for second in whole[(index + 1)...]
            where first.value.line == second.value.line && first.value.person == second.value.person
                && first.value.ways == second.value.ways && [.shard, .row].contains(first.value.ways[0])
                && first.value.at < second.value.at
            {
                if api.accepted[first.key]![0].acceptedAt! > api.accepted[second.key]![0].acceptedAt! {
                    world.violated("in order of arrival", "\(second.key) before \(first.key)")
                }
            }
        }
    }
}
