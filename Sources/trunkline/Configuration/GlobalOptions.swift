internal import ArgumentParser
internal import Foundation
internal import TrunklineEngine

/// Flags that every command has.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Configuration file; default trunkline.yaml in the working directory, if there.",
            valueName: "file"
        )
    )
    var config: String?

    @Option(
        help: ArgumentHelp("PostgreSQL, without a password (TRUNKLINE_DATABASE_URL may hold one).", valueName: "url")
    )
    var databaseURL: String?

    @Option(help: ArgumentHelp("File that holds the PostgreSQL URL.", valueName: "file"))
    var databaseURLFile: String?

    @Option(help: ArgumentHelp("RabbitMQ, without a password (TRUNKLINE_AMQP_URL may hold one).", valueName: "url"))
    var amqpURL: String?

    @Option(help: ArgumentHelp("File that holds the RabbitMQ URL.", valueName: "file"))
    var amqpURLFile: String?

    @Option(help: ArgumentHelp("File that holds the master key: 32 bytes in base64.", valueName: "file"))
    var masterKeyFile: String?

    @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
    var logLevel: String?

    @Option(help: ArgumentHelp("text or json; the log goes to standard error.", valueName: "format"))
    var logFormat: String?

    /// The run's configuration. Read once per call: commands call it once.
    func settings() throws(CommandError) -> Settings { try settings(overrides: [:]) }

    /// The same, with values of flags that only some commands have.
    func settings(overrides: [Settings.Key: String?]) throws(CommandError) -> Settings {
        var flags = Settings.Flags()
        flags.values = overrides.compactMapValues { $0 }
        flags.values[.databaseURL] = try databaseURL.map { url throws(CommandError) in
            try Self.withoutPassword(url, "--database-url", .databaseURL)
        }
        flags.values[.amqpURL] = try amqpURL.map { url throws(CommandError) in
            try Self.withoutPassword(url, "--amqp-url", .amqpURL)
        }
        flags.values[.logLevel] = logLevel
        flags.values[.logFormat] = logFormat
        flags.files[.databaseURL] = databaseURLFile
        flags.files[.amqpURL] = amqpURLFile
        flags.files[.masterKey] = masterKeyFile

        let environment = ProcessInfo.processInfo.environment
        let named = config ?? environment["TRUNKLINE_CONFIG"]
        let path = named ?? "trunkline.yaml"
        var file: String?
        if let named {
            guard let data = FileManager.default.contents(atPath: named), let text = String(data: data, encoding: .utf8)
            else {
                throw CommandError(.usage, "the configuration file \(named) cannot be read")
            }
            file = text
        } else if let data = FileManager.default.contents(atPath: path) {
            guard let text = String(data: data, encoding: .utf8) else {
                throw CommandError(.usage, "trunkline.yaml is not UTF-8")
            }
            file = text
        }
        return try Settings(flags: flags, environment: environment, file: file, filePath: file.map { _ in path })
    }

    /// Reads the configuration, runs `body` with it and turns whatever it throws into a ``CommandError``.
    func run(overrides: [Settings.Key: String?] = [:], _ body: (Settings) async throws -> Void) async throws {
        let settings = try settings(overrides: overrides)
        Logs.begin(level: settings.logLevel, format: settings.logFormat)
        do {
            try await body(settings)
        } catch {
            throw CommandError(error)
        }
    }

    /// Everybody on the machine reads a command line.
    private static func withoutPassword(_ url: String, _ flag: String, _ key: Settings.Key) throws(CommandError)
        -> String
    {
        let holdsPassword: Bool
        if key == .amqpURL {
            holdsPassword = Transport.holdsPassword(amqpURL: url)
        } else {
            do {
                holdsPassword = try Transport.holdsPassword(databaseURL: url)
            } catch {
                throw CommandError(.usage, "\(flag): \(Explanation(error).words)")
            }
        }
        guard !holdsPassword else {
            throw CommandError(
                .usage,
                "\(flag) must not hold a password, because others can read command lines: use \(key.variable) or \(flag)-file"
            )
        }
        return url
    }
}
