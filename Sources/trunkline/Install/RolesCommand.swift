internal import ArgumentParser
internal import TrunklineEngine

struct RolesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roles",
        abstract: "Print the SQL of database roles for workers, gateways, producers and readers.",
        discussion: """
            Connects to nothing. Let the owner run it after every 'trunkline migrate': trunkline roles | psql "$OWNER_URL". \
            Then give each program the URL of its own role.
            """
    )

    @Option(help: "What the roles' names begin with: a-z, 0-9 and _.")
    var prefix = "trunkline"

    func validate() throws {
        let isName =
            (1...40).contains(prefix.utf8.count) && prefix.utf8.first.map { (0x61...0x7A).contains($0) } == true
            && prefix.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
        guard isName else {
            throw ValidationError("--prefix is 1 to 40 characters of a-z, 0-9 and _, beginning with a letter")
        }
    }

    func run() async throws { Output.text(Roles.sql(prefix: prefix)) }
}
