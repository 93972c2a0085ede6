import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// What a seed decides before anything happens: the install, the load, and how much goes wrong.
struct Scenario {
    struct Work {
        enum Way: CaseIterable { case shard, shardAgain, intake, bulk, row }
        let at: World.Time
        let way: Way
        let job: SendJob
        let line: Int
    }

    struct Crash {
        let step: Step
        let worker: Int
        let count: Int
        let isFreeze: Bool
        let freezeFor: World.Time
    }

    static let persons = ["+972501234561", "+972501234562", "+972501234563", "+972501234564"]

    /// Nothing goes wrong any more from then on.
    let quietFrom: World.Time
    let shardCount: Int32
    let workers: Int
    let work: [Work]
    let lines: [LedgerModel.Lane]
    let remembersKeys: Bool
    let crashes: [Crash]
    let wakeLoss: Double
    /// How many of each kind of trouble come at times of their own.
    let kills: Int
    let freezes: Int
    let drains: Int
    let joins: Int
    let breaks: Int
    let databaseCrashes: Int
    let stalls: Int
    let brokerCrashes: Int
    let brokerBreaks: Int
    let outages: Int
    let providerOutages: Int
    let holds: Int
    let cancels: Int
    let reschedules: Int
    let errorRate: Double
    let replyLossRate: Double
    let clockJumps: Int
    let cuts: Int
    let api: SimAPI.Rates
    let timing: WorkerConfiguration.Timing

    init(_ world: World) {
        quietFrom = world.any(25...45) * World.second
        shardCount = Int32(world.any(1...4))
        workers = Int(world.any(2...3))
        remembersKeys = world.chance(0.5)
        wakeLoss = world.any(of: [0, 0.1, 0.5, 1])
        func some(_ most: Int64, _ probability: Double) -> Int {
            world.chance(probability) ? Int(world.any(1...most)) : 0
        }
        kills = some(3, 0.5)
        freezes = some(2, 0.35)
        drains = some(1, 0.25)
        joins = some(2, 0.4)
        breaks = some(5, 0.5)
        databaseCrashes = some(1, 0.2)
        stalls = some(1, 0.2)
        brokerCrashes = some(1, 0.2)
        brokerBreaks = some(4, 0.4)
        outages = some(2, 0.4)
        providerOutages = some(1, 0.12)
        holds = some(2, 0.3)
        cancels = some(3, 0.3)
        reschedules = some(2, 0.3)
        errorRate = world.any(of: [0, 0, 0, 0.005, 0.03])
        replyLossRate = world.any(of: [0, 0, 0, 0.003, 0.02])
        clockJumps = some(1, 0.1)
        cuts = some(2, 0.3)
        func rate(_ probability: Double) -> Double { world.chance(probability) ? world.any(of: [0.03, 0.1, 0.3]) : 0 }
        var api = SimAPI.Rates()
        api.noConnection = rate(0.25)
        api.refused = rate(0.15)
        api.tokenRefused = world.chance(0.1) ? 0.03 : 0
        api.slowDown = rate(0.2)
        api.conflict = rate(0.15)
        api.serverError = rate(0.25)
        api.silence = rate(0.2)
        api.reset = rate(0.25)
        api.unclearHealth = rate(0.2)
        api.slow = rate(0.3)
        api.slowConnect = world.any(of: [0.02, 0.02, 0.3])
        // Calls that take long are what a jump, or an owner that comes back, meets.
        if clockJumps > 0 || world.chance(0.1) { api.slow = 0.5 }
        self.api = api
        var timing = WorkerConfiguration.Timing()
        timing.look = .seconds(1)
        timing.sweep = .seconds(2)
        if world.chance(0.5) {
            // The same proportions, quicker: more of what happens between two owners happens while something else does.
            timing.heartbeat = .seconds(1)
            timing.actingLimit = .milliseconds(2_500)
            timing.silenceLimit = .seconds(4)
            timing.lease = .seconds(12)
            timing.connectTimeout = .seconds(2)
            timing.callTimeout = .seconds(5)
            timing.leaseMargin = .seconds(1)
            timing.foreignPatience = .seconds(3)
        }
        precondition(timing.isSound)
        self.timing = timing
        let quietFrom = quietFrom
        let workers = workers
        crashes = (0..<some(2, 0.6)).map { _ in
            Crash(
                // Steps of attempts that begin quietly are none of a line's.
                step: world.any(of: Step.allCases.filter { ![.asked, .refreshed, .marked].contains($0) }),
                worker: Int(world.any(0...Int64(workers - 1))),
                count: Int(world.any(1...6)),
                isFreeze: world.chance(0.3),
                freezeFor: world.any(1...60) * World.second
            )
        }
        lines = (0..<Int(world.chance(0.15) ? 5 : world.any(1...3))).map { number in
            let interval: Int32 = world.any(of: [0, 100, 500, 1_000, 2_000])
            guard let name = LaneName(stored: "line:line-\(number)") else { fatalError("not a line's name") }
            return LedgerModel.Lane(
                name: name,
                number: Int32(number + 1),
                hash: world.any(0...1_000_000),
                carrier: "ezwhatsapp",
                horizon: .seconds(43_200),
                interval: interval,
                concurrency: world.any(of: interval == 0 ? [1, 4, 16] : [1, 1, 2, 4]),
                gap: world.any(of: [0, 500, 2_000, 5_000]),
                revision: Int64(number + 1)
            )
        }
        work = Self.work(world, lines, until: quietFrom - 3 * World.second)
    }

    private static func work(_ world: World, _ lines: [LedgerModel.Lane], until end: World.Time) -> [Work] {
        var work: [Work] = []
        let count = world.any(6...24)
        let isBurst = world.chance(0.3)
        let persons = Array(persons.prefix(Int(world.any(1...4))))
        for number in 0..<count {
            let line = Int(world.any(0...Int64(lines.count - 1)))
            let at = isBurst ? world.any(3_000_000...4_000_000) : world.any(0...end)
            var notBefore: Timestamp?
            var sendBefore: Timestamp?
            let due = World.wallStart + at
            if world.chance(0.12) { notBefore = Timestamp(microseconds: due + world.any(500_000...15_000_000)) }
            if world.chance(0.12) {
                sendBefore = Timestamp(microseconds: (notBefore?.microseconds ?? due) + world.any(200_000...30_000_000))
            }
            let supersedes = world.chance(0.15)
            let key = "job:\(number)"
            let way = world.any(of: [Work.Way.shard, .shard, .shard, .intake, .bulk, .row, .row])
            func job(_ body: String) -> SendJob {
                do {
                    return try SendJob(
                        line: LineID(lines[line].id),
                        key: IdempotencyKey(key),
                        to: PhoneNumber(world.any(of: persons)),
                        body: body,
                        purpose: .order,
                        notBefore: notBefore,
                        sendBefore: sendBefore,
                        supersedeKey: supersedes ? "thing:\(number % 2)" : nil,
                        factAt: supersedes ? Timestamp(microseconds: due - world.any(0...5_000_000)) : nil
                    )
                } catch {
                    preconditionFailure("not a job: \(error)")
                }
            }
            let first = job("Your order \(number) is ready.")
            work.append(Work(at: at, way: way, job: first, line: line))
            if world.chance(0.12) {
                work.append(
                    Work(
                        at: at + world.any(0...8_000_000),
                        way: world.any(of: Work.Way.allCases),
                        job: first,
                        line: line
                    )
                )
            }
            if world.chance(0.05) {
                work.append(
                    Work(at: at + world.any(1...8_000_000), way: way, job: job("Another text \(number)."), line: line)
                )
            }
        }
        return work.sorted { $0.at < $1.at }
    }
}
