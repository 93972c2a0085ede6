internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all about one line.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.line(id)
                    if json {
                        try Output.json(LineDocument(line))
                        return
                    }
                    var facts = [
                        ("line", line.id.value), ("workspace", line.workspace.value), ("state", LineWords.state(line)),
                        (
                            "gate",
                            line.gate + (line.gateReason.map { " (\($0))" } ?? "") + " since "
                                + Output.time(line.gateSince)
                                + (line.nextProbeAt.map {
                                    ", asked again at \(Output.time($0)) while it has work"
                                } ?? "")
                        ),
                    ]
                    if let hold = line.hold, line.isHeld(at: line.readAt) {
                        let until = hold.until.map { ", until \(Output.time($0))" } ?? ""
                        facts.append(
                            (
                                "held",
                                "\(hold.reason), since \(Output.time(hold.since))\(until)"
                            )
                        )
                    }
                    facts += [
                        ("base URL", line.baseURL), ("token", LineWords.token(line)),
                        ("pace", LineWords.pace(line.pace)),
                        (
                            "daily cap",
                            line.dailyCap == .unlimited
                                ? "none"
                                : "\(line.dailyCap) a day of \(line.timeZone), \(line.capUsed) used today"
                        ),
                        ("added", Output.time(line.createdAt)),
                    ]
                    if let removed = line.removedAt {
                        facts.append(("removed", Output.time(removed)))
                    }
                    let jobs = line.unfinished.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
                    facts.append(("unfinished", jobs.isEmpty ? "none" : jobs.joined(separator: ", ")))
                    Output.facts(facts)
                }
            }
        }
    }
}
