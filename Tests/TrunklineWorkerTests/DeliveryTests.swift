import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Events to a client's system: real broker, database, HTTP and worker processes, and a receiver that verifies by itself.
@Suite struct DeliveryTests {
    private func addDestination(_ id: String, hook: String, to install: TestInstall, secret: String? = nil) async throws
    {
        let (url, usual) = install.simulator.hook(hook)
        try await install.trunkline(
            [
                "destination", "add", id, "--kind", "webhook", "--workspace", "acme", "--url", url,
                "--allow-private-network", "--secret-env", "TEST_SECRET",
            ],
            environment: ["TEST_SECRET": secret ?? usual]
        ).requireSuccess()
    }

    private func job(_ number: Int, to destination: String, ordering: String? = nil) throws -> DeliverJob {
        try DeliverJob(
            destination: DestinationID(destination),
            key: IdempotencyKey("evt.\(number):\(destination)"),
            type: "message.received",
            happenedAt: Timestamp(rfc3339: "2026-11-01T12:26:40Z")!,
            data: JSONValue(parsing: Array(#"{"number":\#(number)}"#.utf8)),
            orderingKey: ordering
        )
    }

    private func enqueue(_ jobs: [DeliverJob], _ install: TestInstall) async throws {
        let lines = jobs.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
        try await install.trunkline(["enqueue", "-"], input: lines).requireSuccess()
    }

    private func counts(_ hook: String, _ install: TestInstall) throws -> SimulatorReport.HookCounts {
        try #require(install.simulator.report().hooks[hook], "something came to \(hook)")
    }

    @Test func everyEventIsDeliveredOnceAndInItsOrder() async throws {
        try await TestInstall.with { install in
            try await addDestination("crm", hook: "crm", to: install)
            try await addDestination("sheet", hook: "sheet", to: install)
            _ = try install.startWorker()
            let jobs = try (1...40).map { try job($0, to: $0 % 2 == 0 ? "crm" : "sheet", ordering: "one") }
            // The same keys twice are the same deliveries.
            try await enqueue(jobs, install)
            try await enqueue(jobs, install)
            try await install.waitUntilSent(40)
            for (hook, remainder) in [("crm", 0), ("sheet", 1)] {
                let counts = try counts(hook, install)
                #expect(counts.deliveries == 20 && counts.repeats == 0 && counts.refused == 0 && counts.conflicts == 0)
                let ids = try install.received(hook)
                #expect(ids == (1...40).filter { $0 % 2 == remainder }.map { "evt~\($0):\(hook)" })
            }
            try await install.trunkline(["check"]).requireSuccess()
        }
    }

    /// One event that is no job: the receiver has verified it, and its refusals come in words for a person.
    @Test func aDestinationIsTriedByHand() async throws {
        try await TestInstall.with { install in
            try await addDestination("crm", hook: "crm", to: install)
            try await install.trunkline(["destination", "hold", "crm", "--reason", "they move"]).requireSuccess()
            let taken = try await install.trunkline(["destination", "test", "crm"]).requireSuccess()
            #expect(taken.output.contains("destination crm took a test event (status 200)"), "\(taken.output)")
            let counts = try counts("crm", install)
            #expect(counts.deliveries == 1 && counts.refused == 0)
            #expect(try await install.number("select count(*) from trunkline.ledger") == 0)

            let another = "whsec_" + Data(repeating: 1, count: 32).base64EncodedString()
            try await addDestination("wrong", hook: "wrong", to: install, secret: another)
            let refused = try await install.trunkline(["destination", "test", "wrong", "--json"])
            #expect(refused.status == 1 && refused.output.contains(#""taken" : false"#), "\(refused.output)")
            #expect(refused.output.contains("has it the same secret?") && !refused.output.contains(another))
        }
    }

    /// The receiver got it, and its answer was lost: the same id with the same bytes comes again, and it knows it.
    @Test func aLostAnswerIsAskedForAgainWithTheSameBytes() async throws {
        try await TestInstall.with { install in
            try await addDestination("crm", hook: "crm", to: install)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"acceptThenDrop","hook":"crm","count":3}"#)
            _ = try install.startWorker()
            try await enqueue(try (1...5).map { try job($0, to: "crm") }, install)
            try await install.waitUntilSent(5)
            let counts = try counts("crm", install)
            #expect(counts.deliveries == 5 && counts.repeats >= 1 && counts.conflicts == 0)
            #expect(counts.repeatsAfterAnswer == 0)
        }
    }

    /// One receiver that is gone holds up nobody else, no line and no destination.
    @Test func aReceiverThatIsGoneWaitsForAPersonAndHoldsUpNobody() async throws {
        try await TestInstall.with { install in
            try await addDestination("gone", hook: "gone", to: install)
            try await addDestination("crm", hook: "crm", to: install)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"status","status":410,"hook":"gone"}"#)
            _ = try install.startWorker()
            try await enqueue(try (1...5).map { try job($0, to: "gone") }, install)
            try await install.wait(for: "the gate closes") {
                try await install.number(
                    "select count(*) from trunkline.lane_state s join trunkline.lanes n on n.number = s.lane "
                        + "where n.name = 'destination:gone' and s.gate = 'held_human'"
                ) == 1
            }
            try await enqueue(try (1...5).map { try job($0, to: "crm") }, install)
            try await install.publish(try TestInstall.jobs(20))
            try await install.wait(for: "the others are sent") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 25
            }
            #expect(try counts("crm", install).deliveries == 5)
            #expect(try counts("gone", install).deliveries == 0)
            #expect(try await install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 5)
            // A person has mended it.
            try install.simulator.control("DELETE", "/__sim/faults")
            try await install.trunkline(["destination", "resume", "gone"]).requireSuccess()
            try await install.waitUntilSent(30)
            #expect(try counts("gone", install).deliveries == 5)
        }
    }

    /// A webhook URL may not lead into our own network unless its operator said so.
    @Test func aURLThatLeadsIntoAPrivateNetworkIsNotCalled() async throws {
        try await TestInstall.with { install in
            let port = install.simulator.port
            try await install.trunkline(
                [
                    "destination", "add", "sly", "--kind", "webhook", "--workspace", "acme", "--url",
                    "https://localhost:\(port)/hooks/sly", "--secret-env", "TEST_SECRET",
                ],
                environment: ["TEST_SECRET": install.simulator.hook("sly").secret]
            ).requireSuccess()
            _ = try install.startWorker()
            try await enqueue([try job(1, to: "sly")], install)
            try await install.wait(for: "the lane is held for a person") {
                try await install.number(
                    "select count(*) from trunkline.lane_state s join trunkline.lanes n on n.number = s.lane "
                        + "where n.name = 'destination:sly' and s.gate = 'held_human'"
                ) == 1
            }
            #expect(install.simulator.report().hooks["sly"] == nil)
            #expect(try await install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 1)
        }
    }
}

extension TestInstall {
    /// The ids that came to a hook, in their order; of the first hundred that came to any.
    fileprivate func received(_ hook: String) throws -> [String] {
        struct List: Decodable {
            struct Delivery: Decodable {
                let hook: String
                let id: String
            }
            let received: [Delivery]
        }
        let list = try simulator.control("GET", "/__sim/received")
        return try JSONDecoder().decode(List.self, from: Data(list.utf8)).received.filter { $0.hook == hook }.map(\.id)
    }
}
