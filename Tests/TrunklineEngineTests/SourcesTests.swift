import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Sources as an operator makes and changes them.
@Suite struct SourcesTests {
    private static let secret = Array("0123456789abcdef-0001".utf8)

    private static func key() throws -> MasterKey {
        try MasterKey(base64: Data((0..<32).map { UInt8($0) }).base64EncodedString())
    }

    private static func withInstall<R>(_ body: (AdminDatabase, Operator) async throws -> R) async throws -> R {
        try await AdminDatabase.with { database in
            try await Operator.with(databaseURL: database.url, name: "tests") { try await body(database, $0) }
        }
    }

    private static func token(_ letter: Character = "a") throws -> SourceToken {
        try SourceToken(String(repeating: letter, count: 24))
    }

    @discardableResult
    private static func add(
        _ id: String,
        to install: Operator,
        workspace: String = "acme",
        settings: [String: String] = [:],
        line: String? = nil,
        token: SourceToken? = nil
    ) async throws -> SourceRecord {
        let new = NewSource(
            workspace: try WorkspaceID(workspace),
            source: CustomSource.custom,
            secret: .sealed(secret, hint: "…0001", try key()),
            settings: settings,
            country: "ES",
            line: try line.map { try LineID($0) }
        )
        return try await install.addSource(SourceID(id), new, token: try token ?? self.token())
    }

    private static func secrets(of id: String, _ install: Operator) async throws -> String {
        let access = try await install.access(toLane: .source(SourceID(id)), masterKey: key(), ownFiles: [])
        return String(decoding: access.secret, as: UTF8.self)
    }

    /// Which sources' tokens are there: what a gateway looks up.
    private static func source(of token: SourceToken, _ database: AdminDatabase) async throws -> String? {
        let rows = try await database.session.query(
            "select source from trunkline.source_tokens where digest = $1",
            [.bytes(token.digest)]
        )
        return rows.count == 0 ? nil : rows.text(0, 0)
    }

    @Test func aSourceComesWithLaneScopeStateAndToken() async throws {
        try await Self.withInstall { database, install in
            let made = try await Self.add("shop", to: install, settings: ["signature_prefix": "x"], line: "acme-1")
            #expect(made.id.value == "shop" && made.kind == "custom" && made.workspace.value == "acme")
            #expect(made.settings == ["signature_prefix": "x"] && made.country == "ES" && made.line?.value == "acme-1")
            #expect(made.tokens == 1 && made.secretHint == "…0001" && made.pace == LanePolicy.events.pace)
            let rows = try await database.session.query(
                """
                select n.name, n.shard_hash, c.name, n.begins_quietly,
                    (select count(*) from trunkline.lane_state s where s.lane = n.number)
                from trunkline.sources d join trunkline.lanes n on n.number = d.lane
                join trunkline.scopes c on c.number = n.scope
                """
            )
            #expect(rows.text(0, 0) == "source:shop" && rows.text(0, 2) == "source:shop")
            #expect(rows.int8(0, 1) == Int64(CRC32.checksum("source:shop".utf8)))
            #expect(rows.bool(0, 3) == true && rows.int8(0, 4) == 1)
            #expect(try await Self.source(of: Self.token(), database) == "shop")
            #expect(try await install.allSources(workspace: WorkspaceID("acme")).map(\.id.value) == ["shop"])
            #expect(try await install.allSources(workspace: WorkspaceID("other")).isEmpty)
            // The same id may be a line's and a destination's.
            try await database.addLine("shop", workspace: "acme")
            try await database.addDestination("shop", workspace: "acme")
            #expect(try await install.allSources().count == 1)
        }
    }

    @Test func whatIsTakenOrAnotherWorkspacesIsRefusedAndLeavesNothing() async throws {
        try await Self.withInstall { database, install in
            try await Self.add("shop", to: install)
            await #expect(throws: LaneError.exists(.source(try SourceID("shop")))) {
                try await Self.add("shop", to: install, token: Self.token("b"))
            }
            await #expect(throws: SourceError.tokenTaken) { try await Self.add("two", to: install) }
            await #expect(throws: SourceError.lineOfAnotherWorkspace(try LineID("other-1"))) {
                try await Self.add("two", to: install, line: "other-1", token: Self.token("b"))
            }
            await #expect(throws: LaneError.unknown(.line(try LineID("nobody")))) {
                try await Self.add("two", to: install, line: "nobody", token: Self.token("b"))
            }
            #expect(try await database.count("sources") == 1)
            #expect(try await database.count("lanes where name = 'source:two'") == 0)
            #expect(try await database.count("source_tokens") == 1)
        }
    }

    @Test func changesAreCheckedByTheKind() async throws {
        try await Self.withInstall { _, install in
            try await Self.add("shop", to: install, settings: ["signature_prefix": "x"])
            let id = try SourceID("shop")
            await #expect(throws: Refusal.self) {
                try await install.changeSource(id, SourceChanges(settings: ["nonsense": "1"]), registry: .standard)
            }
            let changed = try await install.changeSource(
                id,
                SourceChanges(
                    settings: ["signature_prefix": nil, "signature_encoding": "hex"],
                    country: "",
                    line: LineID("acme-2")
                ),
                registry: .standard
            )
            #expect(changed.settings == ["signature_encoding": "hex"] && changed.country == nil)
            #expect(changed.line?.value == "acme-2")
            await #expect(throws: SourceError.notACountry) {
                try await install.changeSource(id, SourceChanges(country: "Spain"), registry: .standard)
            }
        }
    }

    @Test func aRotationLetsOldAndNewCountUntilItIsFinished() async throws {
        try await Self.withInstall { database, install in
            try await Self.add("shop", to: install)
            let id = try SourceID("shop")
            func rotate(token: SourceToken? = nil, secret: String? = nil) async throws -> SourceRecord {
                try await install.rotate(
                    id,
                    token: token,
                    secret: secret.map { Array($0.utf8) },
                    registry: .standard,
                    masterKey: Self.key(),
                    ownFiles: []
                )
            }
            func finish() async throws -> SourceRecord {
                try await install.finishRotation(of: id, registry: .standard, masterKey: Self.key(), ownFiles: [])
            }
            await #expect(throws: SourceError.notRotating(id)) { try await finish() }
            let (old, new) = (try Self.token(), try Self.token("b"))
            #expect(try await rotate(token: new, secret: "0123456789abcdef-0002").tokens == 2)
            #expect(try await Self.source(of: old, database) == "shop")
            #expect(try await Self.source(of: new, database) == "shop")
            #expect(try await Self.secrets(of: "shop", install) == "0123456789abcdef-0002\n0123456789abcdef-0001")
            await #expect(throws: SourceError.alreadyRotating(id, what: "token")) {
                try await rotate(token: Self.token("c"))
            }
            await #expect(throws: SourceError.alreadyRotating(id, what: "secret")) {
                try await rotate(secret: "0123456789abcdef-0003")
            }
            let done = try await finish()
            #expect(done.tokens == 1 && done.secretHint == "…0002")
            #expect(try await Self.source(of: old, database) == nil)
            #expect(try await Self.source(of: new, database) == "shop")
            #expect(try await Self.secrets(of: "shop", install) == "0123456789abcdef-0002")
            // And again, with the token only.
            #expect(try await rotate(token: old).tokens == 2)
            #expect(try await finish().tokens == 1)
            #expect(try await Self.source(of: new, database) == nil)
        }
    }

    @Test func aRemovedSourceOpensNothingAndComesBackWithAnotherToken() async throws {
        try await Self.withInstall { database, install in
            try await Self.add("shop", to: install)
            let id = try SourceID("shop")
            _ = try await install.holdSource(id, reason: "they move", until: nil)
            #expect(try await install.source(id).isHeld(at: .now))
            _ = try await install.resumeSource(id)
            _ = try await EventsKit.accept([("e1", "{}")], of: "shop", database)
            await #expect(throws: LaneError.unfinishedJobs(.source(id), count: 1)) {
                try await install.removeSource(id)
            }
            _ = try await EventsKit.runAll(database)
            #expect(try await install.removeSource(id).removedAt != nil)
            #expect(try await database.count("source_tokens") == 0)
            let back = try await Self.add("shop", to: install, token: Self.token("b"))
            #expect(back.tokens == 1 && back.removedAt == nil)
        }
    }
}
