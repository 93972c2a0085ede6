import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// API keys as an operator makes and revokes them, and as gateways learn of them.
@Suite struct APIKeyTests {
    private static func withInstall<R>(_ body: (PostgresSession, Operator) async throws -> R) async throws -> R {
        try await TestServers.withDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                _ = try await Migrations.migrate(session, shards: 4)
                return try await Operator.with(databaseURL: url, name: "tests") { try await body(session, $0) }
            }
        }
    }

    private static func new(_ scopes: Set<APIScope> = [.send], of workspace: String = "acme") throws -> NewAPIKey {
        NewAPIKey(workspace: try WorkspaceID(workspace), scopes: scopes)
    }

    @Test func onlyTheDigestOfASecretIsStored() async throws {
        try await Self.withInstall { session, install in
            let (key, secret) = try await install.createAPIKey(Self.new([.send, .read]))
            #expect(key.scopes == [.send, .read] && key.revokedAt == nil && key.binding == nil)
            let rows = try await session.query("select to_jsonb(k)::text, k.digest from trunkline.api_keys k")
            #expect(rows.count == 1 && rows.bytes(0, 1) == secret.digest)
            #expect(rows.text(0, 0)?.contains(secret.text) == false)
            #expect(rows.text(0, 0)?.contains(String(secret.text.dropFirst(4).prefix(20))) == false)
            #expect(key.hint == "…" + secret.text.suffix(4) && "\(secret)" == key.hint)
            let presented = try #require(APIKeySecret(presented: secret.text))
            let changes = try await install.apiKeyChanges(since: 0)
            #expect(changes.keys.map(\.digest) == [presented.digest] && changes.keys.map(\.key) == [key])
        }
    }

    @Test func noTwoKeysAreAlike() async throws {
        try await Self.withInstall { _, install in
            var secrets: Set<String> = []
            var ids: Set<APIKeyID> = []
            for _ in 0..<20 {
                let (key, secret) = try await install.createAPIKey(Self.new())
                secrets.insert(secret.text)
                ids.insert(key.id)
            }
            #expect(secrets.count == 20 && ids.count == 20)
        }
    }

    @Test func aRevokedKeyStaysRevoked() async throws {
        try await Self.withInstall { _, install in
            let (key, _) = try await install.createAPIKey(Self.new([.admin]))
            #expect(APIScope.allCases.allSatisfy { key.allows($0) })
            let revoked = try await install.revokeAPIKey(key.id)
            let at = try #require(revoked.revokedAt)
            #expect(APIScope.allCases.allSatisfy { !revoked.allows($0) })
            #expect(try await install.revokeAPIKey(key.id).revokedAt == at)
            #expect(try await install.allAPIKeys().isEmpty)
            #expect(try await install.allAPIKeys(withRevoked: true).map(\.id) == [key.id])
            let unknown = try APIKeyID("key_0")
            await #expect(throws: APIKeyError.unknown(unknown)) { try await install.revokeAPIKey(unknown) }
        }
    }

    @Test func aScopeAllowsItselfOnly() async throws {
        try await Self.withInstall { _, install in
            for scope in APIScope.allCases where scope != .admin {
                let (key, _) = try await install.createAPIKey(Self.new([scope]))
                #expect(APIScope.allCases.filter { key.allows($0) } == [scope])
            }
        }
    }

    @Test func changesComeOnceAndInTheirOrder() async throws {
        try await Self.withInstall { _, install in
            let (first, _) = try await install.createAPIKey(Self.new())
            let all = try await install.apiKeyChanges(since: 0)
            #expect(all.keys.map(\.key.id) == [first.id])
            #expect(try await install.apiKeyChanges(since: all.revision).keys.isEmpty)
            let (second, _) = try await install.createAPIKey(Self.new(of: "other"))
            _ = try await install.revokeAPIKey(first.id)
            let more = try await install.apiKeyChanges(since: all.revision)
            #expect(Set(more.keys.map(\.key.id)) == [first.id, second.id] && more.revision > all.revision)
            #expect(try await install.allAPIKeys(workspace: WorkspaceID("other")).map(\.id) == [second.id])
        }
    }

    /// Two changes at once: whoever saw the later one has seen the earlier one.
    @Test func aChangeUnderWayHoldsBackLaterRevisions() async throws {
        try await TestServers.withDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                _ = try await Migrations.migrate(session, shards: 4)
                let install = Operator(databaseURL: url, name: "tests")
                let (first, _) = try await install.createAPIKey(Self.new())
                let seen = try await install.apiKeyChanges(since: 0).revision
                try await session.script("begin; update trunkline.api_keys set revoked_at = now()")
                let later = Task {
                    let other = Operator(databaseURL: url, name: "tests")
                    let key = try await other.createAPIKey(Self.new()).key
                    await other.close()
                    return key.id
                }
                let isWaiting = "select 1 from pg_locks where locktype = 'advisory' and not granted"
                try await eventually("the later change waits") { try await install.query(isWaiting).count == 1 }
                #expect(try await install.apiKeyChanges(since: seen).keys.isEmpty)
                try await session.script("commit")
                let second = try await later.value
                #expect(Set(try await install.apiKeyChanges(since: seen).keys.map(\.key.id)) == [first.id, second])
                await install.close()
            }
        }
    }

    @Test func aKeyIsBoundToALineOfItsWorkspaceOnly() async throws {
        try await Self.withInstall { _, install in
            let line = try LineID("line-01")
            var new = try Self.new()
            new.binding = APIKey.Binding(line: line, purpose: .order)
            await #expect(throws: LaneError.unknown(.line(line))) { try await install.createAPIKey(new) }
            let carrier = EZWhatsAppCarrier()
            let master = try MasterKey(base64: Data((0..<32).map { UInt8($0) }).base64EncodedString())
            _ = try await install.addLine(
                line,
                workspace: WorkspaceID("acme"),
                carrier: carrier,
                baseURL: carrier.address("https://api.example/api/v1", mayBePrivate: true),
                token: .sealed(Array("ezw_line_test".utf8), hint: "…test", master),
                pace: .standard
            )
            #expect(try await install.createAPIKey(new).key.binding == new.binding)
            new.workspace = try WorkspaceID("other")
            await #expect(throws: APIKeyError.lineOfAnotherWorkspace(line)) { try await install.createAPIKey(new) }
            _ = try await install.removeLine(line)
            new.workspace = try WorkspaceID("acme")
            await #expect(throws: LaneError.removed(.line(line))) { try await install.createAPIKey(new) }
        }
    }

    @Test func whatBreaksARuleIsRefused() async throws {
        try await Self.withInstall { _, install in
            await #expect(throws: Refusal.self) { try await install.createAPIKey(Self.new([])) }
            for number in [0, -1, 1_000_001] {
                var new = try Self.new()
                new.requestsPerMinute = number
                await #expect(throws: Refusal.self) { try await install.createAPIKey(new) }
            }
            for label in ["", "two\nlines", String(repeating: "x", count: 101)] {
                var new = try Self.new()
                new.label = label
                await #expect(throws: Refusal.self) { try await install.createAPIKey(new) }
            }
            #expect(try await install.allAPIKeys(withRevoked: true).isEmpty)
        }
    }
}
