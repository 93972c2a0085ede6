internal import ArgumentParser
internal import Foundation
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct EnqueueCommand: AsyncParsableCommand, HandlesStopSignals {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Enqueue a file of notices or deliveries, with a verdict for every row.",
        discussion: """
            NDJSON: one trunkline.send.v1 or trunkline.deliver.v1 object per line. CSV, for notices: the first row names the columns, and --map says which column \
            or template becomes which field. Good rows go on whatever is wrong with others. The same file again sends nothing \
            twice. Exit code 0: every row is accepted, now or before; 3: some rows were refused.
            """
    )

    enum Format: String, ExpressibleByArgument, CaseIterable { case ndjson, csv }

    @OptionGroup var options: GlobalOptions

    @Argument(help: ArgumentHelp("The file, .ndjson or .csv; - is standard input.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("How a CSV row becomes a notice (YAML).", valueName: "file"))
    var map: String?

    @Option(help: "ndjson or csv; default: by the file's name, csv when there is a --map.")
    var format: Format?

    @Flag(help: "Publish to the broker only, without the database; workers take the notices from there.")
    var direct = false

    @Flag(help: "Print one JSON object per row, and one with the sums at the end.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            // Set once the input is open; before that nothing has begun.
            let told = Mutex<RowsReport?>(nil)
            StopSignals.handle { signal, _ in
                // With the code that a shell gives for the signal.
                told.withLock { report in
                    if let report { report.abandon() } else { Output.note(RowsReport.nothingBegan) }
                    _exit(128 + signal)
                }
            }
            let input = try FileInput(path: file)
            let format = format ?? (map != nil || file.lowercased().hasSuffix(".csv") ? .csv : .ndjson)
            if format == .ndjson, map != nil { throw CommandError(.usage, "--map is for CSV files") }
            let fieldMap = try map.map { try FieldMap.read(file: $0, for: .notice) }
            let report = EnqueueReport(json: json, totalBytes: input.size)
            told.withLock { $0 = report.rows }
            let desk = try await AcceptDesk.open(
                way(settings),
                name: "trunkline enqueue",
                carriers: .standard,
                lint: direct
                    ? nil
                    : LintNotebook(databaseURL: settings.databaseURL(), name: "trunkline enqueue") {
                        report.rows.warn($0)
                    }
            ) { report.rows.warn($0) }
            let run = ImportRun(
                format == .csv ? CSVFormat(map: fieldMap) : NDJSONFormat(),
                to: desk,
                now: { WallClock.now },
                tell: report.add
            )
            do {
                while let chunk = try input.next() {
                    try await run.push(chunk)
                    report.rows.progress(bytes: input.offset)
                }
                try await run.finish()
            } catch {
                await desk.close()
                report.rows.abandon()
                guard let error = error as? FieldMapError else { throw error }
                throw CommandError(.usage, error.description)
            }
            await desk.close()
            StopSignals.release()
            try report.finish()
        }
    }

    private func way(_ settings: Settings) throws(CommandError) -> AcceptDesk.Way {
        direct
            ? .brokerFirst(amqpURL: try settings.amqpURL(), databaseURL: try? settings.databaseURL())
            : .rowFirst(databaseURL: try settings.databaseURL(), amqpURL: try settings.amqpURLIfAny(), .bulk)
    }
}
