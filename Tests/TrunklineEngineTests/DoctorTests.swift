import Foundation
import PostgresDriver
import RabbitDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// What a database server must be, judged from what it says of itself.
@Suite struct DatabaseServerTests {
    private static func server(
        version: Int = 150_000,
        recovering: Bool = false,
        standbys: [DatabaseServer.Standby] = [],
        _ settings: [String: String] = [:]
    ) -> DatabaseServer {
        let usual = [
            "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "",
            "default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
        ]
        return DatabaseServer(
            version: version,
            versionText: "\(version)",
            isInRecovery: recovering,
            standbys: standbys,
            settings: usual.merging(settings) { $1 }
        )
    }

    private static func standby(_ name: String, _ state: String? = "streaming", _ synchrony: String? = "async")
        -> DatabaseServer.Standby
    {
        DatabaseServer.Standby(name: name, state: state, synchrony: synchrony)
    }

    @Test func standbys() {
        let cases: [([DatabaseServer.Standby], Set<String>, DatabaseServer.Replication)] = [
            ([], [], .alone),
            ([Self.standby("a", "streaming", "sync")], [], .synchronous(["a"])),
            ([Self.standby("a", "streaming", "quorum"), Self.standby("b")], [], .synchronous(["a"])),
            ([Self.standby("a")], [], .asynchronous(["a"])),
            // What would be synchronous if another one went is not.
            ([Self.standby("a", "streaming", "potential")], [], .asynchronous(["a"])),
            ([Self.standby("a"), Self.standby("b")], ["a"], .asynchronous(["b"])),
            ([Self.standby("a")], ["a"], .readReplicas(["a"])),
            ([Self.standby("a")], ["A"], .asynchronous(["a"])),
            ([Self.standby("pg_basebackup", "backup"), Self.standby("pg_receivewal")], [], .alone),
            ([Self.standby("a", nil, nil)], [], .hidden),
            ([Self.standby("a", nil, nil)], ["a"], .readReplicas(["a"])),
            // It cannot be promoted while it catches up; once it streams it counts.
            ([Self.standby("a", "catchup")], [], .readReplicas(["a"])),
        ]
        for (standbys, replicas, expected) in cases {
            #expect(Self.server(standbys: standbys).replication(readReplicas: replicas) == expected)
        }
    }

    @Test func refusals() {
        func refusal(_ server: DatabaseServer) -> DatabaseRefusal? { server.refusal(readReplicas: []) }
        #expect(refusal(Self.server()) == nil)
        #expect(refusal(Self.server(version: 140_012)) == .tooOld("140012"))
        #expect(refusal(Self.server(["synchronous_commit": "off"])) == .commitsAreNotDurable)
        // Alone, a commit that is on this disk is all there is.
        #expect(refusal(Self.server(["synchronous_commit": "local"])) == nil)
        let synchronous = [Self.standby("a", "streaming", "sync")]
        #expect(refusal(Self.server(standbys: synchronous)) == nil)
        #expect(refusal(Self.server(standbys: synchronous, ["synchronous_commit": "local"])) == .commitsAreLocal(["a"]))
        #expect(refusal(Self.server(standbys: [Self.standby("a")])) == .asynchronousStandby(["a"]))
        #expect(refusal(Self.server(["default_transaction_isolation": "serializable"])) == .isolation("serializable"))
        #expect(refusal(Self.server(["default_transaction_read_only": "on"])) == .readOnly)
        for refusal: DatabaseRefusal in [
            .tooOld("14"), .readOnly, .isolation("serializable"), .commitsAreNotDurable, .commitsAreLocal(["a"]),
            .asynchronousStandby(["a", "b"]),
        ] {
            #expect(refusal.isRefusal && !refusal.description.isEmpty)
        }
    }

    @Test func warnings() {
        #expect(Self.server().warnings(readReplicas: []).isEmpty)
        #expect(Self.server(["fsync": "off", "full_page_writes": "off"]).warnings(readReplicas: []).count == 2)
        #expect(Self.server(standbys: [Self.standby("a", nil, nil)]).warnings(readReplicas: []).count == 1)
        let waits = Self.server(["synchronous_standby_names": "a"])
        #expect(waits.waitsForAbsentStandby && waits.warnings(readReplicas: []).count == 1)
        let streams = Self.server(
            standbys: [Self.standby("a", "streaming", "sync")],
            ["synchronous_standby_names": "a"]
        )
        #expect(!streams.waitsForAbsentStandby)
    }

    @Test func aLivingServerSaysAllOfIt() async throws {
        try await TestServers.withSession { session in
            let server = try await DatabaseServer.read(session)
            #expect(server.version >= DatabaseServer.oldestVersion && !server.isInRecovery)
            #expect(Set(server.settings.keys) == Set(DatabaseServer.names))
            #expect(server.refusal(readReplicas: []) == nil)
        }
    }
}

@Suite struct QueueWatchTests {
    @Test func silenceIsAnsweredStepByStep() {
        var watch = QueueWatch()
        let steps = (1...7).map { _ in
            let step = watch.looked(at: "q", messages: 3)
            if step == .subscribe { watch.asked("q", isAlone: true) }
            return step
        }
        #expect(steps == [nil, .subscribe, nil, .reconnect, .subscribe, .end, nil])
        watch.heard(from: "q")
        // An empty queue is no silent one, and each counts for itself.
        let looks = [("q", 3), ("q", 0), ("q", 3), ("q", 9), ("other", 9)]
        #expect(
            looks.map { watch.looked(at: $0.0, messages: $0.1) } == [nil, nil, nil, .subscribe, nil]
        )
    }

    /// Whoever is not the active consumer gets nothing and is well: it neither reconnects nor ends.
    @Test func whereSomebodyElseConsumesNothingIsEscalated() {
        var watch = QueueWatch()
        // It falls: somebody is at work.
        let falling = (1...50).reversed().compactMap { watch.looked(at: "q", messages: $0) }
        #expect(falling.isEmpty)
        watch.heard(from: "q")
        let steps = (1...30).map { _ in
            let step = watch.looked(at: "q", messages: 5)
            if step == .subscribe { watch.asked("q", isAlone: false) }
            return step
        }
        #expect(steps.enumerated().filter { $0.element != nil }.map(\.offset) == [1, 13, 25])
        #expect(steps.allSatisfy { $0 == nil || $0 == .subscribe })
    }

    @Test func aLoopHangsWhenItsTurnsStandStillForTheLimit() {
        var count = LoopWatchdog.Count(limit: 3)
        #expect(
            [0, 0, 0, 1, 1, 2, 2, 2, 2].map { count.tick(turns: $0) } == [
                false, false, false, false, false, false, false, false, true,
            ]
        )
    }

    @Test func anAbsenceIsSaidOncePerState() {
        var absence = Absence()
        func error(_ state: String?) -> PostgresError {
            PostgresError(code: .cannotConnect, sqlState: state, message: "")
        }
        #expect(
            [nil, nil, "53300", "53300", nil].map { absence.began(error($0)) } == [true, false, true, false, true]
        )
        let ends = [absence.ended(), absence.ended()]
        #expect(ends == [true, false])
        let again = absence.began(error(nil))
        #expect(again)
    }
}

/// The whole look, against real servers.
@Suite struct DoctorTests {
    private static let key = try! MasterKey(base64: Data((0..<32).map { UInt8($0) }).base64EncodedString())

    private func examine(_ database: String, _ broker: String?) async -> [String: Doctor.Finding] {
        let findings = Mutex<[Doctor.Finding]>([])
        await Doctor.examine(
            .init(databaseURL: database, amqpURL: broker, masterKey: Self.key, carriers: .standard),
            now: { Timestamp(microseconds: Moment.wall) },
            { finding in findings.withLock { $0.append(finding) } }
        )
        let all = findings.withLock { $0 }
        // Whoever is told of trouble is told what to do.
        #expect(all.allSatisfy { ($0.verdict == .ok) == ($0.advice == nil) })
        #expect(Set(all.map(\.check)).count == all.count)
        return Dictionary(uniqueKeysWithValues: all.map { ($0.check, $0) })
    }

    @Test func aSoundInstallIsWellExceptForWhatItLacks() async throws {
        try await TestServers.withDatabase { database in
            try await TestServers.withVirtualHost { broker in
                try await PostgresSession.withSession(url: database, applicationName: "tests") {
                    _ = try await Migrations.migrate($0, shards: 4)
                }
                try await BrokerSession.withSession(url: broker, connectionName: "tests") {
                    _ = try await $0.apply(shards: 4)
                }
                let findings = await examine(database, broker)
                #expect(findings.values.filter { $0.verdict == .failed }.isEmpty)
                #expect(
                    findings.values.filter { $0.verdict == .warning }.map(\.check).sorted() == ["lines", "workers"]
                )
                #expect(findings["schema"]?.verdict == .ok && findings["queues"]?.verdict == .ok)
                #expect(findings["clock"]?.verdict == .ok && findings["broker alarms"]?.verdict == .ok)
            }
        }
    }

    @Test func whatIsWrongIsNamed() async throws {
        try await TestServers.withDatabase { database in
            try await TestServers.withVirtualHost { broker in
                let empty = await examine(database, nil)
                #expect(empty["schema"]?.verdict == .failed && empty["broker"]?.verdict == .warning)

                try await PostgresSession.withSession(url: database, applicationName: "tests") {
                    _ = try await Migrations.migrate($0, shards: 4)
                }
                let missing = await examine(database, broker)
                #expect(missing["queues"]?.verdict == .failed)
                #expect(missing["queues"]?.advice?.contains("topology apply") == true)

                // Another number of shards on the broker, a missing row, one of the settings.
                try await BrokerSession.withSession(url: broker, connectionName: "tests") {
                    _ = try await $0.apply(shards: 6)
                }
                try await PostgresSession.withSession(url: database, applicationName: "tests") { session in
                    try await session.query("delete from trunkline.shards where shard = 2")
                    let name = try #require(try await session.query("select current_database()::text").text(0, 0))
                    try await session.script(
                        "alter database \(name) set synchronous_commit = off; alter database \(name) set default_transaction_isolation = 'serializable'"
                    )
                }
                let findings = await examine(database, broker)
                for check in ["shards of the broker", "shards", "durability", "database role"] {
                    #expect(findings[check]?.verdict == .failed, "\(check)")
                }
            }
        }
    }

    @Test func aLowLimitOfOpenFilesIsNamed() {
        func finding(_ limit: Int) -> Doctor.Finding { Doctor.openFiles(DescriptorBudget(limit: limit)) }
        #expect(finding(.max).verdict == .ok && finding(2_112).verdict == .ok)
        #expect(finding(2_111).verdict == .warning && finding(256).words.contains("96 calls"))
        #expect(finding(64).verdict == .failed && finding(64).advice?.contains("2112") == true)
    }

    @Test func serversThatAreAwayAreNamed() async throws {
        let findings = await examine(
            "postgresql://x@127.0.0.1:\(refusingPort)/x",
            "amqp://x@127.0.0.1:\(refusingPort)/x"
        )
        #expect(findings["database"]?.verdict == .failed && findings["broker"]?.verdict == .failed)
        let unreadable = await examine("postgresql://x@127.0.0.1:none/x", nil)
        #expect(unreadable["database"]?.advice == "correct TRUNKLINE_DATABASE_URL")
    }

    /// Of every kind a line can be in trouble.
    @Test func eachLineIsAskedAndNamed() async throws {
        try await AdminDatabase.with { database in
            for (id, variable) in [("acme-2", "NOT_THERE"), ("acme-3", "PATH"), ("other-1", "HOME")] {
                if id == "acme-3" { try await database.addLine(id, workspace: "acme") }
                let line = try LineID(id)
                let base = try EZWhatsAppCarrier().address("http://127.0.0.1:1", mayBePrivate: true)
                let reference = LaneSecret.reference(try SecretReference("env:" + variable), hint: "", Self.key)
                _ = try await database.install.changeLine(line, LineChanges(baseURL: base, token: reference))
            }
            _ = try await database.install.holdLine(LineID("other-1"), reason: "repair", until: nil)
            let findings = await examine(database.url, nil)
            // Nothing that was sealed, no such variable, no token in it.
            for line in ["acme-1", "acme-2", "acme-3"] { #expect(findings["line \(line)"]?.verdict == .failed) }
            #expect(findings["line acme-1"]?.advice?.contains("--token-file") == true)
            #expect(findings["line other-1"] != nil)
        }
    }
}
