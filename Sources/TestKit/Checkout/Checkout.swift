internal import Foundation

/// A checkout of the project, as far as its private servers go: their secrets, and the notes of which there are.
///
/// Everything is in its folder `.dev`, but for what PostgreSQL's own user must reach.
package struct Checkout: Sendable {
    /// Absolute.
    package let root: String
    /// A file for every server that was started in a folder of somebody's own, for whoever ends them all.
    package let instances: String
    /// What a person should know, in a sentence.
    let say: @Sendable (String) -> Void

    /// - Parameters:
    ///   - root: absolute, without links.
    ///   - instances: nil: as `TRUNKLINE_DEV_INSTANCES` says, or `.dev/instances`.
    package init(root: String, instances: String? = nil, say: @escaping @Sendable (String) -> Void = { _ in }) {
        self.root = root
        let environment = ProcessInfo.processInfo.environment
        self.instances = instances ?? environment["TRUNKLINE_DEV_INSTANCES"] ?? root + "/.dev/instances"
        self.say = say
    }

    /// The checkout whose tests run.
    ///
    /// - Throws: ``KitError`` outside of `./dev test`.
    package static func underTest() throws(KitError) -> Checkout {
        Checkout(root: URL(fileURLWithPath: try TestEnvironment.dev()).deletingLastPathComponent().path)
    }

    package var state: String { root + "/.dev" }
    package var certificates: Certificates { Certificates(checkout: self) }

    /// `path` as a person in the checkout would write it.
    package func relative(_ path: String) -> String {
        path.hasPrefix(root + "/") ? String(path.dropFirst(root.utf8.count + 1)) : path
    }

    // MARK: Secrets

    /// One password for the private servers of this checkout: whoever may read its files may use them, and nobody else. It
    /// never stands in a command line, which everybody can read.
    package func password() throws -> String { try secret("password") { randomHex(bytes: 24) } }

    /// The path of a master key for the product, made when there is none.
    package func masterKeyFile() throws -> String {
        _ = try secret("master.key") { Data((0..<32).map { _ in UInt8.random(in: 0 ... .max) }).base64EncodedString() }
        return state + "/master.key"
    }

    private func secret(_ name: String, _ make: () -> String) throws -> String {
        let path = state + "/" + name
        func found() -> String { text(of: path).trimmingCharacters(in: .whitespacesAndNewlines) }
        if found().isEmpty {
            try makeFolder(state)
            try writePrivately(make() + "\n", to: path, replacing: false)
        }
        // Whoever came first has made it.
        let secret = found()
        guard !secret.isEmpty else { throw KitError("\(path) is empty; remove it and start again.") }
        return secret
    }

    // MARK: Notes

    package enum Kind: String, Sendable {
        case broker
        case database
    }

    func remember(_ kind: Kind, _ folder: String) throws {
        try makeFolder(instances)
        try writePrivately("\(kind.rawValue) \(folder)\n", to: note(kind, folder))
    }

    func forget(_ kind: Kind, _ folder: String) { removeFiles(note(kind, folder)) }

    private func note(_ kind: Kind, _ folder: String) -> String {
        "\(instances)/\(kind.rawValue)-\(shortHash(folder))"
    }

    /// Stops every server of which there is a note.
    ///
    /// - Throws: the first failure, when all were tried.
    package func stopInstances() async throws {
        var failure: (any Error)?
        for name in names(in: instances) {
            let words = text(of: instances + "/" + name).split(separator: " ", maxSplits: 1)
            guard words.count == 2, let kind = Kind(rawValue: String(words[0])) else { continue }
            let folder = words[1].trimmingCharacters(in: .newlines)
            do {
                switch kind {
                case .broker: try await PrivateBroker(folder: folder, checkout: self).stop()
                case .database: try await PrivateDatabase(folder: folder, checkout: self).stop()
                }
                removeFiles(instances + "/" + name)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// - Throws: ``KitError`` when the servers' configuration could not carry the path of a folder.
    static func requirePlain(_ folder: String) throws(KitError) {
        let isPlain = folder.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || "_./+@=,-".utf8.contains($0)
        }
        guard folder.hasPrefix("/"), isPlain else {
            throw KitError("the folder of a server needs a plain path, not \"\(folder)\".")
        }
    }
}
