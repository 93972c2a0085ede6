internal import Foundation
internal import Glibc
internal import TestKit

/// How fast one gateway accepts, with wrk on the same machine: notices alone and in batches, a shop's signed webhooks, and what
/// it does with more than it can take. No worker runs: what is measured is how fast callers are answered that their work is committed.
package enum GatewayBench {
    package struct Figures: Sendable {
        /// Answered with a 2xx, a second.
        package let perSecond: Double
        /// Milliseconds.
        package let median: Double
        package let worstOfHundred: Double
        /// Answers that are no 2xx.
        package let refused: Int
        /// Requests without an answer.
        package let broken: Int
    }

    package struct Overload: Sendable {
        package let figures: Figures
        /// Kilobytes of memory that the gateway had at most, before and during it.
        package let memoryBefore: Int
        package let memoryDuring: Int
    }

    package struct Result: Sendable {
        package var singles: [Figures] = []
        /// Of requests, each of ``batchSize`` notices.
        package var batches: [Figures] = []
        package var webhooks: [Figures] = []
        package var overload: Overload?
    }

    package static let batchSize = 1_000
    /// Far too many callers.
    private static let crowd = 4_000
    /// Different orders of the shop; each webhook has an id of its own.
    private static let orders = 20_000

    /// - Parameters:
    ///   - rounds: how often each is measured.
    ///   - seconds: of each measurement.
    package static func run(
        _ options: ChaosOptions,
        rounds: Int,
        seconds: Int,
        say: @escaping @Sendable (String) -> Void
    ) async throws -> Result {
        var options = options
        options.hasProxies = false
        options.workers = 0
        options.gateways = 1
        options.destinations = 0
        let stage = try await Stage.setUp(options, say: say)
        do {
            let bench = GatewayBench.Round(stage: stage, port: try await listen(stage), shop: try await addShop(stage))
            _ = try await bench.measure(.single, "warm", seconds: 3)
            var result = Result()
            for round in 0..<rounds {
                let single = try await bench.measure(.single, "single\(round)", seconds: seconds)
                let batch = try await bench.measure(.batch, "batch\(round)", seconds: seconds)
                let webhook = try await bench.measure(.webhook, "webhook\(round)", seconds: seconds)
                result.singles.append(single)
                result.batches.append(batch)
                result.webhooks.append(webhook)
                say(
                    "round \(round + 1): \(Int(single.perSecond)) notices/s alone, "
                        + "\(Int(batch.perSecond * Double(batchSize))) in batches; \(Int(webhook.perSecond)) webhooks/s"
                )
            }
            let before = bench.memory()
            let overload = try await bench.measure(.single, "crowd", of: crowd, seconds: seconds)
            result.overload = Overload(figures: overload, memoryBefore: before, memoryDuring: bench.memory())
            await stage.tearDown()
            return result
        } catch {
            await stage.tearDown()
            throw error
        }
    }

    /// Starts the gateway, and waits until it can accept.
    private static func listen(_ stage: Stage) async throws -> UInt16 {
        try stage.gateways[0].start()
        var port: UInt16?
        try await eventually("the gateway to be ready", within: .seconds(30)) {
            port = stage.gateways[0].port
            guard let port else { return false }
            return (try? await SmallRequest.send("GET", "/readyz", to: port)) != nil
        }
        return port ?? 0
    }

    /// A source, and a file of what its sender signs. Returns its path.
    private static func addShop(_ stage: Stage) async throws -> String {
        struct Added: Decodable { let intakePath: String }
        let secret = ["BENCH_SECRET": UUID().uuidString]
        let added = try await stage.trunkline(
            ["source", "add", "shop", "--kind", "shopify", "--workspace", Stage.workspace, "--json"]
                + ["--secret-env", "BENCH_SECRET"],
            environment: secret
        ).requireSuccess("trunkline source add")
        let webhooks = try await Command.run(
            "/usr/bin/python3",
            [stage.options.checkout.root + "/Sources/TrunklineChaos/Bench/webhooks.py", "\(orders)"],
            environment: Stage.cleanEnvironment.merging(secret) { $1 }
        ).requireSuccess("webhooks.py")
        try webhooks.output.write(toFile: file(stage), atomically: true, encoding: .utf8)
        return try JSONDecoder().decode(Added.self, from: Data(added.output.utf8)).intakePath
    }

    private static func file(_ stage: Stage) -> String { stage.options.folder + "/webhooks.tsv" }

    private enum Kind: String {
        case single
        case batch
        case webhook

        /// Connections on which callers wait for each answer: as many as keep one gateway busy.
        var callers: Int {
            switch self {
            case .single: 112
            case .batch: 8
            case .webhook: 64
            }
        }
    }

    private struct Round {
        let stage: Stage
        let port: UInt16
        /// Where the shop posts to.
        let shop: String

        /// What `gateway.lua` says at the end.
        private struct Said: Decodable {
            let requests: Int
            let microseconds: Int
            let p50: Int
            let p99: Int
            let refused: Int
            let broken: Int
        }

        func measure(_ kind: Kind, _ name: String, of callers: Int? = nil, seconds: Int) async throws -> Figures {
            let connections = callers ?? kind.callers
            var environment = Stage.cleanEnvironment
            environment["BENCH_KIND"] = kind.rawValue
            environment["BENCH_RUN"] = name
            environment["BENCH_SIZE"] = "\(batchSize)"
            environment["BENCH_LINES"] = "\(stage.plan.lines.count)"
            environment["BENCH_KEY"] = stage.apiKey
            environment["BENCH_PATH"] = shop
            environment["BENCH_FILE"] = file(stage)
            let script = stage.options.checkout.root + "/Sources/TrunklineChaos/Bench/gateway.lua"
            let outcome = try await Command.run(
                "/usr/bin/wrk",
                [
                    "--threads", "1", "--connections", "\(connections)", "--duration", "\(seconds)s", "--timeout",
                    "10s",
                    "--script", script, "http://127.0.0.1:\(port)/",
                ],
                environment: environment,
                limit: .seconds(seconds + 60)
            ).requireSuccess("wrk")
            guard let line = outcome.output.split(separator: "\n").last(where: { $0.hasPrefix("{") }),
                let said = try? JSONDecoder().decode(Said.self, from: Data(line.utf8)), said.microseconds > 0
            else { throw ChaosError("wrk did not say what it measured: \(outcome.output.prefix(300))") }
            let taken = said.requests - said.refused
            try await requireRows(kind, of: name, taken * (kind == .batch ? batchSize : 1))
            return Figures(
                perSecond: Double(taken) / (Double(said.microseconds) / 1e6),
                median: Double(said.p50) / 1e3,
                worstOfHundred: Double(said.p99) / 1e3,
                refused: said.refused,
                broken: said.broken
            )
        }

        /// What was answered well is there.
        private func requireRows(_ kind: Kind, of name: String, _ least: Int) async throws {
            let rows = try await stage.count(
                kind == .webhook
                    ? "select count(*) from trunkline.inbox where event_key like '%|\(name)-%'"
                    : "select count(*) from trunkline.jobs where key like '\(name):%'"
            )
            guard rows >= least else {
                throw ChaosError("\(least) of \(name) were answered 2xx, and \(rows) are there")
            }
        }

        /// Kilobytes that the gateway had at most so far.
        func memory() -> Int {
            guard let pid = stage.gateways[0].pid else { return 0 }
            let line = text(of: "/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
        }
    }
}
