import TestKit
import TrunklineCore

/// Time, chance and events of one simulated run. Nothing in it knows of threads or of the real time.
final class World {
    /// Microseconds since the beginning.
    typealias Time = Int64

    static let second: Time = 1_000_000
    static let millisecond: Time = 1_000
    /// The steady clock's reading at the beginning: only differences count.
    private static let start = ContinuousClock.now
    /// The wall clock's reading at the beginning: 2026-06-01, a minute before midnight UTC.
    static let wallStart: Int64 = 1_780_271_940_000_000

    /// No run needs nearly as many.
    private static let mostEvents = 1_000_000

    let seed: UInt64
    private var random: SeededGenerator
    private(set) var now: Time = 0
    private var events = EventQueue()
    private var lastEvent: UInt64 = 0
    /// Of every event so far: two runs of a seed must agree.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var eventCount = 0

    let hits = Hits()
    private(set) var violations: [String] = []
    private(set) var log: [String] = []
    /// Whether every step is written down, or faults only.
    var isVerbose = false

    init(seed: UInt64) {
        self.seed = seed
        random = Self.generator(seed)
    }

    // MARK: Time

    var instant: ContinuousClock.Instant { Self.start + .microseconds(now) }

    /// Rounded up: a timer never fires before its time, else who looks at the clock sets it again for the same moment.
    func time(of instant: ContinuousClock.Instant) -> Time {
        let (seconds, attoseconds) = (instant - Self.start).components
        return seconds * 1_000_000 + (attoseconds + 999_999_999_999) / 1_000_000_000_000
    }

    var wall: Int64 { Self.wallStart + now }

    func at(_ time: Time, _ body: @escaping () -> Void) {
        lastEvent += 1
        events.insert(Event(time: max(time, now), number: lastEvent, body: body))
    }

    func after(_ delay: Time, _ body: @escaping () -> Void) { at(now + delay, body) }

    /// Runs until `limit`, or until `isOver` says so; that is asked once a second.
    func run(until limit: Time, isOver: () -> Bool) {
        var nextQuestion = now
        while let event = events.popFirst(notAfter: limit) {
            now = event.time
            eventCount += 1
            if eventCount > Self.mostEvents { return violated("no storm", "\(eventCount) events") }
            note(UInt64(bitPattern: now))
            note(event.number)
            event.body()
            if !violations.isEmpty { return }
            if now >= nextQuestion {
                if isOver() { return }
                nextQuestion = now + Self.second
            }
        }
        now = max(now, min(limit, now))
    }

    /// Closures hold the world's parts, which hold the world.
    func end() { events = EventQueue() }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool {
        probability > 0 && Double(random.next() >> 11) * 0x1p-53 < probability
    }

    func any(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    func any<Element>(of elements: [Element]) -> Element { elements[Int(any(0...Int64(elements.count - 1)))] }

    func newGenerator() -> SeededGenerator { Self.generator(random.next()) }

    /// Seeds are counted from 1: far apart, so that none begins in another one's numbers.
    private static func generator(_ seed: UInt64) -> SeededGenerator {
        SeededGenerator(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1)
    }

    // MARK: What happened

    func note(_ value: UInt64) { digest = (digest ^ value) &* 0x0000_0100_0000_01B3 }

    func hit(_ fault: Fault, _ what: @autoclosure () -> String = "") {
        hits[fault] += 1
        write("\(fault.rawValue) \(what())")
    }

    /// One line of the seed's own log.
    func write(_ line: @autoclosure () -> String) {
        guard log.count < 20_000 else { return }
        log.append("\(stamp) \(line())")
    }

    func trace(_ line: @autoclosure () -> String) {
        if isVerbose { write("  " + line()) }
    }

    func violated(_ rule: String, _ what: String) {
        violations.append("\(rule): \(what)")
        write("VIOLATED \(rule): \(what)")
    }

    private var stamp: String {
        let milliseconds = now / 1_000
        let rest = String(milliseconds % 1_000)
        return "\(milliseconds / 1_000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }
}

extension Duration {
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}

struct Event {
    let time: World.Time
    let number: UInt64
    let body: () -> Void

    func isBefore(_ other: Event) -> Bool { time == other.time ? number < other.number : time < other.time }
}

/// A binary heap, plain because it is built without optimisation.
struct EventQueue {
    private var heap: [Event] = []

    mutating func insert(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func popFirst(notAfter limit: World.Time) -> Event? {
        guard let first = heap.first, first.time <= limit else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            let left = parent * 2 + 1
            if left < heap.count, heap[left].isBefore(heap[least]) { least = left }
            if left + 1 < heap.count, heap[left + 1].isBefore(heap[least]) { least = left + 1 }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
