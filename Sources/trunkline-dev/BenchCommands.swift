internal import ArgumentParser
internal import Foundation
internal import TrunklineChaos
internal import TrunklineDev

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures what is never asserted in a test.",
        subcommands: [Held.self, Destinations.self, Speed.self, Gateway.self]
    )
}

struct Held: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Whether held lines cost the others throughput: five interleaved pairs.",
        discussion: "Exit code 0: the median loses at most a tenth. 1: it loses more, or it could not be measured."
    )

    @OptionGroup var place: Place

    @Option(help: "Jobs on the open half in each measurement, and waiting on the held half.")
    var jobs = 10_000

    @Option(help: "Lines, of which half are held.")
    var lines = 20

    @Option(help: "Worker processes.")
    var workers = 1

    func run() async throws {
        var options = try await place.options()
        // The plan's own jobs are not used.
        options.jobs = 100
        options.lines = lines
        options.workers = workers
        let jobs = jobs
        let result = try await place.proof("bench held") { [options] in
            try await HeldBench.run(options, jobs: jobs, say: Terminal.note)
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

struct Destinations: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What a dead and a slow receiver cost everybody else: five interleaved pairs.",
        discussion: "Exit code 0: the median loses at most a tenth. 1: it loses more, or it could not be measured."
    )

    @OptionGroup var place: Place

    @Option(help: "Deliveries to the others in each measurement.")
    var deliveries = 20_000

    @Option(help: "Sends in each measurement.")
    var sends = 10_000

    @Option(help: "Destinations, of which two are made sick.")
    var destinations = 1_000

    @Option(help: "Lines.")
    var lines = 50

    @Option(help: "Worker processes.")
    var workers = 1

    func validate() throws {
        guard deliveries > 0, sends > 0, destinations > 2, lines >= 4, workers > 0 else {
            throw ValidationError("one delivery, one send, three destinations, four lines and one worker are needed")
        }
    }

    func run() async throws {
        var options = try await place.options()
        // The plan's own jobs are not used.
        options.jobs = 100
        options.lines = lines
        options.destinations = destinations
        options.workers = workers
        let (deliveries, sends) = (deliveries, sends)
        let result = try await place.proof("bench destinations") { [options] in
            try await DestinationsBench.run(options, deliveries: deliveries, sends: sends, say: Terminal.note)
        }
        print("\n\(destinations) destinations, \(lines) lines   deliveries/s      ratio    sends/s      ratio")
        for (pair, (well, sick)) in zip(result.healthy, result.sick).enumerated() {
            say("pair \(pair + 1), two receivers well", well, against: well)
            say("        dead and slow", sick, against: well)
        }
        let (ofDeliveries, ofSends) = (result.ratio(\.deliveries), result.ratio(\.sends))
        print(String(format: "median of the ratios: deliveries/s %.3f, sends/s %.3f", ofDeliveries, ofSends))
        print(options.subject.words)
        guard result.isUnchanged else {
            print("A dead and a slow receiver cost the others more than a tenth.")
            throw ExitCode.failure
        }
    }

    private func say(
        _ name: String,
        _ figures: DestinationsBench.Figures,
        against well: DestinationsBench.Figures
    ) {
        print(
            name.padding(toLength: 32, withPad: " ", startingAt: 0)
                + String(
                    format: "%12.0f %10.3f %10.0f %10.3f",
                    figures.deliveries,
                    figures.deliveries / well.deliveries,
                    figures.sends,
                    figures.sends / well.sends
                )
        )
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

    @OptionGroup var place: Place

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
        var options = try await place.options()
        options.lines = lines
        let (against, jobs, singles, pairs) = (against, jobs, singles, pairs)
        // The plan's own jobs are not used.
        options.jobs = 100
        let result = try await place.proof("bench speed") { [options] in
            try await SpeedBench.run(
                options,
                against: against,
                jobs: jobs,
                singles: singles,
                pairs: pairs,
                say: Terminal.note
            )
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

struct Gateway: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "How fast one gateway accepts notices and webhooks, and what it does with more than it can take.",
        discussion: """
            Load generator (wrk), gateway, broker and database share this machine; no worker runs. Exit code 0: the medians keep \
            the marks. 1: they do not, or it could not be measured.
            """
    )

    /// Notices and webhooks a second.
    private static let (leastAlone, leastInBatches, leastWebhooks) = (5_000.0, 15_000.0, 3_000.0)
    /// Milliseconds of the slowest hundredth.
    private static let slowest = 50.0

    @OptionGroup var place: Place

    @Option(help: "Lines.")
    var lines = 50

    @Option(help: "How often each is measured.")
    var rounds = 5

    @Option(help: "Seconds of each measurement.")
    var seconds = 10

    func validate() throws {
        guard lines >= 2, lines <= 99, rounds > 0, seconds > 0 else {
            throw ValidationError("2 to 99 lines, at least one round and one second are needed")
        }
    }

    func run() async throws {
        var options = try await place.options()
        // The plan's own jobs are not used.
        options.jobs = 100
        options.lines = lines
        let (rounds, seconds) = (rounds, seconds)
        let result = try await place.proof("bench gateway") { [options] in
            try await GatewayBench.run(options, rounds: rounds, seconds: seconds, say: Terminal.note)
        }
        print("\n\(rounds) x \(seconds) s              notices/s     p50 ms     p99 ms")
        let alone = say("alone", result.singles, times: 1)
        let batches = say("in batches of \(GatewayBench.batchSize)", result.batches, times: GatewayBench.batchSize)
        let webhooks = say("signed webhooks", result.webhooks, times: 1)
        if let overload = result.overload {
            let figures = overload.figures
            print(
                String(
                    format: "4,000 callers at once: %.0f taken/s, p99 %.1f ms, ",
                    figures.perSecond,
                    figures.worstOfHundred
                )
                    + "\(figures.refused) refused, \(figures.broken) broken; "
                    + "memory at most \(overload.memoryBefore / 1_024) MiB before, \(overload.memoryDuring / 1_024) MiB then"
            )
        }
        print(options.subject.words)
        guard alone.perSecond >= Self.leastAlone, alone.worstOfHundred < Self.slowest,
            batches.perSecond >= Self.leastInBatches, webhooks.perSecond >= Self.leastWebhooks,
            webhooks.worstOfHundred < Self.slowest
        else {
            print(
                String(
                    format: "The marks: %.0f notices/s alone, %.0f in batches, %.0f webhooks/s, p99 under %.0f ms.",
                    Self.leastAlone,
                    Self.leastInBatches,
                    Self.leastWebhooks,
                    Self.slowest
                )
            )
            throw ExitCode.failure
        }
    }

    /// A line for each round; returns the medians.
    private func say(_ name: String, _ rounds: [GatewayBench.Figures], times: Int) -> (
        perSecond: Double, worstOfHundred: Double
    ) {
        func median(_ figure: (GatewayBench.Figures) -> Double) -> Double {
            rounds.map(figure).sorted()[rounds.count / 2]
        }
        func line(_ name: String, _ figures: [Double]) {
            print(
                name.padding(toLength: 24, withPad: " ", startingAt: 0)
                    + String(format: "%11.0f %10.1f %10.1f", figures[0], figures[1], figures[2])
            )
        }
        for round in rounds { line(name, [round.perSecond * Double(times), round.median, round.worstOfHundred]) }
        let perSecond = median(\.perSecond) * Double(times)
        line("median", [perSecond, median(\.median), median(\.worstOfHundred)])
        return (perSecond, median(\.worstOfHundred))
    }
}
