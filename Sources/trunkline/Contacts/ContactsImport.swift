internal import ArgumentParser
internal import Foundation
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine

extension ContactsCommand {
    struct Import: AsyncParsableCommand, HandlesStopSignals {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Take a CSV file of people into a workspace, with a verdict for every row.",
            discussion: """
                The first row names the columns; without --map they are called like the fields: phone, name, email, language, \
                country, status, tags (between commas), notes, factAt, ids.NAME and links.NAME. The newest fact wins, field by \
                field: an older row changes nothing and says so. Without factAt a row is as of now. Good rows go on whatever is \
                wrong with others. Exit code 3: some rows were refused.
                """
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: ArgumentHelp("The CSV file; - is standard input.", valueName: "file"))
        var file: String

        @Option(help: "Whose people they are.")
        var workspace: String

        @Option(help: ArgumentHelp("How a row becomes a contact (YAML, as of enqueue).", valueName: "file"))
        var map: String?

        @Option(help: "Two letters: where local phone numbers are from, when a row does not say it.")
        var country: String?

        @Flag(help: "Print one JSON object per row, and one with the sums at the end.")
        var json = false

        private static let words = RowsReport.Words(
            all: ["stored", "same", "older", "refused"],
            always: ["stored", "same", "older", "refused"],
            said: [:]
        )

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
                let workspace = try WorkspaceID(workspace)
                let map = try map.map { try FieldMap.read(file: $0, for: .contact) }
                let input = try FileInput(path: file)
                let report = RowsReport("contacts import", Self.words, json: json, totalBytes: input.size)
                told.withLock { $0 = report }
                do {
                    try await settings.operate(as: ContactsCommand.name) { install in
                        let run = ContactImport(
                            map: map,
                            country: country,
                            into: install,
                            workspace: workspace,
                            now: { WallClock.now },
                            tell: { report.add($0.map(Self.row)) }
                        )
                        while let chunk = try input.next() {
                            try await run.push(chunk)
                            report.progress(bytes: input.offset)
                        }
                        try await run.finish()
                    }
                } catch {
                    report.abandon()
                    guard let error = error as? FieldMapError else { throw error }
                    throw CommandError(.usage, error.description)
                }
                StopSignals.release()
                if report.finish()["refused", default: 0] > 0 { throw CommandError.silent(.refused) }
            }
        }

        private static func row(_ row: ContactRowVerdict) -> RowsReport.Row {
            let word: String
            let complaint: (field: String?, reason: String)?
            let older: [String]
            switch row.outcome {
            case .failure(let refusal): (word, complaint, older) = ("refused", (refusal.field, refusal.reason), [])
            case .success(let verdict):
                word = verdict.word.word
                older = verdict.older
                complaint = older.isEmpty ? nil : (nil, "newer facts stand against \(older.joined(separator: ", "))")
            }
            return RowsReport.Row(number: row.row, word: word, complaint: complaint) {
                var json = JSONWriter()
                json.beginObject()
                json.name("row")
                json.integer(row.row)
                json.member("verdict", word)
                if case .failure(let refusal) = row.outcome { json.member("kind", refusal.kind.rawValue) }
                json.member("field", complaint?.field)
                json.member("reason", complaint?.reason)
                json.endObject()
                return String(decoding: json.bytes, as: UTF8.self)
            }
        }
    }
}
