internal import PostgresDriver
internal import RabbitDriver
internal import TestKit

/// What every bench does with a stage.
extension Stage {
    /// Nothing but calls in the air bounds the lines.
    func setLinesFree() async throws {
        for line in plan.lines {
            try await trunkline([
                "line", "set", line.id, "--pace", "unlimited", "--concurrency", "16", "--recipient-gap", "0",
            ]).requireSuccess("trunkline line set")
        }
    }

    /// Jobs `NAME:0`… for these lanes in turn. Everybody gets one message, so that nobody waits for the order of a person.
    static func messages(_ numbers: Range<Int>, _ name: String, to lanes: [LoadPlan.Lane]) -> [RabbitMessage] {
        numbers.map { number in
            let lane = lanes[number % lanes.count]
            return RabbitMessage(
                exchange: Routing.exchange,
                routingKey: Routing.queue(.shard, lane),
                body: Array(body(number, "\(name):\(number)", lane).utf8)
            )
        }
    }

    private static func body(_ number: Int, _ key: String, _ lane: LoadPlan.Lane) -> String {
        switch lane.kind {
        case .line:
            #"{"schema":"trunkline.send.v1","line":"\#(lane.id)","key":"\#(key)","to":"+97250\#(1_000_000 + number)","#
                + #""body":"Notice \#(number).","purpose":"order"}"#
        case .destination:
            #"{"schema":"trunkline.deliver.v1","destination":"\#(lane.id)","key":"\#(key)","type":"order.ready","#
                + #""timestamp":"2026-12-01T09:00:00Z","data":{"order":"\#(number)"}}"#
        }
    }

    /// Straight to the broker, past all proxies.
    func publisher() throws -> RabbitPublisher {
        var limits = RabbitPublisher.Limits()
        limits.deadline = .seconds(60)
        return RabbitPublisher(
            configuration: try RabbitConfiguration(
                url: servers.brokerURL(port: servers.brokerPort),
                connectionName: "bench"
            ),
            limits: limits
        )
    }

    /// Publishes that many jobs, and returns when every one is confirmed.
    func publish(_ jobs: Int, _ name: String, to lanes: [LoadPlan.Lane]) async throws {
        let publisher = try publisher()
        for start in stride(from: 0, to: jobs, by: 1_000) {
            let outcomes = await publisher.publish(
                Self.messages(start..<min(jobs, start + 1_000), name, to: lanes)
            )
            guard outcomes.allSatisfy(\.isConfirmed) else { throw ChaosError("the broker did not confirm everything") }
        }
        await publisher.shutdown()
    }

    func count(_ sql: String) async throws -> Int64 { try await query(sql).int8(0, 0) ?? 0 }

    func wait(for what: String, _ condition: () async throws -> Bool) async throws {
        try await eventually(what, within: .seconds(300), every: .milliseconds(40), condition)
    }
}
