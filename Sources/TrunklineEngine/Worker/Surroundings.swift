internal import Logging
internal import TrunklineCore

typealias Instant = ContinuousClock.Instant

/// What every part of a worker is given of the world and of the worker's life: clocks, chance, the log, the switches of test
/// builds. It knows no part.
final class Surroundings {
    let configuration: WorkerConfiguration
    let timing: WorkerConfiguration.Timing
    /// Random per boot: names the owner in fences, leases and heartbeats.
    let boot: BootID
    let loop: any WorkerLoop
    let log: Logger
    /// Jitter, consumer tags, and which line is asked. One source, so that a simulated run can be repeated.
    var chance: Chance
    /// What the parts have counted.
    var telemetry = Telemetry()
    /// Nothing new is begun any more.
    private(set) var isDraining = false
    /// Everything is closed.
    private(set) var isStopped = false
    private var unheardWords: [String: Int] = [:]
    #if Faults
        private let onStep: ((Step, Int) -> Void)?
        private let turnedOff: Set<Mechanism>
    #endif

    init(_ configuration: WorkerConfiguration, _ ports: WorkerPorts, _ logger: Logger) {
        self.configuration = configuration
        timing = configuration.timing
        loop = ports.loop
        #if Faults
            onStep = ports.onStep
            turnedOff = ports.turnedOff
        #endif
        var chance = ports.random
        boot = BootID(bytes: ports.boot ?? Worker.newBoot(using: &chance))
        self.chance = chance
        var log = logger
        log[metadataKey: "worker"] = .string(String(UUIDText.string(boot.bytes).prefix(8)))
        self.log = log
    }

    // MARK: Time and chance

    /// The steady clock, as it is at this very moment.
    var now: Instant { loop.present }

    /// 0…1.
    func jitter() -> Double { .random(in: 0...1, using: &chance) }

    /// Makes a turn happen: what waits for a moment is looked at then.
    func wakeTurn(in delay: Duration) { loop.after(delay) {} }

    // MARK: The end

    func drain() { isDraining = true }
    func stop() { isStopped = true }

    // MARK: Words of later schemas

    /// A word that this program does not know: what it stands for is left alone. Said once, and again when it has come ten
    /// times as often.
    func unheard(_ word: String, of statement: String) {
        let count = unheardWords[statement + " " + word, default: 0] + 1
        unheardWords[statement + " " + word] = count
        var power = 1
        while power < count { power *= 10 }
        guard power == count else { return }
        log.error(
            "the database speaks of something that this version does not know: left alone",
            metadata: ["statement": "\(statement)", "word": "\(word)", "times": "\(count)"]
        )
    }

    // MARK: Faults

    /// Passes a step of a job's way; a test may end or freeze the worker there.
    func reached(_ step: Step, times: Int = 1) {
        #if Faults
            Faults.reached(step, times: times)
            if times > 0 { Faults.hang(at: step) }
            if times > 0 { onStep?(step, times) }
        #endif
    }

    /// Ends the process when a test has said that these bytes are deadly.
    func poison(_ kind: PoisonKind, _ bytes: [UInt8]) { Faults.poison(kind, bytes) }

    /// Whether a test has turned the mechanism off.
    func isOff(_ mechanism: Mechanism) -> Bool {
        #if Faults
            Faults.isOff(mechanism) || turnedOff.contains(mechanism)
        #else
            false
        #endif
    }
}
