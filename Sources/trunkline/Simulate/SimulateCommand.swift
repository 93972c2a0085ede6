internal import ArgumentParser
internal import EventLoop
internal import TrunklineSimulator

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Stand-ins for other systems, to try a flow against before touching the real ones.",
        subcommands: [EZWhatsAppCommand.self]
    )

    struct EZWhatsAppCommand: AsyncParsableCommand, HandlesStopSignals {
        static let configuration = CommandConfiguration(
            commandName: "ezwhatsapp",
            abstract:
                "A simulated EZWhatsApp Channel API with states, faults and a journal; runs until SIGTERM or SIGINT.",
            discussion: "Its control surface is under /__sim/; a line X has the token ezw_line_X. Signed webhooks are "
                + "received under /hooks/NAME."
        )

        @Option(help: ArgumentHelp("Address to listen on; port 0 takes a free one.", valueName: "host:port"))
        var listen = "127.0.0.1:3010"

        @Option(
            help: ArgumentHelp(
                "Append-only journal, read again at the next start; without it all is in memory.",
                valueName: "file"
            )
        )
        var journal: String?

        @Flag(
            name: [.customLong("fsync"), .long],
            help: "Answer only when the journal is on the disk, so that it survives a power loss too."
        )
        var syncJournal = false

        @Flag(help: "Let other machines connect. Whoever can connect controls the simulator.")
        var allowRemote = false

        @Option(help: "Register that many lines at the start.")
        var lines = 0

        @Option(help: "What their ids begin with.")
        var linePrefix = "line-"

        @Option(help: "The workspace of lines that name none.")
        var workspace = "default"

        @Option(help: ArgumentHelp("A setting to start with; may be given several times.", valueName: "name=value"))
        var set: [String] = []

        @Option(help: "Seed of the dice of faults that have a probability.")
        var seed: UInt64 = 1

        @Option(help: ArgumentHelp("Start nothing: print what a journal adds up to, as JSON.", valueName: "file"))
        var report: String?

        func run() async throws {
            // A connection for each call of a fleet.
            DescriptorLimit.raise()
            var options = SimulatorOptions()
            do {
                if let report {
                    StopSignals.release()
                    print(try SimulatorReport(journal: report).json)
                    return
                }
                try options.setListen(listen)
                if !set.isEmpty {
                    var settings = SimulatorSettings()
                    for text in set {
                        guard let equals = text.firstIndex(of: "=") else {
                            throw ValidationError("--set takes NAME=VALUE")
                        }
                        try settings.set(String(text[..<equals]), to: String(text[text.index(after: equals)...]))
                    }
                    options.settings = settings
                }
                options.journal = journal
                options.syncsJournal = syncJournal
                options.allowsRemote = allowRemote
                options.lines = lines
                options.linePrefix = linePrefix
                options.workspace = workspace
                options.seed = seed
                try await runEZWhatsAppSimulator(options) { stop in StopSignals.handle { _, _ in stop() } }
            } catch let error as SimulatorError {
                throw CommandError(error.code == .refused ? .usage : .failed, error.description)
            }
        }
    }
}
