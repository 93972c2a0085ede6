internal import Foundation
internal import Logging
internal import TrunklineEngine
internal import TrunklinePlanning
internal import Yams

/// The configuration of one run: flags before environment before `trunkline.yaml`, read once.
///
/// | key of `trunkline.yaml` | environment | flag |
/// | --- | --- | --- |
/// | `databaseURL` | `TRUNKLINE_DATABASE_URL` | `--database-url` (without a password) |
/// | `amqpURL` | `TRUNKLINE_AMQP_URL` | `--amqp-url` (without a password) |
/// | `masterKey` | `TRUNKLINE_MASTER_KEY` | none: only `--master-key-file` |
/// | `listen` | `TRUNKLINE_LISTEN` | of the command |
/// | `metricsListen` | `TRUNKLINE_METRICS_LISTEN` | of the command |
/// | `publicURL` | `TRUNKLINE_PUBLIC_URL` | `--public-url` of gateway |
/// | `readReplicas` | `TRUNKLINE_READ_REPLICAS` | `--read-replicas` of worker and doctor |
/// | `retain: {finished, attempts, refusals, inboxBodies}` | `TRUNKLINE_RETAIN_FINISHED`, `…_ATTEMPTS`, `…_REFUSALS`, `…_INBOX_BODIES` | of `retain` |
/// | `logLevel` | `TRUNKLINE_LOG_LEVEL` | `--log-level` |
/// | `logFormat` | `TRUNKLINE_LOG_FORMAT` | `--log-format` |
///
/// The first three also as the path of a file: `databaseURLFile`, `TRUNKLINE_DATABASE_URL_FILE`, `--database-url-file`
/// and so on. Nothing of them is ever printed. The keys `lines` and `sources` are read by whoever needs the rules
/// (``RuleBook``).
struct Settings: Sendable {
    /// A key of the configuration.
    enum Key: String, CaseIterable, Sendable {
        case databaseURL, amqpURL, masterKey, listen, metricsListen, publicURL, logLevel, logFormat, readReplicas
        case retainFinished = "retain.finished"
        case retainAttempts = "retain.attempts"
        case retainRefusals = "retain.refusals"
        case retainInboxBodies = "retain.inboxBodies"

        var variable: String {
            switch self {
            case .databaseURL: "TRUNKLINE_DATABASE_URL"
            case .amqpURL: "TRUNKLINE_AMQP_URL"
            case .masterKey: "TRUNKLINE_MASTER_KEY"
            case .listen: "TRUNKLINE_LISTEN"
            case .metricsListen: "TRUNKLINE_METRICS_LISTEN"
            case .publicURL: "TRUNKLINE_PUBLIC_URL"
            case .logLevel: "TRUNKLINE_LOG_LEVEL"
            case .logFormat: "TRUNKLINE_LOG_FORMAT"
            case .readReplicas: "TRUNKLINE_READ_REPLICAS"
            case .retainFinished: "TRUNKLINE_RETAIN_FINISHED"
            case .retainAttempts: "TRUNKLINE_RETAIN_ATTEMPTS"
            case .retainRefusals: "TRUNKLINE_RETAIN_REFUSALS"
            case .retainInboxBodies: "TRUNKLINE_RETAIN_INBOX_BODIES"
            }
        }

        /// Whether its value is a secret or may hold one: never printed, also readable from a file.
        var isSecret: Bool {
            switch self {
            case .databaseURL, .amqpURL, .masterKey: true
            case .listen, .metricsListen, .publicURL, .logLevel, .logFormat, .readReplicas: false
            case .retainFinished, .retainAttempts, .retainRefusals, .retainInboxBodies: false
            }
        }
    }

    /// What the flags say; nil where a flag was not given.
    struct Flags: Sendable {
        var values: [Key: String] = [:]
        var files: [Key: String] = [:]
    }

    enum LogFormat: String, CaseIterable, Sendable { case text, json }

    private let values: [Key: String]
    /// Paths of the files that hold secrets of the program itself: no line's token may be read from them.
    let ownFiles: Set<String>
    let logLevel: Logger.Level
    let logFormat: LogFormat
    /// From what age on rows are dropped.
    let retention: RetentionAges

    /// - Parameters:
    ///   - file: the contents of `trunkline.yaml`, nil without one.
    ///   - filePath: where they were read.
    ///   - readFile: reads a file named by a `…_FILE` key.
    init(
        flags: Flags,
        environment: [String: String],
        file: String?,
        filePath: String? = nil,
        readFile: (String) throws(CommandError) -> String = Settings.contents(ofFile:)
    ) throws(CommandError) {
        let file = try Settings.parse(file)
        var values: [Key: String] = [:]
        var ownFiles = Set(filePath.map { [$0] } ?? [])
        for key in Key.allCases {
            // Each layer is whole: a value of a higher one hides value and file of the lower ones.
            let layers = [
                ("the flags", flags.values[key], flags.files[key]),
                ("the environment", environment[key.variable], environment[key.variable + "_FILE"]),
                ("trunkline.yaml", file[key.rawValue], file[key.rawValue + "File"]),
            ]
            for (name, value, path) in layers {
                let value = value.flatMap { $0.isEmpty ? nil : $0 }
                let path = path.flatMap { $0.isEmpty ? nil : $0 }
                if let path { ownFiles.insert(path) }
                guard values[key] == nil else { continue }
                if value != nil && path != nil {
                    throw CommandError(
                        .usage,
                        "\(name): \(key.variable) is given as a value and as a file; give one of them"
                    )
                }
                if let value {
                    values[key] = value
                } else if let path {
                    values[key] = try readFile(path)
                }
            }
        }
        self.values = values
        self.ownFiles = ownFiles

        let level = values[.logLevel] ?? "info"
        guard let logLevel = Logger.Level(rawValue: level.lowercased()) else {
            let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw CommandError(.usage, "\(Key.logLevel.variable) must be one of \(known)")
        }
        self.logLevel = logLevel
        guard let logFormat = LogFormat(rawValue: values[.logFormat] ?? "text") else {
            throw CommandError(.usage, "\(Key.logFormat.variable) must be text or json")
        }
        self.logFormat = logFormat
        retention = RetentionAges(
            finished: try Settings.age(values, .retainFinished),
            attempts: try Settings.age(values, .retainAttempts),
            refusals: try Settings.age(values, .retainRefusals),
            inboxBodies: try Settings.age(values, .retainInboxBodies)
        )
        try Settings.check(listen: values[.listen], key: .listen)
        try Settings.check(listen: values[.metricsListen], key: .metricsListen)
    }

    // MARK: Values

    /// PostgreSQL's URI or connection string. Holds a password, perhaps.
    func databaseURL() throws(CommandError) -> String {
        try required(.databaseURL, "the database, like postgresql://user@host/database")
    }

    /// The broker's URL, checked. Holds a password, perhaps.
    func amqpURL() throws(CommandError) -> String {
        let url = try required(.amqpURL, "the broker, like amqps://user@host/vhost")
        if let problem = Transport.problem(amqpURL: url) {
            throw CommandError(.usage, "\(Key.amqpURL.variable): \(problem)")
        }
        return url
    }

    /// Whether a broker is configured.
    var hasBroker: Bool { values[.amqpURL] != nil }

    /// The broker's URL where one is configured: for what goes without.
    func amqpURLIfAny() throws(CommandError) -> String? { hasBroker ? try amqpURL() : nil }

    /// Asynchronous standbys that are never promoted, by their application names.
    var readReplicas: Set<String> {
        let names = (values[.readReplicas] ?? "").split(separator: ",")
        return Set(names.map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty })
    }

    /// The key under which secrets are stored; nil when none is configured.
    func masterKey() throws(CommandError) -> MasterKey? {
        guard let text = values[.masterKey] else { return nil }
        do {
            return try MasterKey(base64: text)
        } catch {
            throw CommandError(.usage, "\(Key.masterKey.variable): \(error.description)")
        }
    }

    private func required(_ key: Key, _ what: String) throws(CommandError) -> String {
        guard let value = values[key] else {
            throw CommandError(.usage, "\(key.variable) (or \(key.variable)_FILE) must name \(what)")
        }
        return value
    }

    /// Where a service of others' programs listens.
    func listenAddress(default usual: String) throws(CommandError) -> (host: String, port: Int) {
        let listen = values[.listen] ?? usual
        guard let colon = listen.lastIndex(of: ":"), let port = UInt16(listen[listen.index(after: colon)...]) else {
            throw CommandError(.usage, "\(Key.listen.variable) must be host:port")
        }
        var host = String(listen[..<colon])
        // An IPv6 address has its brackets because of the port.
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        return (host, Int(port))
    }

    /// Under which address senders call the gateway, without a slash at its end; nil when nobody says.
    func publicURL() throws(CommandError) -> String? {
        guard let text = values[.publicURL] else { return nil }
        let url = text.hasSuffix("/") ? String(text.dropLast()) : text
        guard url.wholeMatch(of: /https?:\/\/[A-Za-z0-9.-]+(:[0-9]{1,5})?(\/[A-Za-z0-9._~-]+)*/) != nil else {
            throw CommandError(
                .usage,
                "\(Key.publicURL.variable) must be what senders call, like https://hooks.example.com or "
                    + "https://example.com/hooks"
            )
        }
        return url
    }

    /// Runs `body` with whoever operates the install.
    ///
    /// - Parameters:
    ///   - name: shown in the servers' lists of connections.
    ///   - mayTakeLong: whether its questions may take longer than the server's limit for a statement.
    func operate<R>(
        as name: String,
        mayTakeLong: Bool = false,
        _ body: (Operator) async throws -> R
    ) async throws -> R {
        try await Operator.with(databaseURL: databaseURL(), name: name, mayTakeLong: mayTakeLong, body)
    }

    // MARK: Reading

    /// Secrets are short; a path to something else must not fill the memory.
    private static let fileLimit = 64 << 10

    /// The contents of a secret's file without the line break that editors put at its end.
    static func contents(ofFile path: String) throws(CommandError) -> String {
        guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: fileLimit + 1)
        else {
            throw CommandError(.usage, "the file \(path) cannot be read")
        }
        guard data.count <= fileLimit else { throw CommandError(.usage, "the file \(path) is too big for a secret") }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandError(.usage, "the file \(path) is not UTF-8")
        }
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !trimmed.isEmpty else { throw CommandError(.usage, "the file \(path) is empty") }
        return trimmed
    }

    /// The keys of `trunkline.yaml` that are read here.
    static let fileKeys =
        Key.allCases.flatMap { key in
            key.rawValue.hasPrefix("retain.")
                ? [] : key.isSecret ? [key.rawValue, key.rawValue + "File"] : [key.rawValue]
        } + ["retain"]

    private static func parse(_ text: String?) throws(CommandError) -> [String: String] {
        guard let text else { return [:] }
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            // Yams quotes the line at fault, which may hold a secret: only its number is said.
            guard case .some(let error) = error as? YamlError, let line = error.line else {
                throw CommandError(.usage, "trunkline.yaml is not valid YAML")
            }
            throw CommandError(.usage, "trunkline.yaml is not valid YAML: line \(line)")
        }
        guard let node, node.null == nil else { return [:] }
        guard let mapping = node.mapping else {
            throw CommandError(.usage, "trunkline.yaml must be a list of 'key: value'")
        }
        let known = Set(Key.allCases.flatMap { $0.isSecret ? [$0.rawValue, $0.rawValue + "File"] : [$0.rawValue] })
        let ofRules = Set(RuleBook.keys)
        var values: [String: String] = [:]
        var entries: [(key: Node, value: Node)] = []
        for (key, value) in mapping {
            // `retain: {finished: 90d}` is the key `retain.finished`.
            if key.string == "retain", let ages = value.mapping {
                for (name, age) in ages { entries.append((Node("retain." + (name.string ?? "?")), age)) }
            } else if let name = key.string, ofRules.contains(name) {
                continue
            } else {
                entries.append((key, value))
            }
        }
        for (key, value) in entries {
            guard let key = key.string, known.contains(key) else {
                throw CommandError(
                    .usage,
                    "trunkline.yaml: the key '\(key.string?.prefix(40) ?? "?")' is not known; known are \(known.union(ofRules).sorted().joined(separator: ", "))"
                )
            }
            guard let text = value.scalar?.string else {
                throw CommandError(.usage, "trunkline.yaml: \(key) must be text")
            }
            guard values.updateValue(text, forKey: key) == nil else {
                throw CommandError(.usage, "trunkline.yaml: \(key) is there twice")
            }
        }
        return values
    }

    private static func age(_ values: [Key: String], _ key: Key) throws(CommandError) -> Int? {
        guard let text = values[key] else { return nil }
        guard let age = RetentionAge(text) else {
            throw CommandError(.usage, "\(key.variable) must be an age in days, like 90d, or never")
        }
        return age.days
    }

    private static func check(listen: String?, key: Key) throws(CommandError) {
        guard let listen else { return }
        guard let colon = listen.lastIndex(of: ":"), colon != listen.startIndex,
            UInt16(listen[listen.index(after: colon)...]) != nil
        else {
            throw CommandError(.usage, "\(key.variable) must be host:port")
        }
    }
}

extension YamlError {
    fileprivate var line: Int? {
        switch self {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
        default: nil
        }
    }
}
