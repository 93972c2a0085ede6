internal import Foundation
internal import PostgresDriver
internal import TestKit

/// What receivers that do not work cost everybody else: the deliveries and sends a second of all the others while two receivers
/// are well, and while one of them refuses connections and the other answers after ten seconds. Five pairs, interleaved, so that
/// a machine that gets slower hits both alike. Both receivers have work in each measurement.
package enum DestinationsBench {
    /// Pairs; their median counts.
    package static let pairs = 5
    /// How much may be lost.
    package static let tolerance = 0.1
    /// How many deliveries wait for each of the two receivers.
    private static let backlog = 200
    /// No server listens there.
    private static let closedPort: UInt16 = 1
    private static let slowness = Duration.seconds(10)

    /// Of everybody but the two receivers, from the first claim to the last end.
    package struct Figures: Codable, Sendable {
        /// Deliveries a second.
        package var deliveries: Double
        /// Sends a second.
        package var sends: Double
    }

    package struct Result: Codable, Sendable {
        /// One for each pair.
        package var healthy: [Figures] = []
        package var sick: [Figures] = []

        /// The median of the pairs' ratios, sick to healthy.
        package func ratio(_ figure: (Figures) -> Double) -> Double {
            let ratios = zip(sick, healthy).map { figure($0) / figure($1) }.sorted()
            return ratios.isEmpty ? 0 : ratios[ratios.count / 2]
        }

        package var isUnchanged: Bool {
            min(ratio(\.deliveries), ratio(\.sends)) >= 1 - DestinationsBench.tolerance
        }
    }

    /// - Parameters:
    ///   - deliveries: to the healthy destinations in each measurement.
    ///   - sends: on the lines in each measurement.
    package static func run(
        _ options: ChaosOptions,
        deliveries: Int,
        sends: Int,
        say: @escaping @Sendable (String) -> Void
    ) async throws -> Result {
        var options = options
        options.hasProxies = false
        options.gateways = 0
        options.hasPaces = false
        let stage = try await Stage.setUp(options, say: say)
        do {
            try await stage.setLinesFree()
            for worker in stage.workers { try worker.start() }
            let measurement = Measurement(stage, deliveries: deliveries, sends: sends)
            let result = try await measurement.result(say)
            await stage.tearDown()
            return result
        } catch {
            await stage.tearDown()
            throw error
        }
    }

    private struct Measurement {
        private let stage: Stage
        private let deliveries: Int
        private let sends: Int
        private let others: [LoadPlan.Lane]
        private let dead: LoadPlan.Lane
        private let slow: LoadPlan.Lane

        init(_ stage: Stage, deliveries: Int, sends: Int) {
            self.stage = stage
            self.deliveries = deliveries
            self.sends = sends
            var destinations = stage.plan.destinations
            precondition(destinations.count > 2, "two receivers are made sick, beside others")
            dead = destinations.removeLast()
            slow = destinations.removeLast()
            others = destinations
        }

        func result(_ say: (String) -> Void) async throws -> Result {
            _ = try await measure("warm")
            var result = Result()
            for pair in 0..<pairs {
                // A B, B A, A B, …
                for isSick in pair % 2 == 0 ? [false, true] : [true, false] {
                    if isSick { try await makeSick() }
                    let figures = try await measure("\(isSick ? "sick" : "well")\(pair)")
                    if isSick {
                        try await heal()
                        result.sick.append(figures)
                    } else {
                        result.healthy.append(figures)
                    }
                    try await stage.wait(for: "the rest") {
                        try await stage.count("select count(*) from trunkline.jobs") == 0
                    }
                    say(
                        "pair \(pair + 1), two receivers \(isSick ? "sick" : "well"): \(Int(figures.deliveries)) deliveries/s, "
                            + "\(Int(figures.sends)) sends/s"
                    )
                }
            }
            return result
        }

        /// Publishes everything, the work of the two receivers first, and waits until that of the others is done.
        private func measure(_ name: String) async throws -> Figures {
            try await stage.publish(2 * backlog, name + ".sick", to: [dead, slow])
            async let events: Void = stage.publish(deliveries, name + ".events", to: others)
            async let notices: Void = stage.publish(sends, name + ".notices", to: stage.plan.lines)
            _ = try await (events, notices)
            return Figures(
                deliveries: try await rate(name + ".events", deliveries),
                sends: try await rate(name + ".notices", sends)
            )
        }

        private func rate(_ name: String, _ jobs: Int) async throws -> Double {
            let mine = "from trunkline.finished where state = 'sent' and key like '\(name):%'"
            try await stage.wait(for: name) { try await stage.count("select count(*) \(mine)") == Int64(jobs) }
            let span = try await stage.count(
                "select (extract(epoch from max(ended_at) - min(claimed_at)) * 1000000)::bigint \(mine)"
            )
            return Double(jobs) / (Double(span) / 1e6)
        }

        private func makeSick() async throws {
            let milliseconds = slowness.components.seconds * 1_000
            try await stage.simulator.control(
                "POST",
                "/faults",
                #"{"kind":"latency","ms":\#(milliseconds),"hook":"\#(slow.id)"}"#
            )
            try await move(dead, toPort: closedPort)
        }

        private func heal() async throws {
            try await stage.simulator.control("DELETE", "/faults")
            try await move(dead, toPort: stage.simulator.port)
            for lane in [dead, slow] {
                try await stage.trunkline(["destination", "resume", lane.id])
                    .requireSuccess("trunkline destination resume")
            }
        }

        private func move(_ destination: LoadPlan.Lane, toPort port: UInt16) async throws {
            try await stage.trunkline(
                ["destination", "set", destination.id] + Stage.address(of: destination, port: port),
                environment: stage.secret(of: destination)
            ).requireSuccess("trunkline destination set")
            // Workers follow within a second.
            try await Task.sleep(for: .seconds(2))
        }
    }
}
