import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineEngine
import TrunklineIntegrations

@Suite struct LinesTests {
    private static func key(_ first: UInt8 = 0) throws -> MasterKey {
        try MasterKey(base64: Data((0..<32).map { UInt8($0) + first }).base64EncodedString())
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
        baseURL: String = "https://api.example/api/v1/",
        token: LaneSecret? = nil,
        pace: Pace = .standard
    ) async throws -> Line {
        try await install.addLine(
            LineID(id),
            workspace: WorkspaceID(workspace),
            carrier: EZWhatsAppCarrier(),
            baseURL: EZWhatsAppCarrier().address(baseURL, mayBePrivate: true),
            token: token ?? .sealed(Array("ezw_line_secret_1234".utf8), of: EZWhatsAppCarrier(), key()),
            pace: pace
        )
    }

    /// What a worker would send, and where.
    private static func token(of id: LineID, _ install: Operator, _ key: MasterKey?) async throws -> String {
        let secret = try await install.access(toLane: .line(id), masterKey: key, ownFiles: []).secret
        return String(decoding: secret, as: UTF8.self)
    }

    private static func addJob(_ id: Int64, lane: Int32, state: String = "accepted", to session: PostgresSession)
        async throws
    {
        try await session.query(
            """
            insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, state, reason,
                parked_at)
            values ($1, $2, 1, 'k', decode(repeat('00', 16), 'hex'), 1, '+1', '', 'order', $3, 'r',
                case when $3 = 'parked' then now() end)
            """,
            [.int8(id), .int4(lane), .text(state)]
        )
    }

    @Test func aLineComesWithLaneScopeAndState() async throws {
        try await Self.withInstall { session, install in
            let line = try await Self.add("il", to: install)
            #expect(line.id.value == "il" && line.workspace.value == "acme")
            #expect(line.baseURL == "https://api.example/api/v1")
            #expect(line.tokenHint == "…1234" && line.tokenPlace == .sealed(keyVersion: 1))
            #expect(line.pace == .standard && line.hold == nil && line.gate == "unknown" && line.removedAt == nil)
            let rows = try await session.query(
                """
                select n.name, n.shard_hash, c.name, (select count(*) from trunkline.lane_state s where s.lane = n.number)
                from trunkline.lines l join trunkline.lanes n on n.number = l.lane join trunkline.scopes c on c.number = n.scope
                """
            )
            // zlib.crc32(b"line:il")
            #expect(rows.text(0, 0) == "line:il" && rows.int8(0, 1) == 0x0DBC_F4BB)
            #expect(rows.text(0, 2) == "workspace:acme" && rows.int8(0, 3) == 1)
        }
    }

    @Test func theTokenIsStoredSealedAndOpensForItsLineOnly() async throws {
        try await Self.withInstall { session, install in
            let (first, second) = (try LineID("a"), try LineID("b"))
            try await Self.add("a", to: install)
            try await Self.add(
                "b",
                to: install,
                token: .sealed(Array("ezw_line_other_5678".utf8), of: EZWhatsAppCarrier(), Self.key())
            )
            #expect(try await Self.token(of: first, install, Self.key()) == "ezw_line_secret_1234")

            let stored = try await session.query(
                "select secret_sealed, row_to_json(n)::text from trunkline.lanes n where name = 'line:a'"
            )
            #expect(stored.text(0, 1)?.contains("line_secret") == false)
            #expect(String(decoding: stored.bytes(0, 0) ?? [], as: UTF8.self).contains("line_secret") == false)

            await #expect(throws: LaneSecretError.notBound(.line(first))) {
                try await Self.token(of: first, install, Self.key(1))
            }
            await #expect(throws: LaneSecretError.needsMasterKey(.line(first))) {
                try await Self.token(of: first, install, nil)
            }
            // A row copied onto another line opens nothing.
            try await session.query(
                "update trunkline.lanes set secret_sealed = (select secret_sealed from trunkline.lanes where name = 'line:a') where name = 'line:b'"
            )
            await #expect(throws: LaneSecretError.notBound(.line(second))) {
                try await Self.token(of: second, install, Self.key())
            }
            try await session.query("update trunkline.lanes set secret_key_version = 2")
            await #expect(throws: LaneSecretError.unknownKeyVersion(.line(first), 2)) {
                try await Self.token(of: first, install, Self.key())
            }
        }
    }

    @Test func aReferenceIsStoredInPlaceOfTheToken() async throws {
        try await Self.withInstall { session, install in
            let path = FileManager.default.temporaryDirectory.appending(path: freshName("token")).path
            defer { try? FileManager.default.removeItem(atPath: path) }
            try Data("ezw_line_from_file\n".utf8).write(to: URL(filePath: path))
            let reference = try SecretReference("file:" + path)
            let line = try await Self.add("a", to: install, token: .reference(reference, hint: "", Self.key()))
            #expect(line.tokenPlace == .reference("file:" + path) && line.tokenHint == "")
            #expect(try await Self.token(of: line.id, install, Self.key()) == "ezw_line_from_file")
            await #expect(throws: SecretReferenceError.ownFile(path)) {
                try await install.access(toLane: .line(line.id), masterKey: Self.key(), ownFiles: [path])
            }
        }
    }

    /// Whoever may write the table, and has no master key: every change of what a secret belongs to opens nothing.
    @Test(arguments: [
        "address = 'https://evil.example/api/v1'", "address = 'https://api.example:8443/api/v1'",
        "address = 'http://127.0.0.1:9/api/v1'", "secret_reference = 'env:TRUNKLINE_MASTER_KEY'",
        "secret_reference = 'env:PATH'", "secret_reference = 'file:/etc/hostname'", "secret_reference = null",
        "secret_sealed = other.secret_sealed, secret_reference = other.secret_reference", "secret_sealed = ''",
    ])
    func aRowChangedBehindOurBackOpensNothing(_ change: String) async throws {
        try await Self.withInstall { session, install in
            let key = try Self.key()
            let place = try SecretReference("env:LINE_TOKEN")
            try await Self.add("sealed", to: install)
            try await Self.add("referenced", to: install, token: .reference(place, hint: "", key))
            let other = try SecretReference("env:OTHER_TOKEN")
            try await Self.add("other", to: install, token: .reference(other, hint: "", key))
            try await session.query(
                "update trunkline.lanes l set \(change) from trunkline.lanes other where l.name <> 'line:other' and other.name = 'line:other'"
            )
            for id in [try LineID("sealed"), try LineID("referenced")] {
                if id.value == "sealed", change.hasSuffix("= null") { continue }  // It has none.
                await #expect(throws: LaneSecretError.notBound(.line(id)), "\(id): \(change)") {
                    try await Self.token(of: id, install, key)
                }
                // A new token must not follow the row to an address that nobody gave.
                if change.hasPrefix("address") {
                    await #expect(throws: LaneError.self) {
                        try await install.changeLine(
                            id,
                            LineChanges(token: .sealed(Array("ezw_line_new_0001".utf8), of: EZWhatsAppCarrier(), key))
                        )
                    }
                }
            }
            // The untouched one fails only for the lack of its variable; and the rows are still listed.
            await #expect(throws: SecretReferenceError.missingVariable("OTHER_TOKEN")) {
                try await Self.token(of: LineID("other"), install, key)
            }
            #expect(try await install.allLines().count == 3)
        }
    }

    @Test func aTokenDoesNotFollowItsLineToAnotherAddress() async throws {
        try await Self.withInstall { session, install in
            let (key, id) = (try Self.key(), try LineID("a"))
            try await Self.add("a", to: install)
            func set(_ baseURL: String?, token: String? = nil, _ key: MasterKey) async throws -> Line {
                let base = try baseURL.map { try EZWhatsAppCarrier().address($0, mayBePrivate: true) }
                let token = try token.map { try LaneSecret.sealed(Array($0.utf8), of: EZWhatsAppCarrier(), key) }
                return try await install.changeLine(id, LineChanges(baseURL: base, token: token))
            }
            for address in [
                "https://other.example/api/v1", "https://api.example:8443/api/v1", "http://127.0.0.1/api/v1",
            ] {
                await #expect(throws: LaneError.secretOfAnotherAddress(.line(id))) { try await set(address, key) }
            }
            // Another path of the same host is the same address.
            #expect(try await set("https://api.example/api/v2", key).baseURL == "https://api.example/api/v2")
            #expect(try await Self.token(of: id, install, key) == "ezw_line_secret_1234")
            #expect(try await set(nil, token: "ezw_line_rotated_1", key).baseURL == "https://api.example/api/v2")
            #expect(try await Self.token(of: id, install, key) == "ezw_line_rotated_1")
            _ = try await set("https://other.example/api/v1", token: "ezw_line_other_2", key)
            #expect(try await Self.token(of: id, install, key) == "ezw_line_other_2")
            // Under a new key the row proves nothing: the address is said too.
            let new = try Self.key(1)
            await #expect(throws: LaneError.addressNotProven(.line(id), origin: "https://other.example")) {
                try await set(nil, token: "ezw_line_third_3", new)
            }
            _ = try await set("https://other.example/api/v1", token: "ezw_line_third_3", new)
            #expect(try await Self.token(of: id, install, new) == "ezw_line_third_3")
        }
    }

    @Test func anIDBelongsToOneWorkspaceForEver() async throws {
        try await Self.withInstall { session, install in
            let id = try LineID("a")
            try await Self.add("a", to: install)
            await #expect(throws: LaneError.exists(.line(id))) { try await Self.add("a", to: install) }
            await #expect(throws: LaneError.ofAnotherWorkspace(.line(id))) {
                try await Self.add("a", to: install, workspace: "other")
            }
            _ = try await install.removeLine(id)
            await #expect(throws: LaneError.ofAnotherWorkspace(.line(id))) {
                try await Self.add("a", to: install, workspace: "other")
            }
            // What was refused left nothing behind.
            let scopes = try await session.query("select count(*) from trunkline.scopes")
            #expect(scopes.int8(0, 0) == 1)

            let lane = try await install.line(id).lane
            let back = try await Self.add(
                "a",
                to: install,
                pace: Pace(interval: .zero, concurrency: 16, recipientGap: .zero)
            )
            #expect(back.removedAt == nil && back.lane == lane && back.pace.isUnlimited)
        }
    }

    @Test func listsByWorkspaceAndCountsJobs() async throws {
        try await Self.withInstall { session, install in
            let line = try await Self.add("b", to: install)
            try await Self.add("a", to: install)
            try await Self.add("c", to: install, workspace: "other")
            try await Self.addJob(1, lane: line.lane, to: session)
            try await Self.addJob(2, lane: line.lane, state: "parked", to: session)
            try await Self.addJob(3, lane: line.lane, to: session)
            #expect(try await install.allLines().map(\.id.value) == ["a", "b", "c"])
            let ours = try await install.allLines(workspace: WorkspaceID("acme"))
            #expect(ours.map(\.id.value) == ["a", "b"])
            #expect(ours.map(\.unfinished) == [[:], ["accepted": 2, "parked": 1]])
            _ = try await install.removeLine(LineID("a"))
            #expect(try await install.allLines().map(\.id.value) == ["b", "c"])
            #expect(try await install.allLines(withRemoved: true).map(\.id.value) == ["a", "b", "c"])
        }
    }

    @Test func aLineWithUnfinishedJobsStays() async throws {
        try await Self.withInstall { session, install in
            let line = try await Self.add("a", to: install)
            try await Self.addJob(1, lane: line.lane, state: "parked", to: session)
            await #expect(throws: LaneError.unfinishedJobs(.line(line.id), count: 1)) {
                try await install.removeLine(line.id)
            }
            try await session.query("delete from trunkline.jobs")
            #expect(try await install.removeLine(line.id).removedAt != nil)
            await #expect(throws: LaneError.removed(.line(line.id))) { try await install.removeLine(line.id) }
            await #expect(throws: LaneError.removed(.line(line.id))) {
                try await install.holdLine(line.id, reason: "x", until: nil)
            }
            let unknown = try LineID("nobody")
            await #expect(throws: LaneError.unknown(.line(unknown))) { try await install.line(unknown) }
            await #expect(throws: LaneError.unknown(.line(unknown))) { try await install.resumeLine(unknown) }
        }
    }

    @Test func holdsAndResumes() async throws {
        try await Self.withInstall { session, install in
            let line = try await Self.add("a", to: install)
            let held = try await install.holdLine(line.id, reason: "number changed", until: nil)
            #expect(held.hold?.reason == "number changed" && held.hold?.until == nil && held.isHeld(at: held.readAt))

            let until = held.readAt + .seconds(3_600)
            let longer = try await install.holdLine(line.id, reason: "again", until: until)
            #expect(longer.hold?.until == until)
            #expect(longer.isHeld(at: until - .seconds(1)) && !longer.isHeld(at: until))

            await #expect(throws: LaneError.holdIsOver) {
                try await install.holdLine(line.id, reason: "late", until: held.readAt - .seconds(1))
            }
            await #expect(throws: LaneError.holdTooLong) {
                try await install.holdLine(line.id, reason: "long", until: held.readAt + .seconds(400 * 86_400))
            }
            for reason in ["", "  ", "two\nlines", String(repeating: "x", count: 201)] {
                await #expect(throws: LaneError.holdWithoutReason) {
                    try await install.holdLine(line.id, reason: reason, until: nil)
                }
            }
            #expect(try await install.line(line.id).hold?.reason == "again")
            #expect(try await install.resumeLine(line.id).hold == nil)
            #expect(try await install.resumeLine(line.id).hold == nil)
        }
    }

    @Test func everyChangeRaisesTheRevision() async throws {
        try await Self.withInstall { session, install in
            func revision() async throws -> Int64 {
                try await session.query("select revision from trunkline.lanes where name = 'line:a'").int8(0, 0) ?? 0
            }
            let line = try await Self.add("a", to: install)
            var last = try await revision()
            _ = try await install.holdLine(line.id, reason: "x", until: nil)
            for change in [
                LineChanges(pace: PaceChange(interval: .seconds(1))),
                LineChanges(baseURL: try EZWhatsAppCarrier().address("https://api.example/api/v2", mayBePrivate: true)),
                LineChanges(
                    token: try .sealed(Array("ezw_line_rotated_9999".utf8), of: EZWhatsAppCarrier(), try Self.key())
                ),
                LineChanges(dailyCap: .sends(10)), LineChanges(timeZone: "Europe/Madrid"),
            ] {
                _ = try await install.changeLine(line.id, change)
                let now = try await revision()
                #expect(now > last)
                last = now
            }
            let changed = try await install.line(line.id)
            #expect(changed.pace == Pace(interval: .seconds(1), concurrency: 1, recipientGap: .seconds(10)))
            #expect(changed.baseURL == "https://api.example/api/v2" && changed.tokenHint == "…9999")
            #expect(changed.hold?.reason == "x")
            #expect(try await Self.token(of: line.id, install, Self.key()) == "ezw_line_rotated_9999")
        }
    }

    @Test func theDailyCapHasATimeZoneThatTheDatabaseKnows() async throws {
        try await Self.withInstall { session, install in
            let plain = try await Self.add("a", to: install)
            #expect(plain.dailyCap == .unlimited && plain.timeZone == "UTC" && plain.capUsed == 0)
            let capped = try await install.changeLine(
                plain.id,
                LineChanges(dailyCap: .sends(500), timeZone: "Asia/Jerusalem")
            )
            #expect(capped.dailyCap == .sends(500) && capped.timeZone == "Asia/Jerusalem")
            // What is not named stays.
            let paced = try await install.changeLine(plain.id, LineChanges(pace: PaceChange(interval: .seconds(1))))
            #expect(paced.dailyCap == .sends(500) && paced.timeZone == "Asia/Jerusalem")
            try await session.query(
                "update trunkline.lane_state set sent_today = 7, sent_on = (now() at time zone 'Asia/Jerusalem')::date where lane = $1",
                [.int4(plain.lane)]
            )
            #expect(try await install.line(plain.id).capUsed == 7)
            // Yesterday's sends count no more.
            try await session.query("update trunkline.lane_state set sent_on = sent_on - 1")
            #expect(try await install.line(plain.id).capUsed == 0)
            #expect(try await install.changeLine(plain.id, LineChanges(dailyCap: .unlimited)).dailyCap == .unlimited)
            for zone in ["Asia/Nowhere", "", "IDT", "+02:00", "posix/Asia/Jerusalem"] {
                await #expect(throws: LaneError.unknownTimeZone, "\(zone)") {
                    try await install.changeLine(plain.id, LineChanges(timeZone: zone))
                }
            }
            for text in ["0", "-1", "1000001", "many", ""] {
                #expect(throws: Refusal.self, "\(text)") { try DailyCap(parsing: text) }
            }
            #expect(try DailyCap(parsing: "none") == .unlimited && DailyCap(parsing: "1000000") == .sends(1_000_000))
        }
    }

    @Test func unlimitedBringsItsOwnDefaultsUnlessTold() throws {
        let unlimited = try PaceChange(interval: .zero).applied(to: .standard)
        #expect(unlimited == Pace(interval: .zero, concurrency: 16, recipientGap: .zero))
        #expect(
            try PaceChange(interval: .zero, concurrency: 4, recipientGap: .seconds(1)).applied(to: .standard)
                == Pace(interval: .zero, concurrency: 4, recipientGap: .seconds(1))
        )
        #expect(try PaceChange(interval: .seconds(3)).applied(to: unlimited) == .standard)
        // A pace that stays of its kind leaves the rest alone.
        let own = Pace(interval: .seconds(3), concurrency: 2, recipientGap: .seconds(5))
        #expect(
            try PaceChange(interval: .seconds(1)).applied(to: own)
                == Pace(interval: .seconds(1), concurrency: 2, recipientGap: .seconds(5))
        )
        #expect(
            try PaceChange(recipientGap: .zero).applied(to: own)
                == Pace(interval: .seconds(3), concurrency: 2, recipientGap: .zero)
        )
        #expect(throws: Refusal.self) { try PaceChange(concurrency: 0).applied(to: .standard) }
        #expect(throws: Refusal.self) { try PaceChange(concurrency: 257).applied(to: .standard) }
    }
}
