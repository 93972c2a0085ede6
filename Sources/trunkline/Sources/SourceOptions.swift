internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    /// Where a secret comes from. Never the command line itself, which others can read.
    struct SecretOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Read the secret from this environment variable, now.", valueName: "name"))
        var secretEnv: String?

        @Option(help: ArgumentHelp("Read the secret from this file, now.", valueName: "file"))
        var secretFile: String?

        @Flag(help: "Read the secret from standard input.")
        var secretStdin = false

        @Flag(
            help:
                "Store where the secret is (env:NAME or file:/path) instead of the secret, sealed like it; whoever verifies reads it there."
        )
        var byReference = false

        private var input: SecretInput {
            SecretInput(
                word: "secret",
                environment: secretEnv,
                file: secretFile,
                isStandardInput: secretStdin,
                byReference: byReference
            )
        }

        func validate() throws { try input.validate() }

        var isGiven: Bool { secretEnv != nil || secretFile != nil || secretStdin }

        /// The secret as the operator gave it, nil when none was given. Needs the master key, also for a reference.
        func secret(_ settings: Settings, for source: any Source, _ given: [String: String]) throws -> LaneSecret? {
            try input.read(settings) { bytes throws(Refusal) in
                try source.account(secret: bytes, settings: given).secrets.hint ?? ""
            }
        }
    }

    /// Where the token of the intake's path comes from; a new one is made when nobody says.
    struct TokenOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Read the token of the intake's path from this file; default: a new one is made and shown once.",
                valueName: "file"
            )
        )
        var tokenFile: String?

        func token() throws -> SourceToken? {
            guard let tokenFile else { return nil }
            guard let data = FileManager.default.contents(atPath: tokenFile), data.count <= 4_096 else {
                throw CommandError(.usage, "--token-file: '\(tokenFile)' cannot be read, or is too big for a token")
            }
            return try SourceToken(
                String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            )
        }

        static func new() -> SourceToken {
            var random = SystemRandomNumberGenerator()
            return SourceToken(using: &random)
        }
    }

    /// Settings as they are given: `name=value`.
    static func settings(_ given: [String]) throws -> [String: String] {
        var settings: [String: String] = [:]
        for text in given {
            guard let mark = text.firstIndex(of: "="), mark != text.startIndex else {
                throw CommandError(.usage, "--setting takes name=value")
            }
            let name = String(text[..<mark])
            guard settings.updateValue(String(text[text.index(after: mark)...]), forKey: name) == nil else {
                throw CommandError(.usage, "--setting \(name) is given twice")
            }
        }
        return settings
    }
}
