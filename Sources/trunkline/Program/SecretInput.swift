internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

/// Where a secret comes from that an operator gives: a line's token, what a webhook is signed with. Never the command line
/// itself, which others can read.
struct SecretInput {
    /// What people call it, and what its options begin with: `token` and `--token-file`.
    let word: String
    let environment: String?
    let file: String?
    let isStandardInput: Bool
    /// Store where it is, instead of the secret.
    let byReference: Bool

    func validate() throws {
        let given = [environment != nil, file != nil, isStandardInput].filter { $0 }.count
        guard given <= 1 else {
            throw ValidationError("Give one of --\(word)-env, --\(word)-file and --\(word)-stdin.")
        }
        guard !byReference || environment != nil || file != nil else {
            throw ValidationError("--by-reference needs --\(word)-env or --\(word)-file.")
        }
    }

    /// The secret as the operator gave it, nil when none was given. Needs the master key, also for a reference.
    ///
    /// - Parameter hint: reads it, and says what may be shown of it.
    func read(_ settings: Settings, hint: ([UInt8]) throws(Refusal) -> String) throws -> LaneSecret? {
        var reference: SecretReference?
        do throws(SecretReferenceError) {
            if let environment {
                reference = try SecretReference("env:" + environment)
            } else if let file {
                // A path means the folder of whoever types it, and a worker's may be another.
                let folder = file.hasPrefix("/") ? "" : FileManager.default.currentDirectoryPath + "/"
                reference = try SecretReference("file:" + folder + file)
            }
        } catch {
            throw CommandError(.usage, error.description)
        }
        guard reference != nil || isStandardInput else { return nil }
        guard let key = try settings.masterKey() else {
            throw CommandError(
                .usage,
                "storing a \(word), or where it is, needs TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE), 32 bytes in base64"
            )
        }
        guard let reference else {
            let bytes = try standardInput()
            return .sealed(bytes, hint: try hint(bytes), key)
        }
        var bytes: [UInt8]?
        do throws(SecretReferenceError) {
            bytes = try reference.resolve(ownFiles: settings.ownFiles)
        } catch  where byReference && !error.isRefusal {
            // The workers' environment may have what this one has not.
        } catch {
            throw CommandError(.usage, error.description)
        }
        // What is here must be one.
        let shown = try bytes.map { bytes in try hint(bytes) }
        if !byReference, let bytes, let shown { return .sealed(bytes, hint: shown, key) }
        return .reference(reference, hint: shown ?? "", key)
    }

    private func standardInput() throws -> [UInt8] {
        let limit = SecretReference.fileLimit
        let data = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
        guard data.count <= limit else { throw CommandError(.refused, "standard input is too big for a \(word)") }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw CommandError(.refused, "standard input holds no \(word)") }
        return Array(text.utf8)
    }
}
