internal import ArgumentParser
internal import TrunklineEngine

extension TopologyCommand {
    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "plan",
            abstract: "Print what the broker must have, each argument with its reason. Asks no broker."
        )

        @OptionGroup var options: GlobalOptions

        @Option(help: "The number of shards; default: what the database says.")
        var shards: Int?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let plan = Topology.plan(shards: try await number(settings))
                if json { try Output.json(PlanDocument(plan)) } else { print(plan) }
            }
        }

        private func number(_ settings: Settings) async throws -> Int {
            guard let shards else {
                return try await settings.operate(as: TopologyCommand.name) { try await $0.shards() }
            }
            guard Topology.shardRange.contains(shards) else { throw InstallError.shardsOutOfRange(shards) }
            return shards
        }

        private func print(_ plan: Topology.Plan) {
            for exchange in plan.exchanges {
                Output.line("exchange \(exchange.name) (\(exchange.kindWord)): \(exchange.reason)")
                for argument in exchange.arguments { print(argument) }
            }
            // Queues of one kind have the same arguments: their reasons are read once.
            var said: Set<[Topology.Argument]> = []
            for queue in plan.queues {
                Output.line("queue \(queue.name): \(queue.reason)")
                if said.insert(queue.arguments).inserted {
                    for argument in queue.arguments { print(argument) }
                } else {
                    Output.line("    " + queue.arguments.map { "\($0.name)=\($0.text)" }.joined(separator: " "))
                }
            }
            for binding in plan.bindings {
                let key = binding.routingKey.isEmpty ? "" : " under \(binding.routingKey)"
                Output.line("binding \(binding.exchange) -> \(binding.queue)\(key)")
            }
        }

        private func print(_ argument: Topology.Argument) {
            Output.line("    \(argument.name)=\(argument.text): \(argument.reason)")
        }
    }
}

/// The plan as programs read it.
private struct PlanDocument: Encodable {
    struct Argument: Encodable {
        let name: String
        let value: String
        let reason: String

        init(_ argument: Topology.Argument) {
            name = argument.name
            value = argument.text
            reason = argument.reason
        }
    }

    struct Object: Encodable {
        let name: String
        let kind: String
        let arguments: [Argument]
        let reason: String
    }

    struct Binding: Encodable {
        let exchange: String
        let queue: String
        let routingKey: String
    }

    let exchanges: [Object]
    let queues: [Object]
    let bindings: [Binding]

    init(_ plan: Topology.Plan) {
        exchanges = plan.exchanges.map {
            Object(name: $0.name, kind: $0.kindWord, arguments: $0.arguments.map(Argument.init), reason: $0.reason)
        }
        queues = plan.queues.map {
            Object(name: $0.name, kind: "quorum", arguments: $0.arguments.map(Argument.init), reason: $0.reason)
        }
        bindings = plan.bindings.map { Binding(exchange: $0.exchange, queue: $0.queue, routingKey: $0.routingKey) }
    }
}
