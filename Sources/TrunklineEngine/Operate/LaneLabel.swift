package import TrunklineCore

/// A lane as it is told of: by its stored name, which may have a noun that only a later version knows.
package struct LaneLabel: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// `line:ID`, `destination:ID`, `source:ID`.
    package let stored: String

    package init(stored: String) { self.stored = stored }

    package var name: LaneName? { LaneName(stored: stored) }
    /// The line's id, if it is one.
    package var line: String? { name?.line?.value }
    /// The destination's id, if it is one.
    package var destination: String? { name?.destination?.value }
    /// The source's id, if it is one.
    package var source: String? { name?.source?.value }

    /// For tables: lines by their ids, others with their noun.
    package var description: String { line ?? LaneName.shown(stored) }

    /// Lines first, then by id.
    package static func < (left: LaneLabel, right: LaneLabel) -> Bool {
        if (left.line == nil) != (right.line == nil) { return left.line != nil }
        return left.stored < right.stored
    }
}
