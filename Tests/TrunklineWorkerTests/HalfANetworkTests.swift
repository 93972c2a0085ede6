import Foundation
import TestKit
import Testing
import TrunklineChaos
import TrunklineCore
import TrunklineTesting

/// Every server × every way in which a wire can be half dead × one worker of three, or all. What must hold in each cell, and
/// what may wait by design, is the table in `docs/delivery-guarantees.md`.
@Suite struct HalfANetworkTests {
    /// The rule. Of a cut at one worker: whatever that worker has not begun is sent within this.
    private static let flowsWithin: Duration = .seconds(20)
    /// Of a wire that is whole again: whatever was not begun before is sent within this.
    private static let flowsAgainWithin: Duration = .seconds(15)
    /// How long a cut at all workers lasts.
    private static let cutOfAll: Duration = .seconds(12)
    /// What was in the air of a worker that was cut off: its time-out, or its lease and the next owner's patience (30 s and
    /// 10 s), then the wait before the repeated call.
    private static let airWithin: Duration = .seconds(150)

    enum Cut: String, CaseIterable, Sendable {
        /// Sockets are open and nothing flows.
        case frozen
        case refused
        /// An answer comes two seconds later.
        case slow
        /// What the worker says does not arrive.
        case toServer
        /// What the server says does not arrive.
        case toWorker

        func begin(at proxy: FaultProxy) async {
            switch self {
            case .frozen: await proxy.block(.both)
            case .refused: await proxy.refuse()
            case .slow: await proxy.slow(by: .seconds(1))
            case .toServer: await proxy.block(.toServer)
            case .toWorker: await proxy.block(.toClient)
            }
        }
    }

    struct Cell: Sendable, CustomTestStringConvertible {
        let server: WorkerServer
        let cut: Cut
        let isOne: Bool
        var testDescription: String { "\(server.rawValue) \(cut.rawValue), \(isOne ? "one of three" : "all")" }
    }

    static let cells: [Cell] = WorkerServer.allCases.flatMap { server in
        Cut.allCases.flatMap { cut in [true, false].map { Cell(server: server, cut: cut, isOne: $0) } }
    }

    @Test(arguments: cells)
    func nothingIsLostOrDoubledAndWhatCanFlowFlows(_ cell: Cell) async throws {
        try await WorkerFleet.with(workers: 3, journal: true) { fleet in
            let run = Run(fleet, cell)
            try await run.give("before")
            try await fleet.install.wait(for: "the jobs before the cut") { try await run.left("before") == 0 }
            try await run.cutAndHeal()
            try await fleet.install.waitUntilSent(run.given, within: Self.airWithin)
            #expect(fleet.allRun, "a worker ended by itself")
            // Bytes that the wire held back come when it is whole again, to an API that has answered another call of their key.
            try await fleet.install.requireProof(sent: run.given, mayLoseAnswers: cell.server == .api)
            try run.requireNoCallAfterAnAnswer()
        }
    }

    private final class Run {
        let fleet: WorkerFleet
        let cell: Cell
        private(set) var given = 0
        private var cutAt: Int64 = 0
        private var healedAt: Int64 = 0

        init(_ fleet: WorkerFleet, _ cell: Cell) {
            self.fleet = fleet
            self.cell = cell
        }

        private var proxies: [FaultProxy] {
            (cell.isOne ? Array(fleet.ways.prefix(1)) : fleet.ways).map { $0[cell.server] }
        }

        private var install: TestInstall { fleet.install }

        /// The same number of jobs by each way in, on every line, each for a person of its own: nobody waits for another's.
        func give(_ batch: String) async throws {
            let lines = (1...6).map { "line-0\($0)" }
            func jobs(_ way: String) throws -> [SendJob] {
                try lines.enumerated().map { number, line in
                    try TestInstall.job(
                        "\(batch).\(way).\(number)",
                        line: line,
                        to: "+97250" + String(1_000_000 + given + number)
                    )
                }
            }
            try await install.publish(try jobs("shard"))
            given += lines.count
            try await install.publish(try jobs("intake"), routingKey: Route.send)
            given += lines.count
            let rows = try jobs("row").map { String(decoding: $0.encode(), as: UTF8.self) }
            given += lines.count
            try await install.trunkline(["enqueue", "-"], input: rows.joined(separator: "\n")).requireSuccess()
        }

        /// Jobs of a batch that are not sent. `orBegun`: what the worker that is cut off has begun counts as done.
        func left(_ batch: String, orBegunBy boot: String? = nil) async throws -> Int64 {
            let begun = boot.map {
                " + (select count(*) from trunkline.jobs where key like '\(batch).%' and attempt > 0 and claimed_by = '\($0)')"
            }
            return 18
                - (try await install.number(
                    "select (select count(*) from trunkline.finished where state = 'sent' and key like '\(batch).%')"
                        + (begun ?? "")
                ))
        }

        func cutAndHeal() async throws {
            let clock = QuietClock.shared
            let boot = try await fleet.boot(of: fleet.workers[0])
            cutAt = Moment.now
            let cut = ContinuousClock.now
            for proxy in proxies { await cell.cut.begin(at: proxy) }
            let began = clock.now
            try await give("during")
            if cell.isOne || cell.cut == .slow {
                try await clock.wait(
                    for: "what the fleet can send, during the cut",
                    within: HalfANetworkTests.flowsWithin,
                    since: began,
                    install
                ) { try await left("during", orBegunBy: cell.isOne ? boot : nil) == 0 }
                if cell.cut != .slow {
                    try await clock.wait(
                        for: "the shards of the one that is cut off",
                        within: HalfANetworkTests.flowsWithin,
                        since: began,
                        install
                    ) { try await fleet.owned(by: fleet.workers[0]) == 0 }
                }
                // By now nothing is begun by the one that is cut off.
                try await give("later")
                try await clock.wait(
                    for: "what came later in the cut",
                    within: HalfANetworkTests.flowsWithin,
                    install
                ) { try await left("later") == 0 }
            } else {
                if cell.server == .broker {
                    try await clock.wait(
                        for: "the rows, without a broker",
                        within: HalfANetworkTests.flowsWithin,
                        since: began,
                        install
                    ) { try await fleet.sent("during.row") == 6 }
                }
                // The length of the cut is what is tested, not a wait for something.
                try await Task.sleep(until: cut + HalfANetworkTests.cutOfAll, clock: .continuous)
            }
            for proxy in proxies { proxy.heal() }
            healedAt = Moment.now
            let healed = clock.now
            try await give("after")
            try await clock.wait(
                for: "everything, on whole wires",
                within: HalfANetworkTests.flowsAgainWithin,
                since: healed,
                install
            ) { try await left("after") == 0 }
        }

        private struct Record: Decodable {
            let kind: String
            let seq: Int64
            let mono: Int64
            let req: Int64?
            let key: String?
            let status: Int?
        }

        /// By the simulator's journal: a call whose answer arrived is not made again. An answer of the time in which the wire to
        /// the API was cut may not have arrived; an outcome that could not be recorded is asked again by the next owner, after
        /// lease and patience.
        func requireNoCallAfterAnAnswer() throws {
            let text = try String(contentsOf: install.folder.appendingPathComponent("journal.ndjson"), encoding: .utf8)
            let decoder = JSONDecoder()
            var requests: [Int64: (key: String, at: Int64)] = [:]
            var answered: [String: Int64] = [:]
            for line in text.split(separator: "\n") {
                let record = try decoder.decode(Record.self, from: Data(line.utf8))
                switch record.kind {
                case "request":
                    guard let key = record.key else { continue }
                    requests[record.seq] = (key, record.mono)
                    guard let before = answered[key] else { continue }
                    let isAfterLease = cell.server == .database && record.mono - before > 38_000_000_000
                    #expect(isAfterLease, "\(key) was called again after its answer")
                case "answer":
                    guard let request = record.req.flatMap({ requests[$0] }), record.status.map({ $0 < 300 }) ?? true
                    else { continue }
                    let mayBeLost =
                        cell.server == .api && (cutAt - 1_500_000_000...healedAt + 1_500_000_000).contains(record.mono)
                    if !mayBeLost { answered[request.key] = record.mono }
                default: break
                }
            }
            #expect(!requests.isEmpty)
        }
    }
}
