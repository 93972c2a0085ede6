internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension LineCommand {
    /// Where a token comes from. Never the command line itself, which others can read.
    struct TokenOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Read the token from this environment variable, now.", valueName: "name"))
        var tokenEnv: String?

        @Option(help: ArgumentHelp("Read the token from this file, now.", valueName: "file"))
        var tokenFile: String?

        @Flag(help: "Read the token from standard input.")
        var tokenStdin = false

        @Flag(
            help:
                "Store where the token is (env:NAME or file:/path) instead of the token, sealed like it; every worker reads it there."
        )
        var byReference = false

        func validate() throws {
            let given = [tokenEnv != nil, tokenFile != nil, tokenStdin].filter { $0 }.count
            guard given <= 1 else { throw ValidationError("Give one of --token-env, --token-file and --token-stdin.") }
            guard !byReference || tokenEnv != nil || tokenFile != nil else {
                throw ValidationError("--by-reference needs --token-env or --token-file.")
            }
        }

        /// The token as the operator gave it, nil when none was given. Needs the master key, also for a reference.
        func token(_ settings: Settings) throws -> LineToken? {
            var reference: SecretReference?
            do throws(SecretReferenceError) {
                if let tokenEnv {
                    reference = try SecretReference("env:" + tokenEnv)
                } else if let tokenFile {
                    // A path means the folder of whoever types it, and a worker's may be another.
                    let folder = tokenFile.hasPrefix("/") ? "" : FileManager.default.currentDirectoryPath + "/"
                    reference = try SecretReference("file:" + folder + tokenFile)
                }
            } catch {
                throw CommandError(.usage, error.description)
            }
            guard reference != nil || tokenStdin else { return nil }
            guard let key = try settings.masterKey() else {
                throw CommandError(
                    .usage,
                    "storing a token, or where it is, needs TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE), 32 bytes in base64"
                )
            }
            guard let reference else { return .sealed(try Self.token(try Self.standardInput()), key) }
            var bytes: [UInt8]?
            do throws(SecretReferenceError) {
                bytes = try reference.resolve(ownFiles: settings.ownFiles)
            } catch  where byReference && !error.isRefusal {
                // The workers' environment may have what this one has not.
            } catch {
                throw CommandError(.usage, error.description)
            }
            // What is here must be a token.
            let token = try bytes.map { try Self.token($0) }
            if !byReference, let token { return .sealed(token, key) }
            return .reference(reference, current: token, key)
        }

        private static func token(_ bytes: [UInt8]) throws(Refusal) -> EZWhatsApp.Token {
            try EZWhatsApp.Token(String(decoding: bytes, as: UTF8.self))
        }

        private static func standardInput() throws -> [UInt8] {
            let limit = SecretReference.fileLimit
            let data = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
            guard data.count <= limit else { throw CommandError(.refused, "standard input is too big for a token") }
            let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            guard !text.isEmpty else { throw CommandError(.refused, "standard input holds no token") }
            return Array(text.utf8)
        }
    }
}
