/// Whose lane it is: of a line, of a destination or of a source. Its value is the lane's name as it is stored, and decides the shard.
package enum LaneName: Sendable, Hashable, CustomStringConvertible {
    case line(LineID)
    case destination(DestinationID)
    case source(SourceID)

    /// `line:ID`, `destination:ID` or `source:ID`; nil for the name of a lane that only a later version knows.
    package init?(stored name: String) {
        guard let colon = name.firstIndex(of: ":") else { return nil }
        let id = String(name[colon...].dropFirst())
        switch name[..<colon] {
        case "line":
            guard let line = try? LineID(id) else { return nil }
            self = .line(line)
        case "destination":
            guard let destination = try? DestinationID(id) else { return nil }
            self = .destination(destination)
        case "source":
            guard let source = try? SourceID(id) else { return nil }
            self = .source(source)
        default: return nil
        }
    }

    /// As it is stored.
    package var value: String {
        switch self {
        case .line(let id): id.laneName
        case .destination(let id): id.laneName
        case .source(let id): id.laneName
        }
    }

    /// What people call its kind of party: `line`, `destination`, `source`. It is also the name of the command.
    package var noun: String {
        switch self {
        case .line: "line"
        case .destination: "destination"
        case .source: "source"
        }
    }

    /// Without the noun: unique among its kind only.
    package var id: String {
        switch self {
        case .line(let id): id.value
        case .destination(let id): id.value
        case .source(let id): id.value
        }
    }

    package var line: LineID? { if case .line(let id) = self { id } else { nil } }
    package var destination: DestinationID? { if case .destination(let id) = self { id } else { nil } }
    package var source: SourceID? { if case .source(let id) = self { id } else { nil } }

    /// For sentences: `line acme-il`.
    package var description: String { "\(noun) \(id)" }

    /// A stored name for sentences; itself when only a later version knows the noun.
    package static func shown(_ stored: String) -> String { LaneName(stored: stored)?.description ?? stored }
}
