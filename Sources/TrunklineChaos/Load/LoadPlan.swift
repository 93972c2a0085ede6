internal import TestKit

/// The jobs of a run and when they are given: the same for the same seed.
///
/// Made to be able to fail: every person gets twenty jobs and more, a tenth supersede each other (a fourth of them arrive
/// out of the order of their facts), a twentieth is cancelled, a twentieth scheduled, a twentieth given again by another way.
struct LoadPlan: Sendable {
    struct Line: Sendable {
        let id: String
        let pace: Pace
    }

    /// How fast a line may send, in the words of `trunkline line add`.
    struct Pace: Sendable, Hashable {
        let pace: String
        /// Seconds between two sends; 0: unlimited.
        let interval: Double
        /// Calls at once; 0: whatever the product does.
        let concurrency: Int
        /// Seconds between two messages to one person.
        let gap: Double

        static let unlimited = Pace(pace: "unlimited", interval: 0, concurrency: 0, gap: 0)
        static let limited = [
            Pace(pace: "5/s", interval: 0.2, concurrency: 2, gap: 0),
            Pace(pace: "2/s", interval: 0.5, concurrency: 1, gap: 2),
            Pace(pace: "4/s", interval: 0.25, concurrency: 1, gap: 0),
        ]

        var arguments: [String] {
            guard interval > 0 else { return ["--pace", pace] }
            return [
                "--pace", pace, "--concurrency", "\(concurrency)", "--recipient-gap", "\(Int(gap * 1_000))ms",
            ]
        }
    }

    struct Job: Sendable {
        let number: Int
        let key: String
        let line: String
        let to: String
        let way: ProducerRecord.Way
        /// The way of a second giving, and how many seconds after the first promise.
        let again: (way: ProducerRecord.Way, after: Double)?
        /// Seconds after the begin of the load.
        let at: Double
        let supersedeKey: String?
        /// Order of the facts of one supersede key.
        let fact: Int?
        /// Seconds after `at`.
        let notBeforeAfter: Double?
        let producer: Int
    }

    /// Keys that one `trunkline cancel` names.
    struct Cancel: Sendable {
        let pattern: String
        /// Seconds after the begin of the load.
        let at: Double
    }

    static let producers = 4
    let lines: [Line]
    let persons: Int
    let jobs: [Job]
    let cancels: [Cancel]

    init(_ options: ChaosOptions) {
        var random = SeededGenerator(seed: options.seed, part: "load")
        let seconds = options.loadSeconds
        let persons = max(4, options.jobs / 50)
        let lines = Self.makeLines(options.lines)
        let homes = Self.homes(persons, lines, jobs: options.jobs, seconds: seconds, &random)
        var jobs: [Job] = []
        jobs.reserveCapacity(options.jobs)
        var cancels: [Cancel] = []
        var chain = Chain()
        var round: [Int] = []
        let group = max(4, options.jobs / 2_000)

        for number in 0..<options.jobs {
            if round.isEmpty { round = Array(0..<persons).shuffled(using: &random) }
            var person = round.removeLast()
            let at = seconds * Double(number) / Double(options.jobs)
            // Groups of keys that a pattern names: a twentieth of all.
            let cancelGroup = number / group
            let isCancelled = cancelGroup % 20 == 7
            if isCancelled, number % group == group - 1 {
                cancels.append(Cancel(pattern: "cancel:\(cancelGroup):*", at: at + random.pick([0.5, 2, 5, 10])))
            }
            var supersede: (key: String, fact: Int)?
            if !isCancelled { supersede = chain.next(number, &person, &random) }
            let home = homes[person]
            let line = random.chance(0.8) || supersede != nil ? home.lines[0] : home.lines[1]
            let scheduled = !isCancelled && supersede == nil && random.chance(0.056)
            let wait =
                isCancelled && random.chance(0.6) ? 20.0 : scheduled ? Double.random(in: 2...60, using: &random) : nil
            jobs.append(
                Job(
                    number: number,
                    key: isCancelled ? "cancel:\(cancelGroup):\(number)" : "job:\(number)",
                    line: lines[line].id,
                    to: "+97250" + String(1_000_000 + person),
                    way: random.chance(0.9) ? home.way : random.pick(ProducerRecord.Way.allCases),
                    again: random.chance(0.05)
                        ? (random.pick(ProducerRecord.Way.allCases), Double.random(in: 0...20, using: &random)) : nil,
                    at: at,
                    supersedeKey: supersede?.key,
                    fact: supersede?.fact,
                    notBeforeAfter: wait,
                    producer: person % Self.producers
                )
            )
        }
        self.lines = lines
        self.persons = persons
        self.jobs = jobs
        self.cancels = cancels
    }

    /// Four facts of one thing for one person, now and then out of order: a tenth of all jobs.
    private struct Chain {
        private var open: [(key: String, person: Int, facts: [Int])] = []

        mutating func next(_ number: Int, _ person: inout Int, _ random: inout SeededGenerator) -> (String, Int)? {
            guard random.chance(0.105) else { return nil }
            if open.count < 20 {
                var facts = [1, 2, 3, 4]
                if random.chance(0.4) { facts.swapAt(1, 2) }
                if random.chance(0.4) { facts.swapAt(2, 3) }
                open.append(("order:\(number)", person, facts))
            }
            let index = Int.random(in: 0..<open.count, using: &random)
            person = open[index].person
            let fact = open[index].facts.removeFirst()
            let key = open[index].key
            if open[index].facts.isEmpty { open.remove(at: index) }
            return (key, fact)
        }
    }

    private static func makeLines(_ count: Int) -> [Line] {
        let width = max(2, String(count).count)
        return (1...max(2, count)).map { number in
            let digits = String(number)
            let id = "line-" + String(repeating: "0", count: max(0, width - digits.count)) + digits
            // Every seventh line has a pace.
            let pace = number % 7 == 3 ? Pace.limited[(number / 7) % Pace.limited.count] : .unlimited
            return Line(id: id, pace: pace)
        }
    }

    /// Two lines and a usual way in for each person. A line with a pace gets no more persons than it can serve.
    private static func homes(
        _ persons: Int,
        _ lines: [Line],
        jobs: Int,
        seconds: Double,
        _ random: inout SeededGenerator
    ) -> [(lines: [Int], way: ProducerRecord.Way)] {
        let perPerson = Double(jobs) / seconds / Double(persons)
        var room = lines.map { line in
            line.pace.interval == 0
                ? Int.max : max(1, Int(0.35 / max(line.pace.interval, line.pace.gap / 4) / perPerson))
        }
        let unlimited = lines.indices.filter { lines[$0].pace.interval == 0 }
        func take(_ random: inout SeededGenerator) -> Int {
            let line = Int.random(in: 0..<lines.count, using: &random)
            guard room[line] > 0 else { return random.pick(unlimited) }
            if room[line] != .max { room[line] -= 1 }
            return line
        }
        return (0..<persons).map { _ in
            let first = take(&random)
            let roll = Double.random(in: 0..<1, using: &random)
            let way: ProducerRecord.Way =
                roll < 0.42
                ? .shard
                : roll < 0.54
                    ? .intake
                    : roll < 0.6 ? .foreign : roll < 0.68 ? .bulk : roll < 0.96 ? .row : .direct
            return ([first, random.pick(unlimited)], way)
        }
    }
}
