import Logging
import TrunklineCore

@testable import TrunklineEngine

/// A worker's process: its thread, its clocks, and whether it runs.
///
/// Everything that reaches the worker is an `input`, everything that it asks of the world an `output`. A dead process has
/// neither; a frozen one has both when it thaws, late and in order, while the world has gone on.
final class SimProcess: WorkerLoop {
    enum State { case running, frozen, dead }

    let world: World
    let number: Int
    /// The worker's boot id.
    let boot: [UInt8]
    /// How far its wall clock is ahead.
    let wallSkew: Int64
    private(set) var state = State.running
    var worker: Worker?
    /// When it ended, stood still or went on: what it knew then may be lost.
    private(set) var troubles: [World.Time] = []
    var lastTrouble: World.Time { troubles.last ?? -1 }
    /// From when to when its way to the database was dead: what it knew could not be recorded.
    var databaseCuts: [(begin: World.Time, end: World.Time)] = []
    private(set) var isDraining = false
    private var inputs: [() -> Void] = []
    private var outputs: [() -> Void] = []
    private var turnEnds: [() -> Void] = []
    private var turnIsPlanned = false
    private var whenOver: [() -> Void] = []
    var onFreeze: (() -> Void)?
    var onThaw: (() -> Void)?

    init(world: World, number: Int, boot: [UInt8], wallSkew: Int64) {
        self.world = world
        self.number = number
        self.boot = boot
        self.wallSkew = wallSkew
    }

    var isRunning: Bool { state == .running }
    var isDead: Bool { state == .dead }

    // MARK: In and out

    func input(_ body: @escaping () -> Void) {
        switch state {
        case .dead: return
        case .frozen: inputs.append(body)
        case .running:
            body()
            planTurnEnd()
        }
    }

    func output(_ body: @escaping () -> Void) {
        switch state {
        case .dead: return
        case .frozen: outputs.append(body)
        case .running: body()
        }
    }

    private func planTurnEnd() {
        guard !turnIsPlanned else { return }
        turnIsPlanned = true
        world.at(world.now) { [self] in turnEnded() }
    }

    private func turnEnded() {
        switch state {
        case .dead: return
        case .frozen: inputs.append { [self] in turnEnded() }
        case .running:
            turnIsPlanned = false
            for body in turnEnds { body() }
        }
    }

    // MARK: Life

    func die() {
        guard state != .dead else { return }
        troubles.append(world.now)
        state = .dead
        inputs = []
        outputs = []
        turnEnds = []
        worker = nil
        for body in whenOver { body() }
        whenOver = []
    }

    /// What the world does when the kernel has closed the process's sockets.
    func whenDead(_ body: @escaping () -> Void) { whenOver.append(body) }

    func freeze() {
        guard state == .running else { return }
        troubles.append(world.now)
        state = .frozen
        onFreeze?()
    }

    func thaw() {
        guard state == .frozen else { return }
        world.hit(.thaw, "worker \(number)")
        troubles.append(world.now)
        state = .running
        onThaw?()
        let late = outputs
        outputs = []
        for body in late { output(body) }
        let waiting = inputs
        inputs = []
        for body in waiting { input(body) }
    }

    func drain() {
        guard state == .running, let worker, !isDraining else { return }
        isDraining = true
        input { worker.drain() }
    }

    // MARK: WorkerLoop

    var present: ContinuousClock.Instant { world.instant }
    var wallTime: Timestamp { Timestamp(microseconds: world.wall + wallSkew) }

    func at(_ deadline: ContinuousClock.Instant, _ body: @escaping () -> Void) {
        world.at(world.time(of: deadline)) { [self] in input(body) }
    }

    func after(_ delay: Duration, _ body: @escaping () -> Void) {
        world.after(delay.microseconds) { [self] in input(body) }
    }

    func beforeWait(_ body: @escaping () -> Void) { turnEnds.append(body) }

    func preconditionOnLoop(file: StaticString, line: UInt) {}
}
