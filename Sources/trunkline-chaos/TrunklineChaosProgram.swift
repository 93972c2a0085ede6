internal import ArgumentParser
internal import Dispatch
internal import Foundation
internal import TrunklineChaos

/// Started by `./dev chaos` and `./dev bench`; not a product that is shipped.
@main
struct TrunklineChaosProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trunkline-chaos",
        abstract:
            "Harms a real install by a seeded schedule, and proves from outside that nothing was lost or doubled.",
        subcommands: [Run.self, Judge.self, Held.self, Speed.self]
    )
}

/// Where things are: what `./dev` knows.
struct Places: ParsableArguments {
    @Option(help: ArgumentHelp("Where everything is kept; servers are made in it.", valueName: "folder"))
    var folder: String

    @Option(help: ArgumentHelp("The script that starts servers.", valueName: "file"))
    var dev: String

    @Option(help: ArgumentHelp("The built trunkline.", valueName: "file"))
    var program: String

    @Option(help: "The commit that was built.")
    var commit: String?

    @Flag(help: "Nothing was changed since that commit.")
    var clean = false

    var options: ChaosOptions {
        var options = ChaosOptions(folder: folder, dev: dev, program: program)
        options.subject.commit = commit
        options.subject.isClean = commit == nil ? nil : clean
        return options
    }
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "One run of chaos.",
        discussion: "Exit code 0: every count that must be 0 is 0. 1: it is not, or the run could not be done."
    )

    @OptionGroup var places: Places

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

    func validate() throws {
        guard (100...10_000_000).contains(jobs) else { throw ValidationError("--jobs must be 100 to 10000000") }
        guard (4...1_000).contains(lines) else { throw ValidationError("--lines must be 4 to 1000") }
        guard (2...32).contains(workers) else { throw ValidationError("--workers must be 2 to 32") }
        if let minutes, !(0.5...600).contains(minutes) { throw ValidationError("--minutes must be 0.5 to 600") }
    }

    func run() async throws {
        var options = places.options
        options.jobs = jobs
        options.minutes = minutes
        options.seed = seed ?? UInt64.random(in: 1...999_999)
        options.lines = lines
        options.workers = workers
        options.keyMemory = keyMemory
        let report = try await Terminal.run { [options] in try await ChaosRun.run(options) { Terminal.say($0) } }
        print(report.table)
        print(report.subject.words)
        print("seed \(report.seed), \(Int(report.seconds)) s in all; everything is in \(places.folder)")
        guard report.isClean else {
            let minutes = minutes.map { " --minutes \($0)" } ?? ""
            print("NOT PROVEN. The same load and schedule again:")
            print(
                "    ./dev chaos --jobs \(jobs)\(minutes) --lines \(lines) --workers \(workers) "
                    + "--key-memory \(keyMemory.rawValue) --seed \(report.seed)"
            )
            throw ExitCode.failure
        }
        print("All zero, and everything that is needed to prove it has happened.")
    }

    private static func keyMemory(_ word: String) throws -> ChaosOptions.KeyMemory {
        guard let memory = ChaosOptions.KeyMemory(rawValue: word) else {
            throw ValidationError("--key-memory is on, off or both")
        }
        return memory
    }
}

struct Judge: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Judges again what a run has left in its folder; starts nothing.",
        discussion: "Faults are not counted again: their numbers are in report.json."
    )

    @Option(help: ArgumentHelp("What the run has left.", valueName: "folder"))
    var folder: String

    func run() throws {
        let report = Checker.check(try Evidence.read(folder: folder))
        print(report.table)
        guard report.isClean else { throw ExitCode.failure }
    }
}

struct Held: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Whether held lines cost the others throughput: five interleaved pairs.",
        discussion: "Exit code 0: the median loses at most a tenth. 1: it loses more, or it could not be measured."
    )

    @OptionGroup var places: Places

    @Option(help: "Jobs on the open half in each measurement, and waiting on the held half.")
    var jobs = 10_000

    @Option(help: "Lines, of which half are held.")
    var lines = 20

    @Option(help: "Worker processes.")
    var workers = 1

    func run() async throws {
        var options = places.options
        // The plan's own jobs are not used.
        options.jobs = 100
        options.lines = lines
        options.workers = workers
        let jobs = jobs
        let result = try await Terminal.run { [options] in
            try await HeldBench.run(options, jobs: jobs) { Terminal.say($0) }
        }
        print("\nsends/s of \(lines / 2) lines     other \(lines / 2) idle   other \(lines / 2) held     ratio")
        for (pair, (idle, held)) in zip(result.idle, result.held).enumerated() {
            print(String(format: "pair %d %26.0f %15.0f %9.3f", pair + 1, idle, held, held / idle))
        }
        print(String(format: "median of the ratios %37.3f", result.ratio))
        print(options.subject.words)
        guard result.isUnchanged else {
            print("Held lines cost the others more than a tenth.")
            throw ExitCode.failure
        }
    }
}

struct Speed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How fast one worker drains a backlog, and how long a single notice takes to the API.",
        discussion:
            "With --against: interleaved pairs. Exit code 1: ours drains less than 0.97 of it, or it could not be measured."
    )

    /// What a change may cost.
    private static let tolerance = 0.03

    @OptionGroup var places: Places

    @Option(help: ArgumentHelp("Another built trunkline to compare with.", valueName: "file"))
    var against: String?

    @Option(help: "Jobs in each backlog.")
    var jobs = 20_000

    @Option(help: "Single notices in each measurement.")
    var singles = 500

    @Option(help: "Lines.")
    var lines = 50

    @Option(help: "How often each is measured.")
    var pairs = 5

    func validate() throws {
        guard jobs > 0, singles >= 100, lines >= 4, pairs > 0 else {
            throw ValidationError("at least one job, 100 single notices, 4 lines and one pair are needed")
        }
    }

    func run() async throws {
        var options = places.options
        options.lines = lines
        let (against, jobs, singles, pairs) = (against, jobs, singles, pairs)
        // The plan's own jobs are not used.
        options.jobs = 100
        let result = try await Terminal.run { [options] in
            try await SpeedBench.run(options, against: against, jobs: jobs, singles: singles, pairs: pairs) {
                Terminal.say($0)
            }
        }
        print("\n\(jobs) jobs, \(lines) lines     sends/s     p50 ms     p99 ms")
        for pair in result.ours.indices {
            say("pair \(pair + 1)", result.ours[pair])
            if result.rivals.indices.contains(pair) { say("     against", result.rivals[pair]) }
        }
        print(options.subject.words)
        guard let ratio = result.ratio(\.drain), let slowness = result.ratio(\.median) else { return }
        print(String(format: "median of the ratios: sends/s %.3f, latency %.3f", ratio, slowness))
        guard ratio >= 1 - Self.tolerance else { throw ExitCode.failure }
    }

    private func say(_ name: String, _ figures: SpeedBench.Figures) {
        print(
            name.padding(toLength: 24, withPad: " ", startingAt: 0)
                + String(format: "%11.0f %10.1f %10.1f", figures.drain, figures.median, figures.worstOfHundred)
        )
    }
}

/// Progress, errors and signals.
enum Terminal {
    static func say(_ text: String) { FileHandle.standardError.write(Data("    \(text)\n".utf8)) }

    /// Runs `body`; a signal cancels it, and it takes down what it has set up.
    static func run<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
        let task = Task { try await body() }
        let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { task.cancel() }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        do {
            return try await task.value
        } catch {
            say("it could not be done: \(error)")
            throw ExitCode.failure
        }
    }
}
