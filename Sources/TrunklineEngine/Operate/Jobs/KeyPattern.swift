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
    var like: String { text.replacing("_", with: "\\_").replacing("*", with: "%") }

    package var description: String { text }
}

/// Why nothing was looked for: it is not clear what is meant.
package enum KeyScopeError: ExplainedError, Hashable {
    case unknownWorkspace(WorkspaceID)
    case severalWorkspaces([String])

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .unknownWorkspace(let id): "there is no workspace \(id)"
        case .severalWorkspaces(let names):
            "workspaces \(names.sorted().joined(separator: ", ")) have such keys: say which one with --workspace"
        }
    }
}

/// Within what keys are meant.
struct KeyScope: Sendable, Hashable {
    let number: Int32
    let workspace: String
}

extension PostgresSession {
    /// The one scope in which a pattern means unfinished jobs, or a key any; nil when there is none. Throws
    /// ``KeyScopeError`` when there are several: a key of one client must not cancel another one's notices.
    func scope(of pattern: KeyPattern, workspace: WorkspaceID?) async throws -> KeyScope? {
        let rows: PostgresRows
        if let workspace {
            rows = try await query(
                "select number, name from trunkline.scopes where name = $1",
                [.text("workspace:" + workspace.value)]
            )
            if rows.count == 0 { throw KeyScopeError.unknownWorkspace(workspace) }
        } else if let key = pattern.key {
            rows = try await query(
                """
                select number, name from trunkline.scopes s where name like 'workspace:%'
                  and exists (select from trunkline.ledger l where l.scope = s.number and l.key_digest = $1)
                """,
                [.bytes(key.digest)]
            )
        } else {
            rows = try await query(
                """
                select number, name from trunkline.scopes s where name like 'workspace:%'
                  and number in (select scope from trunkline.jobs where key like $1)
                """,
                [.text(pattern.like)]
            )
        }
        let scopes = (0..<rows.count).compactMap { row -> KeyScope? in
            guard let number = rows.int4(row, 0), let name = rows.text(row, 1) else { return nil }
            return KeyScope(number: number, workspace: String(name.dropFirst("workspace:".count)))
        }
        guard scopes.count <= 1 else { throw KeyScopeError.severalWorkspaces(scopes.map(\.workspace)) }
        return scopes.first
    }
}
