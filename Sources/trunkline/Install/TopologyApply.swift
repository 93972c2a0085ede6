internal import ArgumentParser
internal import TrunklineEngine

extension TopologyCommand {
    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "apply",
            abstract: "Declare what is missing on the broker; with --shards, change the number of shards.",
            discussion: """
                Changes nothing that is right already. An object that exists with other arguments is named and left alone. \
                The number of shards is changed with all workers stopped.
                """
        )

        @OptionGroup var options: GlobalOptions

        @Option(help: "Change the install's number of shards, 1 to 1024.")
        var shards: Int?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                _ = try settings.databaseURL()
                let amqpURL = try settings.amqpURL()
                let change = try await settings.operate(as: TopologyCommand.name) { install in
                    try await install.applyTopology(amqpURL: amqpURL, shards: shards)
                }
                if json {
                    let moved = change.retired.map { Applied.Retired(queue: $0.queue, moved: $0.moved) }
                    try Output.json(Applied(shards: change.now, shardsBefore: change.before, retired: moved))
                    return
                }
                if change.before != change.now {
                    Output.line("the number of shards is \(change.now) now, was \(change.before)")
                }
                TopologyCommand.say(change.retired)
                Output.line("exchanges and queues for \(change.now) shards are in place")
            }
        }

        private struct Applied: Encodable {
            struct Retired: Encodable {
                let queue: String
                let moved: Int
            }
            let shards: Int
            let shardsBefore: Int
            let retired: [Retired]
        }
    }
}
