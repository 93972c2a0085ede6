internal import Foundation

/// A secret that stays outside the database: `env:NAME` or `file:/path`, read by the program that needs it.
package enum SecretReference: Sendable, Hashable {
    /// An environment variable of the reading process.
    case environment(String)
    /// An absolute path, read anew each time, so that a rotated secret counts without a restart.
    case file(String)

    /// Files above this size are no secrets; bytes.
    package static let fileLimit = 64 << 10

    /// What the names of variables begin with that hold secrets of Trunkline itself, or of libpq and AMQP clients.
    private static let ownVariables = ["TRUNKLINE_", "PG", "AMQP"]

    /// Reads `env:NAME` or `file:/path`. Variables of Trunkline, libpq and AMQP are refused.
    package init(_ text: String) throws(SecretReferenceError) {
        if text.hasPrefix("env:") {
            let name = String(text.dropFirst(4))
            let isName =
                !name.isEmpty && name.utf8.count <= 128
                && name.utf8.allSatisfy {
                    $0 == 0x5F || (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                }
                && !(0x30...0x39).contains(name.utf8.first ?? 0x30)
            guard isName else { throw .notAVariable }
            guard !Self.ownVariables.contains(where: name.hasPrefix) else { throw .ownVariable(name) }
            self = .environment(name)
        } else if text.hasPrefix("file:") {
            let path = String(text.dropFirst(5))
            guard path.hasPrefix("/"), path.utf8.count <= 1_024, !path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F })
            else {
                throw .notAPath
            }
            self = .file(path)
        } else {
            throw .unknownKind
        }
    }

    /// The stored form.
    package var text: String {
        switch self {
        case .environment(let name): "env:" + name
        case .file(let path): "file:" + path
        }
    }

    /// Reads the secret, white space around it removed.
    ///
    /// - Parameters:
    ///   - environment: the variables to look in; nil: those of the process.
    ///   - ownFiles: paths of files that hold secrets of the program itself, and are never read for anybody else, by
    ///     whatever path.
    package func resolve(
        environment: [String: String]? = nil,
        ownFiles: Set<String> = []
    ) throws(SecretReferenceError) -> [UInt8] {
        let bytes: [UInt8]
        switch self {
        case .environment(let name):
            guard let value = (environment ?? ProcessInfo.processInfo.environment)[name] else {
                throw .missingVariable(name)
            }
            bytes = Array(value.utf8)
        case .file(let path):
            guard let handle = FileHandle(forReadingAtPath: path) else { throw .unreadableFile(path) }
            defer { try? handle.close() }
            guard !Self.isOneOf(ownFiles, handle.fileDescriptor) else { throw .ownFile(path) }
            // A directory opens, and then cannot be read.
            guard let data = try? handle.read(upToCount: Self.fileLimit + 1) else { throw .unreadableFile(path) }
            guard data.count <= Self.fileLimit else { throw .tooBig(path) }
            bytes = Array(data)
        }
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0D).contains($0) }
        guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
        else {
            throw .empty(text)
        }
        return Array(bytes[first...last])
    }

    /// Whether the open file is one of `paths`, by device and inode: links and detours change nothing.
    private static func isOneOf(_ paths: Set<String>, _ descriptor: Int32) -> Bool {
        var opened = stat()
        guard fstat(descriptor, &opened) == 0 else { return true }
        return paths.contains { path in
            var own = stat()
            return stat(path, &own) == 0 && own.st_dev == opened.st_dev && own.st_ino == opened.st_ino
        }
    }
}

/// Why a reference is none, or does not lead to a secret. Names variables and paths, never what is in them.
package enum SecretReferenceError: ExplainedError, Hashable {
    case unknownKind
    case notAVariable
    case notAPath
    case ownVariable(String)
    case ownFile(String)
    case missingVariable(String)
    case unreadableFile(String)
    case tooBig(String)
    case empty(String)

    package var isRefusal: Bool {
        switch self {
        case .unknownKind, .notAVariable, .notAPath, .ownVariable, .ownFile: true
        case .missingVariable, .unreadableFile, .tooBig, .empty: false
        }
    }

    package var description: String {
        switch self {
        case .unknownKind: "a reference to a secret is env:NAME or file:/path"
        case .notAVariable: "env: must be followed by the name of an environment variable"
        case .notAPath: "file: must be followed by an absolute path"
        case .ownVariable(let name):
            "the variable \(name) is for a secret of Trunkline, PostgreSQL or RabbitMQ and never for a line's token"
        case .ownFile(let path): "the file \(path) holds a secret of Trunkline itself and never a line's token"
        case .missingVariable(let name): "the environment variable \(name) is not set"
        case .unreadableFile(let path): "the file \(path) cannot be read"
        case .tooBig(let path): "the file \(path) is too big for a secret"
        case .empty(let reference): "\(reference) is empty"
        }
    }
}
