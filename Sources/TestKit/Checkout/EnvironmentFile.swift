internal import Foundation

/// A file of `export NAME=value` for shells, and for whoever starts programs with it. Nobody but its owner may read it.
package struct EnvironmentFile: Sendable {
    private var lines: [String] = []

    package init() {}

    package mutating func set(_ name: String, _ value: String) {
        lines.append("export \(name)=\(Self.quoted(value))\n")
    }

    package func write(to path: String) throws(KitError) { try writePrivately(lines.joined(), to: path) }

    /// A word as a shell reads it: in quotes only where it must be.
    package static func quoted(_ word: String) -> String {
        let plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./?-".utf8
        guard !word.utf8.allSatisfy(plain.contains) else { return word }
        return "'" + word.replacingOccurrences(of: "'", with: #"'\''"#) + "'"
    }

    /// What such a file sets; empty when there is none. Values have one line.
    package static func variables(of path: String) -> [String: String] {
        var variables: [String: String] = [:]
        for line in text(of: path).split(separator: "\n") where line.hasPrefix("export ") {
            guard let sign = line.firstIndex(of: "=") else { continue }
            let value = line[line.index(after: sign)...]
            let isQuoted = value.first == "'" && value.count >= 2
            variables[String(line[..<sign].dropFirst("export ".count))] =
                isQuoted
                ? value.dropFirst().dropLast().replacingOccurrences(of: #"'\''"#, with: "'") : String(value)
        }
        return variables
    }
}

/// A variable of such a file.
///
/// - Throws: ``KitError`` when it is not there.
package func variable(_ name: String, inFile path: String) throws(KitError) -> String {
    guard let value = EnvironmentFile.variables(of: path)[name] else { throw KitError("\(name) is not in \(path)") }
    return value
}
