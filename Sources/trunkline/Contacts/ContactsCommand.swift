internal import ArgumentParser

struct ContactsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "contacts",
        abstract: "What senders said about people: look, import.",
        subcommands: [Show.self, Import.self]
    )

    /// As servers list its connections.
    static let name = "trunkline contacts"
}
