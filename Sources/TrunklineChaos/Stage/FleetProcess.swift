internal import Glibc
internal import Synchronization
internal import TestKit

/// One place in the fleet: a process, started again whenever it was killed, behind proxies of its own.
final class FleetProcess: Sendable {
    enum Role: String, Sendable {
        case worker
        case gateway

        var arguments: [String] {
            switch self {
            case .worker: ["worker"]
            case .gateway: ["gateway", "--listen", "127.0.0.1:0"]
            }
        }
    }

    let role: Role
    let number: Int
    let database: FaultProxy
    let broker: FaultProxy
    let log: String
    private let program: String
    private let environment: [String: String]
    private struct State {
        var child: ChildProcess?
        var isTaken = false
        var unexpectedEnds: [Int32] = []
    }
    private let state = Mutex(State())

    init(
        _ role: Role,
        number: Int,
        database: FaultProxy,
        broker: FaultProxy,
        program: String,
        environment: [String: String],
        log: String
    ) {
        self.role = role
        self.number = number
        self.database = database
        self.broker = broker
        self.program = program
        self.environment = environment
        self.log = log
    }

    var name: String { "\(role.rawValue) \(number)" }
    /// Where a gateway listens, as far as it has said so; once it was started again perhaps still where the last one did.
    var port: UInt16? { announcedPort(in: text(of: log)) }
    var pid: Int32? { state.withLock { $0.child?.isRunning == true ? $0.child?.pid : nil } }
    /// Exit statuses of processes that ended without being asked to.
    var unexpectedEnds: [Int32] { state.withLock { $0.unexpectedEnds } }

    /// What became of a process that was to end: nil: it did not in time.
    static func words(forEnd status: Int32?) -> String {
        status.map { "ended with \(ChildProcess.words(for: $0))" } ?? "did not end in time, and was killed"
    }

    /// Starts a process when none runs.
    func start() throws {
        try state.withLock { state in
            if let child = state.child {
                guard let status = child.exitStatus else { return }
                state.unexpectedEnds.append(status)
            }
            state.child = try ChildProcess(
                program,
                role.arguments,
                environment: environment,
                output: log,
                errors: log
            )
        }
    }

    func send(_ signal: Int32) { state.withLock { $0.child?.send(signal) } }

    /// Waits for the process's end after a signal that ends it, and starts another.
    func replace(within limit: Duration) async throws -> Int32? {
        guard let child = state.withLock({ $0.child }) else { return nil }
        let deadline = ContinuousClock.now + limit
        while child.isRunning, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
        let status = child.exitStatus
        child.send(SIGKILL)
        while child.isRunning { try? await Task.sleep(for: .milliseconds(5)) }
        state.withLock { $0.child = nil }
        try start()
        return status
    }

    /// SIGTERM, and SIGKILL after `limit`. Returns its exit status; nil when it did not end in time.
    func stop(within limit: Duration) async -> Int32? {
        guard let child = state.withLock({ $0.child }) else { return nil }
        if let status = child.exitStatus { state.withLock { $0.unexpectedEnds.append(status) } }
        child.send(SIGTERM)
        child.send(SIGCONT)
        let deadline = ContinuousClock.now + limit
        while child.isRunning, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(10)) }
        let status = child.exitStatus
        child.send(SIGKILL)
        while child.isRunning { try? await Task.sleep(for: .milliseconds(5)) }
        return status
    }

    /// One fault at a time: true when it is ours now.
    func take() -> Bool {
        state.withLock { state in
            defer { state.isTaken = true }
            return !state.isTaken
        }
    }

    func giveBack() { state.withLock { $0.isTaken = false } }
}
