internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension SourceCommand {
    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Change a source's settings, line, country or secret.",
            discussion: """
                A secret that is given here takes the place of the stored one at once; 'trunkline source rotate' lets both \
                count for a while.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var secretOptions: SecretOptions

        @Argument(help: "The source's id.")
        var id: String

        @Option(help: "The line that its notices usually go out on, for whoever reads the list; rules name their own.")
        var line: String?

        @Option(help: "Two letters; an empty text takes it away.")
        var country: String?

        @Option(
            help: ArgumentHelp(
                "A setting of its kind, an empty value takes it away; may be given several times.",
                valueName: "name=value"
            )
        )
        var setting: [String] = []

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                let given = try SourceCommand.settings(setting)
                try await settings.operate(as: SourceCommand.name) { install in
                    var changes = SourceChanges(
                        settings: given.mapValues { $0.isEmpty ? nil : $0 },
                        country: country?.uppercased(),
                        line: try line.map { try LineID($0) }
                    )
                    if secretOptions.isGiven || !given.isEmpty {
                        let source = try await install.source(id)
                        let kind = try SourceCommand.kind(source.kind)
                        let after = source.settings.merging(given) { $1 }.filter { !$0.value.isEmpty }
                        if secretOptions.isGiven {
                            changes.secret = try secretOptions.secret(settings, for: kind, after)
                            try await LineCommand.warnOfOtherKey(settings, install)
                        } else {
                            // What does not fit the secret that is stored would only be found by the next request.
                            let stored = try await install.access(
                                toLane: .source(id),
                                masterKey: try settings.masterKey(),
                                ownFiles: settings.ownFiles
                            )
                            _ = try kind.account(secret: stored.secret, settings: after)
                        }
                    }
                    guard !changes.isEmpty else {
                        throw CommandError(.usage, "say what to change: --setting, --line, --country or a secret")
                    }
                    let source = try await install.changeSource(id, changes, registry: .standard)
                    try SourceCommand.say(
                        source,
                        json: json,
                        "changed source \(id): \(SourceCommand.words(source)), secret \(SourceCommand.secretWords(source))"
                    )
                }
            }
        }
    }
}
