internal import ArgumentParser
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineEngine

struct TopologyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topology",
        abstract: "The broker's exchanges, queues and bindings.",
        subcommands: [Plan.self, Apply.self, Check.self]
    )

    /// The number of shards that the database has; without a database, the number given or the usual one.
    private static func shards(_ settings: Settings, given: Int?) async throws -> Int {
        if let given {
            guard Topology.shardRange.contains(given) else {
                throw CommandError(InstallError.shardsOutOfRange(given))
            }
            return given
        }
        let url = try settings.databaseURL()
        return try await PostgresSession.withSession(url: url, applicationName: "trunkline topology") { session in
            try await Migrations.requireCurrent(session)
            return try await Install.shards(session)
        }
    }

    static func say(_ retired: [Topology.Retired]) {
        for queue in retired {
            Output.line(
                "retired \(queue.queue): no such shard any more; \(queue.moved) messages moved to \(Topology.intakeQueue)"
            )
        }
    }

    // MARK: -

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
                let plan = Topology.plan(shards: try await TopologyCommand.shards(settings, given: shards))
                if json { try Output.json(PlanDocument(plan)) } else { print(plan) }
            }
        }

        private func print(_ plan: Topology.Plan) {
            for exchange in plan.exchanges {
                Output.line("exchange \(exchange.name) (\(exchange.kind.rawValue)): \(exchange.reason)")
                for argument in exchange.arguments { print(argument) }
            }
            // Queues of one kind have the same arguments: their reasons are read once.
            var said: Set<[Topology.Argument]> = []
            for queue in plan.queues {
                Output.line("queue \(queue.name): \(queue.reason)")
                if said.insert(queue.arguments).inserted {
                    for argument in queue.arguments { print(argument) }
                } else {
                    Output.line("    " + queue.arguments.map { "\($0.name)=\(text($0.value))" }.joined(separator: " "))
                }
            }
            for binding in plan.bindings {
                let key = binding.routingKey.isEmpty ? "" : " under \(binding.routingKey)"
                Output.line("binding \(binding.exchange) -> \(binding.queue)\(key)")
            }
        }

        private func print(_ argument: Topology.Argument) {
            Output.line("    \(argument.name)=\(text(argument.value)): \(argument.reason)")
        }
    }

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
                let (databaseURL, amqpURL) = (try settings.databaseURL(), try settings.amqpURL())
                // The broker first: whether it can be reached and used must show before the database is changed.
                try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline topology") { broker in
                    let (before, count) = try await change(databaseURL)
                    let retired = try await broker.apply(shards: count)
                    if json {
                        let moved = retired.map { Applied.Retired(queue: $0.queue, moved: $0.moved) }
                        try Output.json(Applied(shards: count, shardsBefore: before, retired: moved))
                        return
                    }
                    if before != count { Output.line("the number of shards is \(count) now, was \(before)") }
                    TopologyCommand.say(retired)
                    Output.line("exchanges and queues for \(count) shards are in place")
                }
            }
        }

        private func change(_ databaseURL: String) async throws -> (before: Int, now: Int) {
            try await PostgresSession.withSession(url: databaseURL, applicationName: "trunkline topology") { session in
                try await Migrations.requireCurrent(session)
                guard let shards else {
                    let stored = try await Install.shards(session)
                    return (stored, stored)
                }
                return (try await Install.changeShards(session, to: shards), shards)
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
                let count = try await TopologyCommand.shards(settings, given: nil)
                try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline topology") { broker in
                    do {
                        try await broker.check(shards: count)
                    } catch TopologyError.differs(let problems) where json {
                        try Output.json(Checked(shards: count, problems: problems.map(\.description)))
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

/// An argument's value as people write it.
private func text(_ value: RabbitValue) -> String {
    switch value {
    case .string(let text): text
    case .int(let number): String(number)
    case .bool(let flag): String(flag)
    default: String(describing: value)
    }
}

private struct PlanDocument: Encodable {
    struct Argument: Encodable {
        let name: String
        let value: String
        let reason: String

        init(_ argument: Topology.Argument) {
            name = argument.name
            value = text(argument.value)
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
            Object(name: $0.name, kind: $0.kind.rawValue, arguments: $0.arguments.map(Argument.init), reason: $0.reason)
        }
        queues = plan.queues.map {
            Object(name: $0.name, kind: "quorum", arguments: $0.arguments.map(Argument.init), reason: $0.reason)
        }
        bindings = plan.bindings.map { Binding(exchange: $0.exchange, queue: $0.queue, routingKey: $0.routingKey) }
    }
}
