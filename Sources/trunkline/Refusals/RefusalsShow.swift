internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

extension RefusalsCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "One refusal.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The refusal's number.")
        var id: Int64

        @Flag(help: "Write the original bytes, as far as they were kept, and nothing else. Customers' data.")
        var raw = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (refusal, bytes) = try await settings.operate(as: RefusalsCommand.name) { install in
                    (try await install.refusal(id), raw ? try await install.refusalBytes(id) : nil)
                }
                guard let refusal else { throw CommandError(.failed, "there is no refusal \(id)") }
                if raw {
                    let bytes = bytes ?? []
                    if isatty(STDOUT_FILENO) == 1 {
                        // On a screen they are shown; only a file or a pipe gets them as they are.
                        Output.text(String(decoding: bytes, as: UTF8.self))
                    } else {
                        FileHandle.standardOutput.write(Data(bytes))
                    }
                    return
                }
                if json {
                    try Output.json(Document(refusal))
                    return
                }
                Output.facts([
                    ("refusal", String(refusal.id)), ("reason", refusal.reason), ("kind", refusal.kind),
                    ("field", refusal.field ?? "-"),
                    (refusal.lane?.name?.noun ?? "line", refusal.lane.map { $0.name?.id ?? $0.stored } ?? "-"),
                    ("key", refusal.key ?? "-"), ("via", refusal.via),
                    ("first", Output.time(refusal.firstAt)),
                    ("last", Output.time(refusal.lastAt)), ("times", String(refusal.times)),
                    ("original", "\(refusal.rawLength) bytes; --raw writes them"),
                    (
                        "replayed",
                        refusal.replayedAt.map { at in
                            Output.time(at)
                                + (refusal.replayedJob.map { ", as job \($0)" } ?? "")
                        } ?? "-"
                    ),
                ])
            }
        }
    }
}
