internal import CurlDriver
internal import EventLoop
internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

// What a worker asks of the world. The drivers fit these as they are; a simulation puts a world of its own behind them, in
// which time, chance and every fault come from one seed.

/// The thread a worker lives on, its timers, and both clocks.
protocol WorkerLoop: AnyObject {
    /// The steady clock, as it is at this very moment.
    var present: ContinuousClock.Instant { get }
    /// The wall clock.
    var wallTime: Timestamp { get }
    /// Runs `body` once, no earlier than `deadline`.
    func at(_ deadline: ContinuousClock.Instant, _ body: @escaping () -> Void)
    /// Runs `body` once, no earlier than `delay` from the present.
    func after(_ delay: Duration, _ body: @escaping () -> Void)
    /// Runs `body` once in every turn, after everything that happened in it.
    func beforeWait(_ body: @escaping () -> Void)
    /// Traps when the caller is on another thread.
    func preconditionOnLoop(file: StaticString, line: UInt)
}

extension WorkerLoop {
    func preconditionOnLoop(_ file: StaticString = #file, _ line: UInt = #line) {
        preconditionOnLoop(file: file, line: line)
    }
}

/// Whoever makes calls to carriers.
protocol HTTPCaller: AnyObject {
    var freeSlots: Int { get }
    func send(
        _ request: HTTPRequest,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    )
    func close()
}

/// The connection to the broker that a worker consumes on. It comes back by itself; channels do not.
protocol BrokerLink: AnyObject {
    var onConnect: (() -> Void)? { get set }
    var onDisconnect: ((RabbitError) -> Void)? { get set }
    var onConnectFailed: ((RabbitError) -> Void)? { get set }
    var isConnected: Bool { get }
    var serverVersion: String? { get }
    func open()
    func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void)
    func openControlChannel(_ done: @escaping (Result<any ControlChannel, RabbitError>) -> Void)
    /// Asks for anything at all; `answered` is called when an answer comes.
    func ask(_ answered: @escaping () -> Void)
    /// Gives up the live connection and makes a new one.
    func reset(because reason: String)
    func close(done: @escaping () -> Void)
}

// A world without these has nothing to say about them.
extension BrokerLink {
    func openControlChannel(_ done: @escaping (Result<any ControlChannel, RabbitError>) -> Void) {}
    func ask(_ answered: @escaping () -> Void) { answered() }
    func reset(because reason: String) {}
}

/// A channel with one subscription.
protocol ConsumerChannel: AnyObject {
    var onClose: ((RabbitError) -> Void)? { get set }
    func consume(
        queue: String,
        tag: String,
        prefetch: UInt16,
        onDelivery: @escaping (RabbitDelivery) -> Void,
        onCancel: @escaping () -> Void,
        done: @escaping (Result<Void, RabbitError>) -> Void
    )
    func cancel(tag: String, done: @escaping (Result<Void, RabbitError>) -> Void)
    func ack(through tag: UInt64)
    func close(done: @escaping (Result<Void, RabbitError>) -> Void)
}

/// Whoever publishes wake-ups. Lost ones cost latency only, so nobody asks what became of them.
protocol WakePublisher: AnyObject {
    func publishWakeUps(_ messages: [RabbitMessage])
}

/// Chance, from wherever the ports have it: the compiler opens an existential generator only in plain calls.
struct Chance: RandomNumberGenerator {
    private var source: any RandomNumberGenerator
    init(_ source: any RandomNumberGenerator) { self.source = source }
    mutating func next() -> UInt64 { source.next() }
}

/// Everything a worker reaches the world through.
struct WorkerPorts {
    let loop: any WorkerLoop
    let http: any HTTPCaller
    let control: any FleetLedger
    let intake: any JobLedger
    let settler: any OutcomeLedger
    let broker: any BrokerLink
    let publisher: any WakePublisher
    /// Jitter, consumer tags, and the boot id before all else.
    let random: Chance
    /// The boot id that the connections were named with; drawn from `random` when nil.
    var boot: [UInt8]?
    /// What runs received events; nil in a world without them.
    var events: (any EventLedger)?
    /// What the fleet does beside its work; nil in a world without days.
    var upkeep: (any FleetUpkeep)?
    #if Faults
        /// Called at each step, beside what the process's environment asks for.
        var onStep: ((Step, Int) -> Void)?
        /// Mechanisms that this worker does without, beside those that the environment turns off.
        var turnedOff: Set<Mechanism> = []
    #endif
}
