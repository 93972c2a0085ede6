internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel notices by key, or by a pattern of keys: 'order:acme.1042:*'.",
        discussion: """
            Cancels what has not begun, with a verdict for every notice. An attempt that has begun cannot be called back: its \
            notice ends as cancelled only if it comes back unsent. Messages that only the broker has are not reached; the \
            command says how many there are.

            Exit code 0: nothing that was meant can go out any more. 3: for at least one notice it was too late (an attempt runs, \
            or it may have been sent; for a key without *, also: it was sent). 1: no notice has the key.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Argument(help: ArgumentHelp("A key, with * for any run of characters. Put it in quotes.", valueName: "pattern"))
    var pattern: String

    @Option(help: "The workspace whose notices are meant. Needed when several have such keys.")
    var workspace: String?

    @Option(help: "The destination whose deliveries are meant, by its own keys.")
    var destination: String?

    @Flag(help: "Say what would become of each notice, and change nothing.")
    var dryRun = false

    @Flag(help: "Needed for the pattern *, which means every notice of a workspace.")
    var yes = false

    @Flag(help: "Print one JSON document, a line per notice in it.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let pattern = try KeyPattern(pattern)
            guard !pattern.isEverything || yes || dryRun else {
                throw CommandError(
                    .usage,
                    "the pattern \(pattern) means every notice that is waiting; if that is what you want, add --yes"
                )
            }
            let owner = try KeyOwner.chosen(workspace: workspace, destination: destination)
            let say = CancelTeller(json: json, isDryRun: dryRun)
            let report = try await settings.operate(as: "trunkline cancel") { install in
                do {
                    let report = try await install.cancel(
                        pattern,
                        in: owner,
                        isDryRun: dryRun,
                        tell: say.items
                    )
                    say.end(pattern, report, await Self.waiting(settings, install))
                    return report
                } catch {
                    if say.hasBegun {
                        Output.note(
                            "stopped in the middle: what was said is done; the same command again goes on safely"
                        )
                    }
                    throw error
                }
            }
            if report.tooLate > 0 || pattern.key != nil && report.ended["sent"] != nil {
                throw CommandError.silent(.refused)
            }
            if pattern.key != nil, report.isEmpty {
                throw json ? CommandError.silent(.failed) : CommandError(.failed, "no notice has the key \(pattern)")
            }
        }
    }

    private static func waiting(_ settings: Settings, _ install: Operator) async -> WaitingMessages {
        do {
            return await install.waitingMessages(amqpURL: try settings.amqpURLIfAny())
        } catch {
            return .unknown(error.message)
        }
    }
}
