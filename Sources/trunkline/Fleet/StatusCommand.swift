internal import ArgumentParser
internal import Foundation
internal import TrunklineEngine

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Lines, gates, backlog and workers."
    )

    @OptionGroup var options: GlobalOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    @Flag(help: "Print again every 2 s, until it is interrupted.")
    var watch = false

    func run() async throws {
        try await options.run { settings in
            guard watch else {
                let status = try await settings.operate(as: Self.name, mayTakeLong: true) { install in
                    try await install.fleetStatus()
                }
                return try show(status)
            }
            try await repeatedly(
                Operator(databaseURL: settings.databaseURL(), name: Self.name, mayTakeLong: true)
            )
        }
    }

    private static let name = "trunkline status"

    /// Goes on through a database that is away for a while: that is when one watches.
    private func repeatedly(_ install: Operator) async throws {
        while true {
            do {
                let status = try await install.fleetStatus()
                if !json, isatty(STDOUT_FILENO) == 1 { FileHandle.standardOutput.write(Data("\u{1B}[H\u{1B}[2J".utf8)) }
                try show(status)
            } catch {
                let explanation = Explanation(error)
                guard explanation.mayPass else { throw error }
                await install.close()
                Output.note("trunkline: " + explanation.words + "; trying again")
            }
            try await Task.sleep(for: .seconds(2))
        }
    }

    private func show(_ status: FleetStatus) throws {
        if json {
            try Output.json(StatusDocument(status))
            return
        }
        StatusTable.print(status)
    }
}
