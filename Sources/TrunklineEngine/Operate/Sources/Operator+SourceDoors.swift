internal import PostgresDriver
package import TrunklineCore

/// A source as whoever takes its sender's requests must know it. Holds its secret, sealed.
package struct SourceDoor: Sendable {
    package let source: SourceID
    package let workspace: WorkspaceID
    package let kind: String
    package let isRemoved: Bool
    /// Of the tokens that open it, or that opened it before it was removed: 32 bytes each.
    package let tokenDigests: [[UInt8]]
    private let settings: [String: String]
    private let address: String
    private let secret: StoredSecret

    /// Nil for a lane that is no source.
    fileprivate init?(_ rows: PostgresRows, _ row: Int) throws {
        guard let source = rows.text(row, 0).flatMap({ LaneName(stored: $0) })?.source else { return nil }
        self.source = source
        workspace = try WorkspaceID(rows.text(row, 1) ?? "")
        kind = rows.text(row, 2) ?? ""
        settings = try SourceSettingsText.read(rows.text(row, 3))
        isRemoved = rows.bool(row, 4) ?? false
        address = rows.text(row, 5) ?? ""
        secret = StoredSecret(rows, row, column: 6)
        tokenDigests = (rows.textArray(row, 9) ?? []).compactMap { $0.flatMap { Digest.bytes(hex: $0.utf8) } }
    }

    /// Whether its secret stands outside the database, and may change without notice.
    package var hasReference: Bool { secret.reference != nil }

    /// Secret and settings, read by its kind.
    ///
    /// - Parameter ownFiles: paths of the program's own secrets, which no reference may name.
    /// - Throws: what may be logged.
    package func account(_ kind: any Source, masterKey: MasterKey?, ownFiles: Set<String>) throws -> SourceAccount {
        let bytes = try secret.open(
            lane: .source(source),
            address: address,
            masterKey: masterKey,
            ownFiles: ownFiles
        )
        return try kind.account(secret: bytes, settings: settings)
    }
}

extension SourceDoor: CustomStringConvertible, CustomReflectable {
    package var description: String { "source \(source)" }
    /// Without children, so that `dump` shows no secret, be it a sealed one.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What a source was sent lately.
package struct SourceIntake: Sendable, Hashable {
    /// Requests that did not prove their sender, for one reason.
    package struct Forgery: Sendable, Hashable {
        /// A word of ``SourceRefusal/Reason``.
        package let reason: String
        package let times: Int64
        package let lastAt: Timestamp
    }

    /// When its last event was stored.
    package let lastEventAt: Timestamp?
    /// Most frequent first.
    package let forgeries: [Forgery]
}

extension Operator {
    /// The sources that changed after a revision (0: all), and the revision to ask from the next time.
    package func sourceDoors(since revision: Int64) async throws -> (doors: [SourceDoor], revision: Int64) {
        let rows = try await query(
            """
            select name, workspace, kind, settings, removed, address, sealed, reference, key_version, tokens, revision
            from trunkline.source_doors($1)
            """,
            [.int8(revision)]
        )
        var newest = revision
        let doors = try (0..<rows.count).compactMap { row -> SourceDoor? in
            newest = max(newest, rows.int8(row, 10) ?? newest)
            return try SourceDoor(rows, row)
        }
        return (doors, newest)
    }

    /// What a source was sent lately.
    package func intake(of id: SourceID) async throws -> SourceIntake {
        let last = try await query(
            "select stored_at from trunkline.inbox where source = $1 order by stored_at desc limit 1",
            [.text(id.value)]
        )
        let rows = try await query(
            """
            select reason, times, last_at from trunkline.source_forgeries where source = $1 order by times desc, reason
            """,
            [.text(id.value)]
        )
        return SourceIntake(
            lastEventAt: last.count == 1 ? last.timestamp(0, 0).map(Timestamp.init(microseconds:)) : nil,
            forgeries: (0..<rows.count).map { row in
                SourceIntake.Forgery(
                    reason: rows.text(row, 0) ?? "",
                    times: rows.int8(row, 1) ?? 0,
                    lastAt: Timestamp(microseconds: rows.timestamp(row, 2) ?? 0)
                )
            }
        )
    }
}
