internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension SourceCommand {
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rotate",
            abstract:
                "Give a source a second secret or a second token, so that its sender can change to it; then --finish.",
            discussion: """
                From now on the old one and the new one count. When the sender uses the new one, 'trunkline source rotate ID \
                --finish' drops the old one. A secret that is stored by reference is changed where it is: two lines, the new \
                one first.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var secretOptions: SecretOptions
        @OptionGroup var tokenOptions: TokenOptions

        @Argument(help: "The source's id.")
        var id: String

        @Flag(help: "Make a new token for the intake's path, and show the path once.")
        var token = false

        @Flag(help: "Drop the older secret and the older token.")
        var finish = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard !secretOptions.byReference else {
                throw ValidationError("--by-reference: a secret outside is changed where it is.")
            }
            let isGiven = secretOptions.isGiven || token || tokenOptions.tokenFile != nil
            guard isGiven != finish else {
                throw ValidationError("Give a new secret, --token or --token-file; or --finish, alone.")
            }
            guard !token || tokenOptions.tokenFile == nil else {
                throw ValidationError("Give one of --token and --token-file.")
            }
        }

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                let key = try settings.masterKey()
                let given = try tokenOptions.token()
                let made = token ? TokenOptions.new() : nil
                let publicURL = try settings.publicURL()
                try await settings.operate(as: SourceCommand.name) { install in
                    if finish {
                        let source = try await install.finishRotation(
                            of: id,
                            registry: .standard,
                            masterKey: key,
                            ownFiles: settings.ownFiles
                        )
                        try SourceCommand.say(source, json: json, "source \(id) has one token and one secret again")
                        return
                    }
                    let before = try await install.source(id)
                    var secret: [UInt8]?
                    if case .sealed(let bytes, _, _) = try secretOptions.secret(
                        settings,
                        for: try SourceCommand.kind(before.kind),
                        before.settings
                    ) {
                        secret = bytes
                    }
                    let source = try await install.rotate(
                        id,
                        token: given ?? made,
                        secret: secret,
                        registry: .standard,
                        masterKey: key,
                        ownFiles: settings.ownFiles
                    )
                    try SourceCommand.say(
                        source,
                        json: json,
                        intake: made?.path,
                        at: publicURL,
                        "source \(id) takes the old and the new; 'trunkline source rotate \(id) --finish' drops the old"
                    )
                }
            }
        }
    }
}
