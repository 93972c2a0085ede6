internal import ArgumentParser
internal import Dispatch
internal import Foundation
internal import TrunklineChaos

/// Started by `./dev chaos`; not a product that is shipped.
@main
struct TrunklineChaosProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trunkline-chaos",
        abstract: "Harms a real install by a seeded schedule, and proves from outside that nothing was lost or doubled.",
        discussion: "Exit code 0: every count that must be 0 is 0. 1: it is not, or the run could not be done."
    )

    @Option(help: "Distinct keys.")
    var jobs = 100_000

    @Option(help: "Minutes of load and faults; default: as many as the jobs need.")
    var minutes: Double?

    @Option(help: "Seed of load and faults; default: a new one.")
    var seed: UInt64?

    @Option(help: "Lines, of which every seventh has a pace.")
    var lines = 40

    @Option(help: "Worker processes.")
    var workers = 4

    @Option(help: "Whether the simulated API remembers keys: on, off, or both in turn.", transform: Self.keyMemory)
    var keyMemory = ChaosOptions.KeyMemory.both

    @Option(help: ArgumentHelp("Where everything is kept; servers are made in it.", valueName: "folder"))
    var folder: String

    @Option(help: ArgumentHelp("The script that starts servers.", valueName: "file"))
    var dev: String

    @Option(help: ArgumentHelp("The built trunkline.", valueName: "file"))
    var program: String

    func validate() throws {
        guard (100...10_000_000).contains(jobs) else { throw ValidationError("--jobs must be 100 to 10000000") }
        guard (4...1_000).contains(lines) else { throw ValidationError("--lines must be 4 to 1000") }
        guard (2...32).contains(workers) else { throw ValidationError("--workers must be 2 to 32") }
        if let minutes, !(0.5...600).contains(minutes) { throw ValidationError("--minutes must be 0.5 to 600") }
    }

    func run() async throws {
        var options = ChaosOptions(folder: folder, dev: dev, program: program)
        options.jobs = jobs
        options.minutes = minutes
        options.seed = seed ?? UInt64.random(in: 1...999_999)
        options.lines = lines
        options.workers = workers
        options.keyMemory = keyMemory
        if jobs >= 100_000 {
            options.least.killsAndFreezes = 200
            options.least.brokerRestarts = 10
            options.least.databaseCrashes = 10
        }
        let task = Task { [options] in try await ChaosRun.run(options) { Self.say($0) } }
        let signals = Self.onSignals { task.cancel() }
        defer { withExtendedLifetime(signals) {} }
        let report: ChaosReport
        do {
            report = try await task.value
        } catch {
            Self.say("the run could not be done: \(error)")
            throw ExitCode.failure
        }
        print(report.table)
        print("seed \(report.seed), \(Int(report.seconds)) s in all; everything is in \(folder)")
        guard report.isClean else {
            print("NOT PROVEN. Again with the same schedule: ./dev chaos --jobs \(jobs) --lines \(lines) --workers \(workers) --seed \(report.seed)")
            throw ExitCode.failure
        }
        print("All zero.")
    }

    private static func keyMemory(_ word: String) throws -> ChaosOptions.KeyMemory {
        guard let memory = ChaosOptions.KeyMemory(rawValue: word) else {
            throw ValidationError("--key-memory is on, off or both")
        }
        return memory
    }

    private static func say(_ text: String) { FileHandle.standardError.write(Data("    \(text)\n".utf8)) }

    private static func onSignals(_ body: @escaping @Sendable () -> Void) -> [any DispatchSourceSignal] {
        [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: body)
            source.resume()
            return source
        }
    }
}
