import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

/// Rules that are applied: one commit, one revision.
@Suite struct RulesInForceTests {
    @Test func theSameRulesGivenManyTimesAtOnceAreOneRevision() async throws {
        try await AdminDatabase.with { database in
            let new = NewRules(
                workspace: nil,
                text: "lines: {acme-1: {}}\n",
                claims: [.init(path: "lines.acme-1", lane: .line(try LineID("acme-1")))]
            )
            let made = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let install = database.install
                        let done = try await install.applyRules(new) { _, _ in true }
                        await install.close()
                        return done.isNew
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(made == 1)
            #expect(try await database.count("rules where workspace = 'acme'") == 1)
        }
    }

    @Test func whoDecidesOtherwiseChangesNothing() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            let acme = try WorkspaceID("acme")
            let first = try await install.applyRules(.init(workspace: acme, text: "a", claims: [])) { _, _ in true }
            let dry = try await install.applyRules(.init(workspace: acme, text: "b", claims: [])) {
                workspace,
                inForce in
                #expect(workspace == acme && inForce?.text == "a")
                return false
            }
            #expect(!dry.isNew && dry.inForce == first.inForce)
            struct Stop: Error {}
            await #expect(throws: Stop.self) {
                try await install.applyRules(.init(workspace: acme, text: "b", claims: [])) { _, _ in throw Stop() }
            }
            #expect(try await install.rules(of: acme)?.text == "a")
            _ = try await install.applyRules(
                .init(workspace: try WorkspaceID("other"), text: "c", claims: [])
            ) { _, _ in true }
            await #expect(throws: RulesError.self) { try await install.onlyRules() }
            await install.close()
        }
    }
}
