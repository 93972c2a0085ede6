import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Destinations as an operator makes and changes them.
@Suite struct DestinationsTests {
    private static let hook = StandardWebhooksCarrier()
    private static let url = "https://Hooks.example/services/T0/SECRET?token=SECRET"

    private static func key(_ first: UInt8 = 0) throws -> MasterKey {
        try MasterKey(base64: Data((0..<32).map { UInt8($0) + first }).base64EncodedString())
    }

    private static func signing(_ byte: UInt8 = 1) -> [UInt8] {
        Array(("whsec_" + Data(Array(repeating: byte, count: 24)).base64EncodedString()).utf8)
    }

    private static func withInstall<R>(_ body: (PostgresSession, Operator) async throws -> R) async throws -> R {
        try await TestServers.withDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                _ = try await Migrations.migrate(session, shards: 4)
                return try await Operator.with(databaseURL: url, name: "tests") { try await body(session, $0) }
            }
        }
    }

    @discardableResult
    private static func add(
        _ id: String,
        to install: Operator,
        workspace: String = "acme",
        url: String = url,
        pace: PaceChange = PaceChange()
    ) async throws -> Destination {
        try await install.addDestination(
            DestinationID(id),
            workspace: WorkspaceID(workspace),
            carrier: hook,
            url: url,
            secret: .sealed(signing(), hint: "…AQEB", key()),
            pace: pace
        )
    }

    private static func access(_ lane: LaneName, _ install: Operator) async throws -> [UInt8] {
        try await install.access(toLane: lane, masterKey: key(), ownFiles: []).secret
    }

    @Test func aDestinationComesWithLaneScopeAndState() async throws {
        try await Self.withInstall { session, install in
            let made = try await Self.add("crm", to: install)
            #expect(made.id.value == "crm" && made.kind == "webhook" && made.workspace.value == "acme")
            #expect(made.pace == Self.hook.policy.pace && made.unknownHorizon == .seconds(86_400))
            #expect(made.dailyCap == .unlimited && made.secretHint == "…AQEB" && !made.mayBePrivate)
            #expect(made.shownAddress([Self.hook]) == "https://hooks.example/…")
            // Of a kind that a program does not know it shows no more.
            #expect(made.shownAddress([]) == "https://hooks.example/…")
            let rows = try await session.query(
                """
                select n.name, n.shard_hash, c.name, (select count(*) from trunkline.lane_state s where s.lane = n.number)
                from trunkline.destinations d join trunkline.lanes n on n.number = d.lane
                join trunkline.scopes c on c.number = n.scope
                """
            )
            #expect(rows.text(0, 0) == "destination:crm")
            #expect(rows.int8(0, 1) == Int64(CRC32.checksum("destination:crm".utf8)))
            #expect(rows.text(0, 2) == "destination:crm" && rows.int8(0, 3) == 1)
            #expect(try await install.allLines().isEmpty)
            #expect(try await install.allDestinations(workspace: WorkspaceID("acme")).map(\.id.value) == ["crm"])
            #expect(try await install.allDestinations(workspace: WorkspaceID("other")).isEmpty)
        }
    }

    @Test func aPaceOfItsOwnKeepsWhatItsKindHas() async throws {
        try await Self.withInstall { _, install in
            let paced = try await Self.add("crm", to: install, pace: PaceChange(interval: .seconds(1)))
            #expect(paced.pace == Pace(interval: .seconds(1), concurrency: 8, recipientGap: .zero))
            let faster = try await install.changeDestination(
                paced.id,
                DestinationChanges(pace: PaceChange(interval: .zero, concurrency: 2), dailyCap: .sends(5)),
                carriers: [Self.hook]
            )
            #expect(faster.pace == Pace(interval: .zero, concurrency: 2, recipientGap: .zero))
            #expect(faster.dailyCap == .sends(5))
        }
    }

    /// A gate that only a person may open has no moment for its next probe: a person's word makes one, also for a shard that
    /// has no owner at that moment.
    @Test(arguments: ["held_human", "held_transient", "probing"])
    func aResumeMakesTheProbeOfAClosedGateDue(gate: String) async throws {
        try await Self.withInstall { session, install in
            let destination = try await Self.add("crm", to: install)
            try await session.query(
                "update trunkline.lane_state set gate = $1, gate_reason = 'endpoint_gone', next_probe_at = null",
                [.text(gate)]
            )
            _ = try await install.resumeDestination(destination.id)
            let due = "select count(*) from trunkline.lane_state where next_probe_at <= now()"
            #expect(try await session.query(due).int8(0, 0) == 1)
        }
    }

    @Test func aResumeLeavesAnOpenGateAlone() async throws {
        try await Self.withInstall { session, install in
            let destination = try await Self.add("crm", to: install)
            try await session.query("update trunkline.lane_state set gate = 'open'", [])
            _ = try await install.resumeDestination(destination.id)
            let due = "select count(*) from trunkline.lane_state where next_probe_at is not null"
            #expect(try await session.query(due).int8(0, 0) == 0)
        }
    }

    @Test func aLineAndADestinationOfOneIDAreTwo() async throws {
        try await Self.withInstall { session, install in
            let line = try await install.addLine(
                LineID("a"),
                workspace: WorkspaceID("acme"),
                carrier: EZWhatsAppCarrier(),
                baseURL: EZWhatsAppCarrier().address("https://hooks.example/api/v1", mayBePrivate: true),
                token: .sealed(Array("ezw_line_1234".utf8), of: EZWhatsAppCarrier(), Self.key()),
                pace: .standard
            )
            let destination = try await Self.add("a", to: install)
            #expect(line.lane != destination.number)
            _ = try await install.holdDestination(destination.id, reason: "x", until: nil)
            #expect(try await install.line(line.id).hold == nil)
            #expect(try await install.resumeDestination(destination.id).hold == nil)
            // What is sealed for one opens for no other, though the host is the same.
            try await session.query(
                """
                update trunkline.lanes n set secret_sealed = o.secret_sealed from trunkline.lanes o
                where n.name = 'destination:a' and o.name = 'line:a'
                """
            )
            await #expect(throws: LaneSecretError.notBound(.destination(destination.id))) {
                try await Self.access(.destination(destination.id), install)
            }
        }
    }

    @Test func anIDBelongsToOneWorkspaceAndOneKindForEver() async throws {
        try await Self.withInstall { session, install in
            let id = try await Self.add("crm", to: install).id
            await #expect(throws: LaneError.exists(.destination(id))) { try await Self.add("crm", to: install) }
            _ = try await install.removeDestination(id)
            await #expect(throws: LaneError.ofAnotherWorkspace(.destination(id))) {
                try await Self.add("crm", to: install, workspace: "other")
            }
            try await session.query("update trunkline.lanes set carrier = 'hubspot'")
            await #expect(throws: LaneError.ofAnotherKind(.destination(id), kind: "hubspot")) {
                try await Self.add("crm", to: install)
            }
            try await session.query("update trunkline.lanes set carrier = 'webhook'")
            #expect(try await Self.add("crm", to: install).removedAt == nil)
            try await session.query("update trunkline.lanes set carrier = 'hubspot'")
            await #expect(throws: LaneError.kindUnknownHere(.destination(id), kind: "hubspot")) {
                try await install.changeDestination(id, DestinationChanges(url: Self.url), carriers: [Self.hook])
            }
        }
    }

    @Test func aSecretDoesNotFollowItsDestinationToAnotherHost() async throws {
        try await Self.withInstall { _, install in
            let id = try await Self.add("crm", to: install).id
            func set(_ changes: DestinationChanges) async throws -> Destination {
                try await install.changeDestination(id, changes, carriers: [Self.hook])
            }
            await #expect(throws: LaneError.secretOfAnotherAddress(.destination(id))) {
                try await set(DestinationChanges(url: "https://other.example/hook"))
            }
            // Another path of the same host is the same address.
            _ = try await set(DestinationChanges(url: "https://hooks.example/other"))
            #expect(try await Self.access(.destination(id), install) == Self.signing())
            let other = LaneSecret.sealed(Self.signing(2), hint: "…AgIC", try Self.key())
            let moved = try await set(DestinationChanges(url: "https://other.example/hook", secret: other))
            #expect(moved.shownAddress([Self.hook]) == "https://other.example/…" && moved.secretHint == "…AgIC")
            #expect(try await Self.access(.destination(id), install) == Self.signing(2))
            // What no carrier takes is refused, and nothing changed.
            await #expect(throws: Refusal.self) { try await set(DestinationChanges(url: "http://10.0.0.1/x")) }
            #expect(try await install.destination(id).address == "https://other.example/hook")
            let words = "\(LaneError.secretOfAnotherAddress(.destination(id)))"
            #expect(words.contains("destination crm") && words.contains("--secret-file") && !words.contains("token"))
        }
    }

    @Test func aDestinationWithUnfinishedJobsStays() async throws {
        try await Self.withInstall { session, install in
            let made = try await Self.add("crm", to: install)
            try await session.query(
                """
                insert into trunkline.jobs (id, lane, scope, key, key_digest, person, request, state)
                values (1, $1, 1, 'k', decode(repeat('00', 16), 'hex'), 1, '', 'accepted')
                """,
                [.int4(made.number)]
            )
            await #expect(throws: LaneError.unfinishedJobs(.destination(made.id), count: 1)) {
                try await install.removeDestination(made.id)
            }
        }
    }
}
