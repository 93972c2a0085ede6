internal import ArgumentParser
internal import EventLoop
internal import Foundation
internal import TestKit
internal import TrunklineChaos
internal import TrunklineDev

extension Place {
    /// What is judged, and where: in `.dev/chaos`, of the commit that is checked out.
    func options() async throws -> ChaosOptions {
        var options = ChaosOptions(
            folder: rooms.chaos,
            checkout: rooms.checkout(noting: rooms.chaos),
            program: program
        )
        func git(_ arguments: String...) async throws -> Command.Outcome {
            try await Command.run("/usr/bin/git", ["-C", root] + arguments)
        }
        let commit = try await git("rev-parse", "--verify", "--quiet", "HEAD")
        if commit.status == 0 {
            options.subject.commit = commit.output.trimmingCharacters(in: .newlines)
            options.subject.isClean = try await git("status", "--porcelain").output.isEmpty
        }
        return options
    }

    /// Runs what needs servers of its own, all of whose processes are marked, and ends those.
    ///
    /// - Parameter name: as it is typed after `./dev`.
    func proof<Value: Sendable>(
        _ name: String,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        RunMark(root: root).set()
        DescriptorLimit.raise()
        let rooms = rooms
        return try await perform(failing: "    it could not be done: ") { _ in
            try await rooms.clearChaos()
        } _: {
            // What an interrupted run left.
            try await rooms.clearChaos()
            removeFiles(rooms.chaos)
            try makeFolder(rooms.chaos)
            Terminal.log("Running ./dev \(name); everything it leaves is in \(rooms.checkout.relative(rooms.chaos))")
            return try await body()
        }
    }
}

struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Harms a real install by a seeded schedule, and proves from outside that nothing was lost or doubled.",
        discussion: "Exit code 0: every count that must be 0 is 0. 1: it is not, or the run could not be done."
    )

    @OptionGroup var place: Place

    @Option(help: "Distinct keys.")
    var jobs = 100_000

    @Option(help: "Minutes of load and faults; default: as many as the jobs need.")
    var minutes: Double?

    @Option(help: "Seed of load and faults; default: a new one.")
    var seed: UInt64?

    @Option(help: "Lines, of which every seventh has a pace.")
    var lines = 40

    @Option(help: "Destinations, of which every fourth has a pace; none: nothing is delivered.")
    var destinations = 8

    @Option(help: "Worker processes.")
    var workers = 4

    @Option(
        help: "Whether the simulated API and receivers remember keys: on, off, or both in turn.",
        transform: Self.keyMemory
    )
    var keyMemory = ChaosOptions.KeyMemory.both

    func validate() throws {
        guard (100...10_000_000).contains(jobs) else { throw ValidationError("--jobs must be 100 to 10000000") }
        guard (4...1_000).contains(lines) else { throw ValidationError("--lines must be 4 to 1000") }
        guard destinations == 0 || (4...1_000).contains(destinations) else {
            throw ValidationError("--destinations must be 0, or 4 to 1000")
        }
        guard (2...32).contains(workers) else { throw ValidationError("--workers must be 2 to 32") }
        if let minutes, !(0.5...600).contains(minutes) { throw ValidationError("--minutes must be 0.5 to 600") }
    }

    func run() async throws {
        var options = try await place.options()
        options.jobs = jobs
        options.minutes = minutes
        options.seed = seed ?? UInt64.random(in: 1...999_999)
        options.lines = lines
        options.destinations = destinations
        options.workers = workers
        options.keyMemory = keyMemory
        let report = try await place.proof("chaos") { [options] in
            try await ChaosRun.run(options, say: Terminal.note)
        }
        print(report.table)
        print(report.subject.words)
        print("seed \(report.seed), \(Int(report.seconds)) s in all; everything is in \(options.folder)")
        guard report.isClean else {
            let minutes = minutes.map { " --minutes \($0)" } ?? ""
            print("NOT PROVEN. The same load and schedule again:")
            print(
                "    ./dev chaos --jobs \(jobs)\(minutes) --lines \(lines) --destinations \(destinations) --workers \(workers) "
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
