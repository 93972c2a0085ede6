internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct OrdersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "orders",
        abstract: "What senders said about orders.",
        subcommands: [Show.self]
    )

    /// As servers list its connections.
    static let name = "trunkline orders"

    static func document(_ order: Order) -> JSONValue {
        RecordWords.document(order, [.init("id", .string(order.id.value))])
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "One order, with the moment of each fact."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The order's id in its workspace.")
        var id: String

        @Option(help: "The workspace that knows the order.")
        var workspace: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (id, workspace) = (try OrderID(id), try WorkspaceID(workspace))
                let order = try await settings.operate(as: OrdersCommand.name) { install in
                    try await install.order(id, workspace: workspace)
                }
                guard let order else { throw CommandError(.failed, "workspace \(workspace) knows no order of that id") }
                if json {
                    RecordWords.say(OrdersCommand.document(order))
                } else {
                    Output.facts(
                        [("order", order.id.value), ("workspace", workspace.value)] + RecordWords.facts(order)
                    )
                }
            }
        }
    }
}
