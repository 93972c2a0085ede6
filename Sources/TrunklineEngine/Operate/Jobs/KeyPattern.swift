internal import PostgresDriver
package import TrunklineCore

/// Which notices a person means: a key, or a key with `*` for any run of characters.
package struct KeyPattern: Sendable, Hashable, CustomStringConvertible {
    package let text: String

    /// Throws a refusal for what can be no key's pattern.
    package init(_ text: String) throws(Refusal) {
        let isGood =
            (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x61...0x7A, 0x41...0x5A, 0x30...0x3A, 0x2A, 0x2E, 0x5F, 0x2D: true
                default: false
                }
            }
        guard isGood else {
            throw Refusal(
                kind: .invalid,
                field: "key",
                reason:
                    "a pattern is a key with * for any run of characters: 1 to 128 letters, digits and . _ : - * (ASCII)"
            )
        }
        self.text = text
    }

    /// The key, when there is no `*` in it.
    package var key: IdempotencyKey? { try? IdempotencyKey(text) }
    /// Nothing but `*`.
    package var isEverything: Bool { text.allSatisfy { $0 == "*" } }
    /// As SQL's `LIKE` reads it.
    var like: String { Self.like(text) }

    static func like(_ text: String) -> String { text.replacing("_", with: "\\_").replacing("*", with: "%") }

    package var description: String { text }
}

/// Whose keys are meant: those of the notices of a workspace, or of the deliveries to a destination.
package enum KeyOwner: Sendable, Hashable, Comparable, CustomStringConvertible {
    case workspace(WorkspaceID)
    case destination(DestinationID)

    /// The name of the scope in which the keys are unique.
    var scope: String {
        switch self {
        case .workspace(let id): "workspace:" + id.value
        case .destination(let id): id.laneName
        }
    }

    init?(scope: String) {
        if scope.hasPrefix("workspace:"), let id = try? WorkspaceID(String(scope.dropFirst("workspace:".count))) {
            self = .workspace(id)
        } else if let id = LaneName(stored: scope)?.destination {
            self = .destination(id)
        } else {
            return nil
        }
    }

    package var description: String {
        switch self {
        case .workspace(let id): "workspace \(id)"
        case .destination(let id): "destination \(id)"
        }
    }

    package var workspace: WorkspaceID? { if case .workspace(let id) = self { id } else { nil } }
    package var destination: DestinationID? { if case .destination(let id) = self { id } else { nil } }

    /// For lists.
    package static func < (left: KeyOwner, right: KeyOwner) -> Bool { left.scope < right.scope }
}

/// Why nothing was looked for: it is not clear what is meant.
package enum KeyScopeError: ExplainedError, Hashable {
    case unknown(KeyOwner)
    case several([KeyOwner])

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .unknown(let owner): return "there is no \(owner)"
        case .several(let owners):
            // They are of one kind: see `scope(of:owner:)`.
            let option = owners.contains { $0.destination != nil } ? "destination" : "workspace"
            let names = owners.sorted().map { $0.workspace?.value ?? $0.destination?.value ?? "" }
            return "\(option)s \(names.joined(separator: ", ")) have such keys: say which one with --\(option)"
        }
    }
}

/// Within what keys are meant.
struct KeyScope: Sendable, Hashable {
    let number: Int32
    let owner: KeyOwner
}

extension PostgresSession {
    /// The one scope in which a pattern means unfinished jobs, or a key any; nil when there is none. Throws
    /// ``KeyScopeError`` when there are several: a key of one client must not cancel another one's notices. Who names no owner
    /// means notices as long as somebody has such.
    func scope(of pattern: KeyPattern, owner: KeyOwner?) async throws -> KeyScope? {
        let rows: PostgresRows
        if let owner {
            rows = try await query("select number, name from trunkline.scopes where name = $1", [.text(owner.scope)])
            if rows.count == 0 { throw KeyScopeError.unknown(owner) }
        } else if let key = pattern.key {
            rows = try await query(
                """
                select number, name from trunkline.scopes s
                where exists (select from trunkline.ledger l where l.scope = s.number and l.key_digest = $1)
                """,
                [.bytes(key.digest)]
            )
        } else {
            rows = try await query(
                "select number, name from trunkline.scopes where number in (select scope from trunkline.jobs where key like $1)",
                [.text(pattern.like)]
            )
        }
        var scopes = (0..<rows.count).compactMap { row -> KeyScope? in
            guard let number = rows.int4(row, 0), let owner = rows.text(row, 1).flatMap({ KeyOwner(scope: $0) })
            else { return nil }
            return KeyScope(number: number, owner: owner)
        }
        if scopes.contains(where: { $0.owner.workspace != nil }) { scopes.removeAll { $0.owner.workspace == nil } }
        guard scopes.count <= 1 else { throw KeyScopeError.several(scopes.map(\.owner).sorted()) }
        return scopes.first
    }
}
