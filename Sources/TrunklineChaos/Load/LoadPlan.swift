internal import TestKit

/// The jobs of a run and when they are given: the same for the same seed.
///
/// Made to be able to fail: every person gets twenty jobs and more, a tenth supersede each other (a fourth of them arrive
/// out of the order of their facts), a twentieth is cancelled, a twentieth scheduled, a twentieth given again by another way.
/// Where there are destinations, some persons are threads of events for one of them instead: every second thread keeps its
/// order by an ordering key, and the events of the others wait for nothing.
struct LoadPlan: Sendable {
    /// A line, or a destination.
    struct Lane: Sendable {
        enum Kind: String, Sendable {
            case line
            case destination
        }

        let kind: Kind
        let id: String
        let pace: Pace

        /// Its name in logs, and what its shard is worked out from.
        var name: String { "\(kind.rawValue):\(id)" }
    }

    /// How fast a line may send, in the words of `trunkline line add`; of a destination without the gap.
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

        func arguments(_ kind: Lane.Kind) -> [String] {
            guard interval > 0 else { return ["--pace", pace] }
            return ["--pace", pace, "--concurrency", "\(concurrency)"]
                + (kind == .line ? ["--recipient-gap", "\(Int(gap * 1_000))ms"] : [])
        }
    }

    struct Job: Sendable {
        let number: Int
        let key: String
        let lane: Lane
        /// Of a notice.
        let to: String?
        /// Of an event that keeps its order.
        let orderingKey: String?
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
        /// Nil: notices are meant.
        let destination: Lane?
        /// Seconds after the begin of the load.
        let at: Double
    }

    static let producers = 4
    let lines: [Lane]
    let destinations: [Lane]
    let persons: Int
    let jobs: [Job]
    let cancels: [Cancel]

    init(_ options: ChaosOptions) {
        var random = SeededGenerator(seed: options.seed, part: "load")
        let seconds = options.loadSeconds
        let persons = max(4, options.jobs / 50)
        let lines = Self.makeLanes(.line, max(2, options.lines), paced: options.hasPaces ? 7 : nil)
        let destinations = Self.makeLanes(.destination, options.destinations, paced: options.hasPaces ? 4 : nil)
        let homes = Self.homes(persons, lines, destinations, perSecond: Double(options.jobs) / seconds, &random)
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
            // Keys are a destination's own: one command names those of one.
            let cancelledAt = destinations.isEmpty ? nil : destinations[cancelGroup % destinations.count]
            if isCancelled, number % group == group - 1 {
                let moment = at + random.pick([0.5, 2, 5, 10])
                for destination in [nil] + (cancelledAt.map { [$0] } ?? []) {
                    cancels.append(Cancel(pattern: "cancel:\(cancelGroup):*", destination: destination, at: moment))
                }
            }
            var supersede: (key: String, fact: Int)?
            if !isCancelled { supersede = chain.next(number, &person, &random) }
            let home = homes[person]
            var lane = random.chance(0.8) || supersede != nil ? home.lanes[0] : home.lanes[1]
            let isNotice = lane.kind == .line
            if isCancelled, !isNotice, let cancelledAt { lane = cancelledAt }
            let scheduled = !isCancelled && supersede == nil && random.chance(0.056)
            let wait =
                isCancelled && random.chance(0.6) ? 20.0 : scheduled ? Double.random(in: 2...60, using: &random) : nil
            jobs.append(
                Job(
                    number: number,
                    key: isCancelled ? "cancel:\(cancelGroup):\(number)" : "job:\(number)",
                    lane: lane,
                    to: isNotice ? "+97250" + String(1_000_000 + person) : nil,
                    orderingKey: !isNotice && home.isOrdered ? "thread:\(person)" : nil,
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
        self.destinations = destinations
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

    /// - Parameter paced: of so many one has a pace; nil: none.
    private static func makeLanes(_ kind: Lane.Kind, _ count: Int, paced: Int?) -> [Lane] {
        let width = max(2, String(count).count)
        return (0..<count).map { number in
            let digits = String(number + 1)
            let id = "\(kind.rawValue)-" + String(repeating: "0", count: max(0, width - digits.count)) + digits
            guard let paced, number % paced == 2 else { return Lane(kind: kind, id: id, pace: .unlimited) }
            return Lane(kind: kind, id: id, pace: Pace.limited[(number / paced) % Pace.limited.count])
        }
    }

    /// Where somebody's jobs go, and by which way most of them.
    private struct Home {
        let lanes: [Lane]
        let way: ProducerRecord.Way
        /// Of a thread of events.
        let isOrdered: Bool
    }

    /// Two lanes of one kind and a usual way in for each person or thread. A lane with a pace gets no more of them than it can
    /// serve.
    private static func homes(
        _ persons: Int,
        _ lines: [Lane],
        _ destinations: [Lane],
        perSecond: Double,
        _ random: inout SeededGenerator
    ) -> [Home] {
        var (lineRoom, destinationRoom) = (
            Room(lines, perPerson: perSecond / Double(persons)),
            Room(destinations, perPerson: perSecond / Double(persons))
        )
        var threads = 0
        return (0..<persons).map { person in
            let isThread = person * destinations.count % (lines.count + destinations.count) < destinations.count
            if isThread { threads += 1 }
            let first = isThread ? destinationRoom.take(&random) : lineRoom.take(&random)
            let roll = Double.random(in: 0..<1, using: &random)
            let way: ProducerRecord.Way =
                roll < 0.42
                ? .shard
                : roll < 0.54
                    ? .intake
                    : roll < 0.6 ? .foreign : roll < 0.68 ? .bulk : roll < 0.87 ? .row : roll < 0.96 ? .posted : .direct
            let second = random.pick(isThread ? destinationRoom.unlimited : lineRoom.unlimited)
            return Home(lanes: [first, second], way: way, isOrdered: threads % 2 == 1)
        }
    }

    /// How many persons may still live on each lane.
    private struct Room {
        let lanes: [Lane]
        let unlimited: [Lane]
        private var room: [Int]

        init(_ lanes: [Lane], perPerson: Double) {
            self.lanes = lanes
            unlimited = lanes.filter { $0.pace.interval == 0 }
            room = lanes.map { lane in
                lane.pace.interval == 0
                    ? Int.max : max(1, Int(0.35 / max(lane.pace.interval, lane.pace.gap / 4) / perPerson))
            }
        }

        mutating func take(_ random: inout SeededGenerator) -> Lane {
            let lane = Int.random(in: 0..<lanes.count, using: &random)
            guard room[lane] > 0 else { return random.pick(unlimited) }
            if room[lane] != .max { room[lane] -= 1 }
            return lanes[lane]
        }
    }
}
