internal import PostgresDriver
package import TrunklineCore

/// As much of a lane as whoever accepts for it must know.
package struct LaneEntry: Sendable, Hashable {
    package let name: LaneName
    /// For ever the same.
    package let workspace: WorkspaceID
    /// The kind of its carrier, for ever the same.
    package let carrier: String
    package let isRemoved: Bool
}

extension Operator {
    /// The lanes that changed after a revision (0: all), and the revision to ask from the next time.
    package func laneEntries(since revision: Int64) async throws -> (lanes: [LaneEntry], revision: Int64) {
        let rows = try await query(
            """
            select name, workspace, carrier, removed_at is not null, revision from trunkline.lanes
            where revision > $1 order by revision
            """,
            [.int8(revision)]
        )
        var newest = revision
        let lanes = try (0..<rows.count).compactMap { row -> LaneEntry? in
            newest = max(newest, rows.int8(row, 4) ?? newest)
            guard let name = rows.text(row, 0).flatMap({ LaneName(stored: $0) }) else { return nil }
            return LaneEntry(
                name: name,
                workspace: try WorkspaceID(rows.text(row, 1) ?? ""),
                carrier: rows.text(row, 2) ?? "",
                isRemoved: rows.bool(row, 3) ?? false
            )
        }
        return (lanes, newest)
    }

    /// What a gateway needs of the gate of a line: for its `health`. Throws ``LaneError/unknown(_:)``.
    package func gate(of line: LineID) async throws -> LaneRecord { try await lane(.line(line)) }
}
