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

    /// Jobs `NAME:0`… for these lines in turn. Everybody gets one message, so that nobody waits for the order of a person.
    static func messages(_ numbers: Range<Int>, _ name: String, to lines: [String]) -> [RabbitMessage] {
        numbers.map { number in
            let line = lines[number % lines.count]
            let to = "+97250" + String(1_000_000 + number)
            let body =
                #"{"schema":"trunkline.send.v1","line":"\#(line)","key":"\#(name):\#(number)","to":"\#(to)","#
                + #""body":"Notice \#(number).","purpose":"order"}"#
            return RabbitMessage(
                exchange: Routing.exchange,
                routingKey: Routing.queue(.shard, line: line),
                body: Array(body.utf8)
            )
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
    func publish(_ jobs: Int, _ name: String, to lines: [String]) async throws {
        let publisher = try publisher()
        for start in stride(from: 0, to: jobs, by: 1_000) {
            let outcomes = await publisher.publish(
                Self.messages(start..<min(jobs, start + 1_000), name, to: lines)
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
