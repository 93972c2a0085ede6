internal import ArgumentParser
internal import TrunklineEngine

extension TopologyCommand {
    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract:
                "Compare the broker with the plan: exit 3, and what differs in words, when it is not as it must be."
        )

        @OptionGroup var options: GlobalOptions

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let amqpURL = try settings.amqpURL()
                let count = try await settings.operate(as: TopologyCommand.name) { install in
                    do {
                        return try await install.checkTopology(amqpURL: amqpURL)
                    } catch TopologyError.differs(let problems) where json {
                        let shards = try await install.shards()
                        try Output.json(Checked(shards: shards, problems: problems.map(\.description)))
                        throw CommandError.silent(.refused)
                    }
                }
                if json {
                    try Output.json(Checked(shards: count, problems: []))
                } else {
                    Output.line("exchanges and queues for \(count) shards are as they must be")
                }
            }
        }

        private struct Checked: Encodable {
            let shards: Int
            let problems: [String]
        }
    }
}
