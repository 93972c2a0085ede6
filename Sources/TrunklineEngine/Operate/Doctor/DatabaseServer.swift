package import PostgresDriver

/// What a database server says of itself, as far as it decides whether Trunkline's promises hold on it.
package struct DatabaseServer: Sendable, Hashable {
    /// A server that receives this one's log.
    package struct Standby: Sendable, Hashable {
        /// Its `application_name`: what `synchronous_standby_names` calls it.
        package let name: String
        /// `streaming`, `catchup`, …; nil when this role may not see it.
        package let state: String?
        /// `async`, `potential`, `sync` or `quorum`; nil when this role may not see it.
        package let synchrony: String?

        package init(name: String, state: String?, synchrony: String?) {
            self.name = name
            self.state = state
            self.synchrony = synchrony
        }

        /// A backup or an archive takes the log too, and is never promoted by itself.
        var isBackup: Bool { ["pg_basebackup", "pg_receivewal"].contains(name) }
    }

    /// What a failover to a standby would do to answered commits.
    package enum Replication: Sendable, Hashable {
        /// Nobody streams.
        case alone
        /// A commit is answered when one of these has it.
        case synchronous([String])
        /// Only standbys that the operator calls read replicas: never promoted.
        case readReplicas([String])
        /// Somebody streams, and this role may not see how.
        case hidden
        /// A failover to one of these loses answered commits.
        case asynchronous([String])
    }

    /// For example 150013.
    package let version: Int
    /// For example `15.13 (Debian 15.13-0+deb12u1)`.
    package let versionText: String
    package let isInRecovery: Bool
    package let standbys: [Standby]
    /// Server settings as they are in this session: `fsync`, `synchronous_commit` and whatever else ``names`` has.
    package let settings: [String: String]

    static let names = [
        "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "max_connections",
        "superuser_reserved_connections", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout",
        "default_transaction_isolation", "default_transaction_read_only",
    ]

    package init(version: Int, versionText: String, isInRecovery: Bool, standbys: [Standby], settings: [String: String])
    {
        self.version = version
        self.versionText = versionText
        self.isInRecovery = isInRecovery
        self.standbys = standbys
        self.settings = settings
    }

    /// Asks the server. Any role may.
    package static func read(_ session: PostgresSession) async throws(PostgresError) -> DatabaseServer {
        let facts = try await session.query(
            "select current_setting('server_version_num')::int8, current_setting('server_version'), pg_is_in_recovery()"
        )
        let settings = try await session.query(
            "select name, current_setting(name) from pg_settings where name = any ($1)",
            [.textArray(names)]
        )
        let standbys = try await session.query(
            "select coalesce(application_name, ''), state, sync_state from pg_stat_replication order by 1, pid"
        )
        return DatabaseServer(
            version: Int(facts.int8(0, 0) ?? 0),
            versionText: facts.text(0, 1) ?? "",
            isInRecovery: facts.bool(0, 2) ?? false,
            standbys: (0..<standbys.count).map { row in
                Standby(
                    name: standbys.text(row, 0) ?? "",
                    state: standbys.text(row, 1),
                    synchrony: standbys.text(row, 2)
                )
            },
            settings: Dictionary(
                uniqueKeysWithValues: (0..<settings.count).map { row in
                    (settings.text(row, 0) ?? "", settings.text(row, 1) ?? "")
                }
            )
        )
    }

    // MARK: Judging

    /// How the standbys stand.
    ///
    /// - Parameter readReplicas: names of standbys that are never promoted.
    package func replication(readReplicas: Set<String>) -> Replication {
        let others = standbys.filter { !$0.isBackup }
        let synchronous = others.filter { $0.state == "streaming" && ["sync", "quorum"].contains($0.synchrony) }
        guard synchronous.isEmpty else { return .synchronous(synchronous.map(\.name)) }
        let promotable = others.filter { !readReplicas.contains($0.name) }
        guard !promotable.contains(where: { $0.state == nil }) else { return .hidden }
        let streaming = promotable.filter { $0.state == "streaming" }
        guard streaming.isEmpty else { return .asynchronous(streaming.map(\.name)) }
        return others.isEmpty ? .alone : .readReplicas(others.map(\.name))
    }

    /// Whether commits wait for a standby that is not there.
    package var waitsForAbsentStandby: Bool {
        guard let names = settings["synchronous_standby_names"], !names.isEmpty,
            !["off", "local"].contains(settings["synchronous_commit"])
        else { return false }
        if case .synchronous = replication(readReplicas: []) { return false }
        // Who may not see the standbys cannot tell.
        return !standbys.contains { $0.state == nil }
    }

    /// Why no worker may begin on this server; nil when it may.
    ///
    /// - Parameter readReplicas: names of standbys that are never promoted.
    package func refusal(readReplicas: Set<String>) -> DatabaseRefusal? {
        guard version >= Self.oldestVersion else { return .tooOld(versionText) }
        guard settings["default_transaction_read_only"] != "on" || isInRecovery else { return .readOnly }
        guard settings["default_transaction_isolation"] == "read committed" else {
            return .isolation(settings["default_transaction_isolation"] ?? "unknown")
        }
        if settings["synchronous_commit"] == "off" { return .commitsAreNotDurable }
        switch replication(readReplicas: readReplicas) {
        case .asynchronous(let names): return .asynchronousStandby(names)
        // What is synchronous for others is asynchronous for a session that does not wait.
        case .synchronous(let names) where settings["synchronous_commit"] == "local":
            return .commitsAreLocal(names)
        case .alone, .synchronous, .readReplicas, .hidden: return nil
        }
    }

    /// 15.0.
    package static let oldestVersion = 150_000

    /// Advice for a server on which a worker may begin although something is not as it should be.
    package func warnings(readReplicas: Set<String>) -> [String] {
        var warnings: [String] = []
        if case .hidden = replication(readReplicas: readReplicas) { warnings.append(Self.hiddenStandbys) }
        if settings["fsync"] == "off" {
            warnings.append("fsync is off: a crash of the database's machine can lose or destroy everything")
        }
        if settings["full_page_writes"] == "off" {
            warnings.append("full_page_writes is off: a crash of the database's machine can destroy pages")
        }
        if waitsForAbsentStandby {
            warnings.append(
                "synchronous_standby_names is set and no such standby is connected: every commit waits for it"
            )
        }
        return warnings
    }

    static let hiddenStandbys =
        "a standby is connected, and this role may not see whether it is synchronous; "
        + "an asynchronous one loses answered commits in a failover: 'grant pg_monitor to' the role"
}

/// Why no worker may begin on a database server. With what to do about it.
package enum DatabaseRefusal: ExplainedError, Hashable {
    case tooOld(String)
    case readOnly
    case isolation(String)
    case commitsAreNotDurable
    case commitsAreLocal([String])
    case asynchronousStandby([String])

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .tooOld(let version): "PostgreSQL \(version) is too old: 15 or newer is needed"
        case .readOnly:
            "default_transaction_read_only is on for this role or database: nothing can be recorded; set it to off"
        case .isolation(let level):
            "default_transaction_isolation is '\(level)' for this role or database; Trunkline needs 'read committed'"
        case .commitsAreNotDurable:
            "synchronous_commit is off: a crash of the database loses answered commits, and with them the memory of what was "
                + "sent; set it to on"
        case .commitsAreLocal(let names):
            "synchronous_commit is local, so no commit waits for the standby (\(names.joined(separator: ", "))): a failover "
                + "loses answered commits, and with them the memory of what was sent; set it to on"
        case .asynchronousStandby(let names):
            "the standby \(names.map { "'\($0)'" }.joined(separator: ", ")) is asynchronous: a failover to it loses answered "
                + "commits, and with them the memory of what was sent; set synchronous_standby_names on the primary (for "
                + "example 'ANY 1 (\(names.map { "\"\($0)\"" }.joined(separator: ", ")))'), or, for one that is never "
                + "promoted, name it in TRUNKLINE_READ_REPLICAS"
        }
    }
}
