internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

extension SecretOptions {
    /// The secret of a source of that kind, nil when none was given.
    func secret(_ settings: Settings, for source: any Source, _ given: [String: String]) throws -> LaneSecret? {
        try secret(settings) { bytes throws(Refusal) in
            try source.account(secret: bytes, settings: given).secrets.hint ?? ""
        }
    }
}

extension SourceCommand {
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
