/// What an operator gave for one source, read and checked: its secrets and its settings.
package struct SourceAccount: Sendable, Hashable {
    package let secrets: SourceSecrets
    package let settings: SourceSettings

    package init(secrets: SourceSecrets, settings: SourceSettings) {
        self.secrets = secrets
        self.settings = settings
    }
}

extension SourceAccount: CustomStringConvertible, CustomReflectable {
    package var description: String { secrets.description }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// The secrets of a source, the newest first: none, one, or two while the sender changes from one to the other.
package struct SourceSecrets: Sendable, Hashable {
    /// As they are compared or signed with.
    package let values: [[UInt8]]
    /// What may be shown, `…abcd`: the end of the newest, less of a short one; nil when there is none.
    package let hint: String?

    package static let none = SourceSecrets(values: [], hint: nil)

    private init(values: [[UInt8]], hint: String?) {
        self.values = values
        self.hint = hint
    }

    /// Reads secrets that an operator gave: a line each, blanks around them dropped.
    ///
    /// - Parameters:
    ///   - length: of each secret, in bytes.
    ///   - key: what a secret is signed with; nil for a text that is none.
    /// - Throws: a refusal on the field `secret`.
    package init(
        _ bytes: [UInt8],
        length: ClosedRange<Int> = 8...512,
        key: (String) -> [UInt8]? = { Array($0.utf8) }
    ) throws(Refusal) {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Self.invalid("it is not UTF-8") }
        let lines = text.split(whereSeparator: \.isNewline).map(Self.trimmed).filter { !$0.isEmpty }
        guard (1...2).contains(lines.count) else {
            throw Self.invalid(
                "one secret was expected, or two on a line each while they are changed; there are \(lines.count)"
            )
        }
        var values: [[UInt8]] = []
        for line in lines {
            guard length.contains(line.utf8.count) else {
                throw Self.invalid(
                    "a secret has \(length.lowerBound) to \(length.upperBound) bytes; this one has \(line.utf8.count)"
                )
            }
            if line.unicodeScalars.contains(where: Printable.isHarmful) {
                throw Self.invalid("it holds a control character")
            }
            guard let value = key(line) else { throw Self.invalid("it does not have the form of this kind's secrets") }
            values.append(value)
        }
        guard Set(values).count == values.count else { throw Self.invalid("both secrets are the same") }
        self.values = values
        hint = "…" + lines[0].suffix(lines[0].utf8.count >= 16 ? 4 : 2)
    }

    private static func trimmed(_ line: Substring) -> String {
        var line = line
        while let first = line.first, first.isWhitespace { line.removeFirst() }
        while let last = line.last, last.isWhitespace { line.removeLast() }
        return String(line)
    }

    private static func invalid(_ reason: String) -> Refusal { .invalid("secret", reason) }
}

extension SourceSecrets: CustomStringConvertible, CustomReflectable {
    package var description: String { hint ?? "no secret" }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// One thing that an operator may say about a source.
package struct SourceSetting: Sendable, Hashable {
    package let name: String
    /// One line for people.
    package let summary: String

    package init(_ name: String, _ summary: String) {
        self.name = name
        self.summary = summary
    }
}

/// Settings by name; nothing in them is secret.
package struct SourceSettings: Sendable, Hashable {
    /// In bytes.
    package static let longestValue = 512

    private let values: [String: String]

    package init(_ values: [String: String] = [:]) { self.values = values }

    /// Nil when it was not given, or is empty.
    package subscript(_ name: String) -> String? {
        guard let value = values[name], !value.isEmpty else { return nil }
        return value
    }
}
