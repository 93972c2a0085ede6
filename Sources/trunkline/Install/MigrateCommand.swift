internal import ArgumentParser
internal import TrunklineEngine

struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Bring the database, and the broker if one is configured, to what this version needs.",
        discussion:
            "Safe to run at any time and by several at once. All that is missing is applied in order, in one transaction."
    )

    @OptionGroup var options: GlobalOptions

    @Flag(help: "Print the SQL that would run, and change nothing.")
    var dryRun = false

    @Option(help: "The number of shards of a new install, 1 to 1024 (default 64); refused when another is stored.")
    var shards: Int?

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let amqpURL = try settings.amqpURLIfAny()
            try await settings.operate(as: "trunkline migrate", mayTakeLong: true) { install in
                if dryRun {
                    try say(try await install.pendingMigrations())
                } else {
                    try say(try await install.migrate(amqpURL: amqpURL, shards: shards))
                }
            }
        }
    }

    private func say(_ pending: Migrations.Pending) throws {
        if json {
            try Output.json(
                Pending(
                    pending: pending.migrations.map { Step(version: $0.version, name: $0.name, sql: $0.sql) },
                    functions: pending.functions.map { Function(name: $0.name, sql: $0.sql) }
                )
            )
            return
        }
        if pending.isEmpty { Output.note("The schema is up to date; nothing would run.") }
        if !pending.isEmpty { Output.line("-- in one transaction") }
        for migration in pending.migrations {
            Output.line("-- migration \(migration.version): \(migration.name)")
            Output.text(migration.sql)
        }
        for function in pending.functions {
            Output.line("-- function \(function.name)")
            Output.text(function.sql)
        }
    }

    private func say(_ outcome: MigrationOutcome) throws {
        let report = outcome.database
        if json {
            try Output.json(
                Done(
                    applied: report.applied.map { Step(version: $0.version, name: $0.name, sql: nil) },
                    functions: report.functions.map(\.name),
                    schemaVersion: report.version,
                    shards: report.shards,
                    topologyApplied: outcome.retired != nil,
                    daysWithoutPartition: report.daysWithoutPartition
                )
            )
            return
        }
        for migration in report.applied { Output.line("applied migration \(migration.version) (\(migration.name))") }
        if !report.functions.isEmpty {
            Output.line(
                "applied \(report.functions.count) functions (\(report.functions.map(\.name).joined(separator: ", ")))"
            )
        }
        Output.line("schema version \(report.version), \(report.shards) shards")
        Output.line(
            outcome.retired != nil
                ? "broker: exchanges and queues are in place"
                : "broker: not configured (TRUNKLINE_AMQP_URL), left alone"
        )
        TopologyCommand.say(outcome.retired ?? [])
        for day in report.daysWithoutPartition { Output.note("warning: no partition for \(day)") }
    }

    private struct Step: Encodable {
        let version: Int32
        let name: String
        let sql: String?
    }

    private struct Function: Encodable {
        let name: String
        let sql: String
    }

    private struct Pending: Encodable {
        let pending: [Step]
        let functions: [Function]
    }

    private struct Done: Encodable {
        let applied: [Step]
        let functions: [String]
        let schemaVersion: Int32
        let shards: Int
        let topologyApplied: Bool
        let daysWithoutPartition: [String]
    }
}
