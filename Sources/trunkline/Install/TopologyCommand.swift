internal import ArgumentParser
internal import TrunklineEngine

struct TopologyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topology",
        abstract: "The broker's exchanges, queues and bindings.",
        subcommands: [Plan.self, Apply.self, Check.self]
    )

    /// As servers list its connections.
    static let name = "trunkline topology"

    static func say(_ retired: [Topology.Retired]) {
        for queue in retired {
            Output.line(
                "retired \(queue.queue): no such shard any more; \(queue.moved) messages moved to \(Topology.intakeQueue)"
            )
        }
    }
}
