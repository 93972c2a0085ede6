internal import ArgumentParser
internal import Foundation
internal import TrunklineEngine

/// The program's name, version and subcommands, and how each way of ending becomes an exit code.
@main
struct Trunkline: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trunkline",
        abstract: "Sends WhatsApp notices through EZWhatsApp lines: never lost, never twice.",
        discussion: """
            Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused by policy or validation, \
            4 broker or database unreachable, 5 a worker whose loop hung.
            """,
        version: Version.current,
        subcommands: [
            MigrateCommand.self, RolesCommand.self, TopologyCommand.self, LineCommand.self, DestinationCommand.self,
            SourceCommand.self, EventsCommand.self, DecisionCommand.self, APIKeyCommand.self, ApplyCommand.self,
            RulesCommand.self,
            WorkerCommand.self, GatewayCommand.self, EnqueueCommand.self, SendCommand.self, DeliverCommand.self,
            StatusCommand.self, WhyCommand.self, ParkedCommand.self, RefusalsCommand.self, CheckCommand.self,
            CancelCommand.self, RescheduleCommand.self,
            ContactsCommand.self, OrdersCommand.self, LintCommand.self,
            DoctorCommand.self, RehydrateCommand.self, RetainCommand.self,
            SimulateCommand.self, VersionCommand.self,
        ]
    )

    static func main() async {
        StopSignals.catchAll()
        CoreDumps.forbidUnlessAllowed()
        do {
            var command = try parseAsRoot()
            if !(command is any HandlesStopSignals) { StopSignals.release() }
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            ThisProcess.leave(end(error))
        }
        ThisProcess.leave(0)
    }

    /// Says why the program ends, and with what code.
    private static func end(_ error: any Error) -> Int32 {
        switch error {
        case let error as CommandError:
            if !error.message.isEmpty { Output.note("trunkline: " + error.message) }
            return error.exit.rawValue
        case let code as ExitCode:
            return code.rawValue
        default:
            // Help and version are asked for by an error too, and end well.
            switch exitCode(for: error) {
            case .success:
                Output.text(fullMessage(for: error))
                return 0
            case .validationFailure:
                Output.text(fullMessage(for: error), to: .standardError)
                return CommandError.Exit.usage.rawValue
            default:
                let error = CommandError(error)
                Output.note("trunkline: " + error.message)
                return error.exit.rawValue
            }
        }
    }
}

/// The program's version.
enum Version {
    static let current = "0.1.0"
}

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the program's version.")

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        if json { try Output.json(["version": Version.current]) } else { Output.line("trunkline " + Version.current) }
    }
}
