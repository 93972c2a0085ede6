internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension ContactsCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "One person and the latest orders, with the moment of each fact."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The phone number in E.164: +972501234567.")
        var phone: String

        @Option(help: "The workspace that knows the person.")
        var workspace: String

        @Flag(help: "Print one JSON document.")
        var json = false

        private static let mostOrders = 20

        func run() async throws {
            try await options.run { settings in
                let (phone, workspace) = (try PhoneNumber(phone, field: "phone"), try WorkspaceID(workspace))
                let (contact, orders, count) = try await settings.operate(as: ContactsCommand.name) { install in
                    let contact = try await install.contact(phone, workspace: workspace)
                    let known = try await install.orders(of: phone, workspace: workspace, limit: Self.mostOrders)
                    return (contact, known.orders, known.count)
                }
                guard contact != nil || count > 0 else {
                    throw CommandError(.failed, "workspace \(workspace) knows nobody under that number")
                }
                if json {
                    let members: [JSONValue.Member] = [
                        .init("phone", .string(phone.value)), .init("ordersCount", .number(String(count))),
                        .init("orders", .array(orders.map(OrdersCommand.document))),
                    ]
                    RecordWords.say(
                        contact.map { RecordWords.document($0, members) }
                            ?? .object([.init("workspace", .string(workspace.value))] + members)
                    )
                    return
                }
                Output.facts(
                    [("phone", phone.value), ("workspace", workspace.value)]
                        + (contact.map { RecordWords.facts($0) } ?? [])
                        + [("orders", count > orders.count ? "\(count), the latest \(orders.count):" : "\(count)")]
                )
                guard !orders.isEmpty else { return }
                Output.table(
                    ["ORDER", "NUMBER", "PLACED", "STATE", "TOTAL", "REFUNDED"],
                    orders.map { order in
                        func words(_ amount: OrderFacts.Amount?) -> String {
                            amount.map { $0.amount + " " + $0.currency } ?? "-"
                        }
                        return [
                            order.id.value, order.facts.number ?? "-",
                            order.facts.placedAt.map { Output.time($0) } ?? "-",
                            order.facts.state ?? "-", words(order.facts.total), words(order.facts.refunded),
                        ]
                    }
                )
            }
        }
    }
}
