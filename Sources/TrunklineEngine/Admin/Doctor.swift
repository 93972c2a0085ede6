internal import EventLoop
internal import PostgresDriver
internal import RabbitDriver
public import TrunklineCore
internal import TrunklineIntegrations

/// Looks at everything that Trunkline stands on, and says of each thing whether it is well and what to do where it is not.
/// Changes nothing, sends nothing, and wakes no line.
public enum Doctor {
    public struct Configuration: Sendable {
        public var databaseURL: String
        /// Nil when no broker is configured.
        public var amqpURL: String?
        public var masterKey: MasterKey?
        /// Paths of files that hold secrets of the program itself: no line's token is read from them.
        public var ownFiles: Set<String> = []
        /// Names of standbys that are never promoted.
        public var readReplicas: Set<String> = []
        /// A PEM file to trust instead of the system's authorities, for the lines' HTTPS.
        public var certificateAuthorities: String?
        public var timing = WorkerConfiguration.Timing()
        /// How many descriptors a worker that is started from here may have open at most.
        public var openFiles = DescriptorLimit.current
        /// Lines that are asked at once; 1…64.
        public var linesAtOnce = 16

        public init(databaseURL: String, amqpURL: String?, masterKey: MasterKey?) {
            self.databaseURL = databaseURL
            self.amqpURL = amqpURL
            self.masterKey = masterKey
        }
    }

    /// One look at one thing.
    public struct Finding: Sendable, Hashable {
        public enum Verdict: String, Sendable, Hashable, CaseIterable {
            case ok, warning, failed
        }
        /// Stable, for scripts: `database`, `schema`, `line acme-il`, ….
        public let check: String
        public let verdict: Verdict
        /// What is.
        public let words: String
        /// What to do; nil when nothing is to be done.
        public let advice: String?

        static func ok(_ check: String, _ words: String) -> Finding {
            Finding(check: check, verdict: .ok, words: words, advice: nil)
        }
        static func warning(_ check: String, _ words: String, _ advice: String) -> Finding {
            Finding(check: check, verdict: .warning, words: words, advice: advice)
        }
        static func failed(_ check: String, _ words: String, _ advice: String) -> Finding {
            Finding(check: check, verdict: .failed, words: words, advice: advice)
        }
    }

    /// Looks at everything. `report` is called with each finding as it is made, lines in the order of their ids.
    public static func examine(
        _ configuration: Configuration,
        now: @escaping @Sendable () -> Timestamp,
        _ report: @escaping @Sendable (Finding) -> Void
    ) async {
        report(timeouts(configuration.timing))
        report(openFiles(DescriptorBudget(limit: configuration.openFiles)))
        let session: PostgresSession?
        do {
            session = try await PostgresSession.open(
                url: configuration.databaseURL,
                applicationName: "trunkline doctor"
            )
        } catch {
            session = nil
            report(.failed("database", "cannot be used: \(error.message)", advice(for: error)))
        }
        var shards: Int?
        if let session {
            report(.ok("database", "answers"))
            do {
                report(try await databaseTransport(session, configuration.databaseURL))
                shards = try await examineDatabase(session, configuration, now, report)
            } catch {
                report(
                    .failed("database questions", "one was not answered: \(words(error))", "see the words of the error")
                )
            }
        }
        await examineBroker(configuration.amqpURL, shards: shards, report)
        if let session {
            if shards != nil {
                do {
                    try await examineFleet(session, report)
                    try await examineLines(session, configuration, report)
                } catch {
                    report(.failed("lines", "cannot be read: \(words(error))", "see the words of the error"))
                }
            }
            await session.close()
        }
    }

    private static func words(_ error: any Error) -> String {
        switch error {
        case let error as PostgresError: error.message
        case let error as RabbitError: error.message
        default: String(describing: error)
        }
    }

    // MARK: Time-outs

    private static func timeouts(_ timing: WorkerConfiguration.Timing) -> Finding {
        func s(_ duration: Duration) -> String { "\(duration / .seconds(1)) s".replacing(".0 s", with: " s") }
        let order =
            "connect \(s(timing.connectTimeout)) < call \(s(timing.callTimeout)), with a margin of \(s(timing.leaseMargin)) < "
            + "lease \(s(timing.lease)); two heartbeats \(s(timing.heartbeat * 2)) < stops acting \(s(timing.actingLimit)) < "
            + "counts as dead \(s(timing.silenceLimit))"
        guard timing.isSound, timing.connectTimeout < timing.callTimeout else {
            return .failed(
                "time-outs",
                "contradict each other: \(order)",
                "a call must end before its lease does, and a worker must stop before others take over"
            )
        }
        return .ok("time-outs", order)
    }

    static func openFiles(_ budget: DescriptorBudget) -> Finding {
        let wanted = WorkerConfiguration.usualCalls
        let words =
            budget.limit == .max ? "no limit" : "at most \(budget.limit), enough for \(budget.calls) calls at once"
        guard budget.calls < wanted else { return .ok("open files", words) }
        let advice =
            "raise the hard limit (ulimit -Hn, LimitNOFILE=) to \(DescriptorBudget.needed(forCalls: wanted)): a worker "
            + "that is started from here takes fewer than the usual \(wanted) calls"
        return budget.calls == 0
            ? .failed("open files", words, advice) : .warning("open files", words, advice)
    }

    // MARK: The database

    /// - Returns: the number of shards, when there is a schema that this program knows.
    private static func examineDatabase(
        _ session: PostgresSession,
        _ configuration: Configuration,
        _ now: @Sendable () -> Timestamp,
        _ report: (Finding) -> Void
    ) async throws -> Int? {
        let server = try await DatabaseServer.read(session)
        report(version(server))
        report(role(server))
        report(durability(server))
        report(replication(server, configuration.readReplicas))
        report(limits(server))
        report(try await connections(session, server))
        report(try await clock(session, now))
        do {
            try await Migrations.requireCurrent(session)
            report(.ok("schema", "version \(Migrations.all.count), as this program needs it"))
        } catch let error as MigrationError {
            report(.failed("schema", error.description, "run 'trunkline migrate' of the version that the workers have"))
            return nil
        }
        do {
            try await session.requireMasterKey(configuration.masterKey)
            report(.ok("master key", "opens the stored tokens, or there are none"))
        } catch let error as LineTokenError {
            report(
                .failed(
                    "master key",
                    error.description,
                    "name the key's file in TRUNKLINE_MASTER_KEY_FILE, the same one for every worker"
                )
            )
        }
        let shards = try await Install.shards(session)
        let rows = try await session.query("select count(*), coalesce(max(shard), -1) from trunkline.shards")
        if rows.int8(0, 0) == Int64(shards), rows.int4(0, 1) == Int32(shards - 1) {
            report(.ok("shards", "\(shards), each with its row"))
        } else {
            report(
                .failed(
                    "shards",
                    "the install has \(shards), and trunkline.shards has \(rows.int8(0, 0) ?? 0) rows up to number \(rows.int4(0, 1) ?? -1)",
                    "run 'trunkline migrate', which makes the missing rows"
                )
            )
        }
        return shards
    }

    /// What is in effect, beside what was asked for.
    private static func databaseTransport(_ session: PostgresSession, _ url: String) async throws -> Finding {
        let transport = try DatabaseTransport(url: url)
        let rows = try await session.query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
        let state = rows.bool(0, 0) == true ? rows.text(0, 1) ?? "TLS" : "not encrypted"
        if let warning = transport.warning {
            return .warning(
                "database TLS",
                "\(warning) (now: \(state))",
                "leave sslmode out of the URL, or write sslmode=verify-full, and name the authority with sslrootcert=FILE"
            )
        }
        return .ok(
            "database TLS",
            transport.isLocal ? "on this machine (\(state))" : "the server is verified (\(state))"
        )
    }

    private static func brokerTransport(_ url: String) throws -> Finding {
        let broker = try RabbitConfiguration(url: url, connectionName: "trunkline doctor")
        if let warning = broker.transportWarning {
            return .warning("broker TLS", warning, "write amqps://, and name the authority with cacertfile=FILE")
        }
        return .ok(
            "broker TLS",
            broker.isLocal
                ? "on this machine (\(broker.isEncrypted ? "TLS" : "not encrypted"))" : "the broker is verified (TLS)"
        )
    }

    private static func version(_ server: DatabaseServer) -> Finding {
        if server.version < DatabaseServer.oldestVersion {
            return .failed("database version", "PostgreSQL \(server.versionText)", "use PostgreSQL 15 or newer")
        }
        return .ok("database version", "PostgreSQL \(server.versionText)")
    }

    private static func role(_ server: DatabaseServer) -> Finding {
        if server.isInRecovery {
            return .failed(
                "database role",
                "a standby (in recovery): nothing can be written",
                "name the primary, or all servers in one URL: postgresql://host1,host2/database"
            )
        }
        if let refusal = server.refusal(readReplicas: []), case .readOnly = refusal {
            return .failed(
                "database role",
                refusal.description,
                "alter role or database … reset default_transaction_read_only"
            )
        }
        if let refusal = server.refusal(readReplicas: []), case .isolation = refusal {
            return .failed(
                "database role",
                refusal.description,
                "alter role or database … reset default_transaction_isolation"
            )
        }
        return .ok("database role", "a primary that can be written to")
    }

    private static func durability(_ server: DatabaseServer) -> Finding {
        func setting(_ name: String) -> String { server.settings[name] ?? "unknown" }
        let words = ["fsync", "full_page_writes", "synchronous_commit"].map { "\($0)=\(setting($0))" }.joined(
            separator: " "
        )
        if setting("synchronous_commit") == "off" {
            return .failed(
                "durability",
                words + ": a crash loses answered commits, and with them the memory of what was sent",
                "set synchronous_commit to on, also for this role and database"
            )
        }
        if setting("fsync") == "off" || setting("full_page_writes") == "off" {
            return .failed(
                "durability",
                words + ": a crash of the machine can lose or destroy everything",
                "set fsync and full_page_writes to on; only a database that may be thrown away is without them"
            )
        }
        return .ok("durability", words)
    }

    private static func replication(_ server: DatabaseServer, _ readReplicas: Set<String>) -> Finding {
        if server.waitsForAbsentStandby {
            return .failed(
                "replication",
                "synchronous_standby_names is '\(server.settings["synchronous_standby_names"] ?? "")' and no such standby is "
                    + "connected: every commit waits",
                "bring the standby back, or take its name out of synchronous_standby_names"
            )
        }
        switch server.replication(readReplicas: readReplicas) {
        case .alone: return .ok("replication", "no standby: the database is as durable as this server's disk")
        case .hidden:
            return .warning("replication", DatabaseServer.hiddenStandbys, "grant pg_monitor to the role of this URL")
        case .readReplicas(let names):
            return .ok("replication", "only read replicas that are never promoted: \(names.joined(separator: ", "))")
        case .synchronous(let names):
            if let refusal = server.refusal(readReplicas: readReplicas), case .commitsAreLocal = refusal {
                return .failed("replication", refusal.description, "set synchronous_commit to on")
            }
            return .ok("replication", "synchronous: \(names.joined(separator: ", ")); promote no other standby")
        case .asynchronous(let names):
            return .failed(
                "replication",
                "asynchronous: \(names.joined(separator: ", ")): a failover loses answered commits, and with them the memory of "
                    + "what was sent",
                "set synchronous_standby_names; or, for standbys that are never promoted, name them in TRUNKLINE_READ_REPLICAS"
            )
        }
    }

    private static func limits(_ server: DatabaseServer) -> Finding {
        func setting(_ name: String) -> String { server.settings[name] ?? "unknown" }
        let words = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"].map {
            "\($0)=\(setting($0))"
        }.joined(separator: " ")
        if setting("idle_in_transaction_session_timeout") == "0" {
            return .warning(
                "database limits",
                words,
                "set idle_in_transaction_session_timeout (10s): a client of yours that dies in a transaction keeps its locks; "
                    + "workers set it for themselves"
            )
        }
        return .ok("database limits", words + "; workers set their own")
    }

    private static func connections(_ session: PostgresSession, _ server: DatabaseServer) async throws -> Finding {
        let rows = try await session.query(
            """
            select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
                   (select rolconnlimit from pg_roles where rolname = current_user),
                   (select count(*) from pg_stat_activity where usename = current_user and backend_type = 'client backend'),
                   (select datconnlimit from pg_database where datname = current_database()),
                   (select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'),
                   (select rolsuper from pg_roles where rolname = current_user)
            """
        )
        func number(_ name: String) -> Int64 { Int64(server.settings[name] ?? "") ?? 0 }
        let reserved = rows.bool(0, 5) == true ? 0 : number("superuser_reserved_connections")
        let allowed = number("max_connections") - reserved
        var free = allowed - (rows.int8(0, 0) ?? 0)
        var words = "\(rows.int8(0, 0) ?? 0) of \(allowed) in use"
        for (what, limit, used) in [
            ("role", rows.int4(0, 1) ?? -1, rows.int8(0, 2) ?? 0),
            ("database", rows.int4(0, 3) ?? -1, rows.int8(0, 4) ?? 0),
        ] where limit >= 0 {
            words += ", \(used) of \(limit) for the \(what)"
            free = min(free, Int64(limit) - used)
        }
        let advice = "raise max_connections, or find who holds them (pg_stat_activity); a worker needs three"
        if free < 3 { return .failed("connections", words + ": no worker can start", advice) }
        if free < 20 {
            return .warning("connections", words + ": \(free) free, enough for \(free / 3) more workers", advice)
        }
        return .ok("connections", words + "; a worker needs three")
    }

    /// The best of five: the shortest round trip says most.
    private static func clock(_ session: PostgresSession, _ now: @Sendable () -> Timestamp) async throws -> Finding {
        var best: (difference: Int64, uncertainty: Int64)?
        for _ in 0..<5 {
            let before = now().microseconds
            let there = try await session.query("select clock_timestamp()").timestamp(0, 0) ?? 0
            let after = now().microseconds
            let uncertainty = (after - before) / 2
            if best.map({ uncertainty < $0.uncertainty }) ?? true { best = (before + uncertainty - there, uncertainty) }
        }
        let milliseconds = (best?.difference ?? 0) / 1_000
        let words =
            "this host is \(abs(milliseconds)) ms \(milliseconds < 0 ? "behind" : "ahead of") the database, to within "
            + "\((best?.uncertainty ?? 0) / 1_000 + 1) ms"
        let advice =
            "keep both in step (NTP): deadlines are the database's, and a worker compares them once more with its own"
        switch abs(milliseconds) {
        case ..<1_000: return .ok("clock", words)
        case ..<30_000: return .warning("clock", words, advice)
        default: return .failed("clock", words, advice)
        }
    }

    private static func advice(for error: PostgresError) -> String {
        switch error.sqlState {
        case "28P01", "28000": "check user, password and pg_hba.conf"
        case "3D000": "make the database, or correct its name in TRUNKLINE_DATABASE_URL"
        case "53300": "raise max_connections, or find who holds them (pg_stat_activity)"
        case "57P03": "the server is starting, stopping or recovering: try again"
        default:
            error.code == .invalidURL
                ? "correct TRUNKLINE_DATABASE_URL" : "is it running, and is TRUNKLINE_DATABASE_URL its address?"
        }
    }

    // MARK: The broker

    private static func examineBroker(_ url: String?, shards: Int?, _ report: (Finding) -> Void) async {
        guard let url else {
            report(.warning("broker", "not configured", "set TRUNKLINE_AMQP_URL: workers need it"))
            return
        }
        let session: BrokerSession
        do {
            session = try await BrokerSession.open(url: url, connectionName: "trunkline doctor")
        } catch let error as TopologyError {
            report(.failed("broker", error.description, "use another version of RabbitMQ"))
            return
        } catch {
            report(
                .failed(
                    "broker",
                    "cannot be used: \(words(error))",
                    "is it running, and does TRUNKLINE_AMQP_URL name its address, user and virtual host?"
                )
            )
            return
        }
        if let finding = try? brokerTransport(url) { report(finding) }
        let server = await session.server
        report(.ok("broker", "answers: \(server?.product ?? "unknown") \(server?.version ?? "of an unknown version")"))
        do {
            if let shards {
                try await topology(session, shards, report)
            } else {
                report(
                    .warning("queues", "not looked at: the number of shards is not known", "see the database's checks")
                )
            }
        } catch {
            report(
                .failed("broker questions", "one was not answered: \(words(error))", "see the words of the error")
            )
        }
        do {
            report(try await alarms(session))
        } catch {
            report(
                .failed(
                    "broker alarms",
                    "no message could be published to see: \(words(error))",
                    "mend the queues first; the user needs the rights to configure, write and read '^trunkline\\.'"
                )
            )
        }
        await session.close()
    }

    private static func topology(_ session: BrokerSession, _ shards: Int, _ report: (Finding) -> Void) async throws {
        do {
            try await session.check(shards: shards)
            report(.ok("queues", "exchanges, queues and bindings for \(shards) shards are as they must be"))
        } catch let error as TopologyError {
            report(
                .failed(
                    "queues",
                    error.description,
                    "'trunkline topology apply' declares what is missing ('trunkline rehydrate', when the broker was wiped); an "
                        + "object with other arguments must be deleted first"
                )
            )
            return
        }
        if let left = try await session.messages(in: Topology.shardQueue(shards)) {
            report(
                .failed(
                    "shards of the broker",
                    "there is a queue \(Topology.shardQueue(shards)) (\(left) messages) and the database has \(shards) shards",
                    "run 'trunkline topology apply', which moves its messages and removes it; or this is another install's "
                        + "virtual host"
                )
            )
        } else {
            report(.ok("shards of the broker", "\(shards), as the database says"))
        }
        let aside = try await session.messages(in: Topology.deadQueue) ?? 0
        let unrouted = try await session.messages(in: Topology.unroutedQueue) ?? 0
        if aside + unrouted > 0 {
            report(
                .warning(
                    "put aside",
                    "\(aside) messages in \(Topology.deadQueue), \(unrouted) in \(Topology.unroutedQueue)",
                    "a running worker empties both; see 'trunkline refusals list' and 'trunkline parked list' afterwards"
                )
            )
        }
    }

    /// Whether the broker takes a message. It tells a connection of an alarm only after that has published.
    private static func alarms(_ session: BrokerSession) async throws -> Finding {
        switch try await session.probe(within: .seconds(5)) {
        case .confirmed: return .ok("broker alarms", "none: a message is taken and confirmed")
        case .blocked(let reason):
            return .failed(
                "broker alarms",
                "the broker takes no messages: \(reason)",
                "give it memory or disk (rabbitmq-diagnostics status names limits and use); what PostgreSQL has goes on being sent"
            )
        case .silent:
            return .failed(
                "broker alarms",
                "a message was not confirmed within 5 s",
                "look at the broker's log and its load; a quorum queue without a majority of its nodes confirms nothing"
            )
        }
    }

    // MARK: The fleet

    private static func examineFleet(_ session: PostgresSession, _ report: (Finding) -> Void) async throws {
        let status = try await FleetStatus.read(session)
        let alive = status.workers.filter(\.isAlive)
        if alive.isEmpty {
            report(.warning("workers", "none is alive: nothing is sent", "start one with 'trunkline worker'"))
            return
        }
        let without = alive.filter { !$0.isBrokerConnected }
        let versions = Set(alive.map(\.version)).sorted()
        var words = "\(alive.count) alive"
        if versions.count > 1 { words += ", of versions \(versions.joined(separator: ", "))" }
        if status.shardsWithoutOwner > 0 {
            report(
                .warning(
                    "workers",
                    words + "; \(status.shardsWithoutOwner) of \(status.shards) shards have no live worker",
                    "wait ten seconds and look again; if it stays, look at the workers' logs"
                )
            )
        } else if !without.isEmpty {
            report(
                .warning(
                    "workers",
                    words + "; \(without.count) without a broker",
                    "look at the network between these hosts and the broker: "
                        + Set(without.map(\.host)).sorted().prefix(5).joined(separator: ", ")
                )
            )
        } else {
            report(.ok("workers", words + ", and every shard has one"))
        }
    }

    // MARK: Lines

    private static func examineLines(
        _ session: PostgresSession,
        _ configuration: Configuration,
        _ report: @escaping @Sendable (Finding) -> Void
    ) async throws {
        let lines = try await session.allLines()
        guard !lines.isEmpty else {
            report(.warning("lines", "there are none", "'trunkline line add' makes one"))
            return
        }
        var tokens: [Result<(EZWhatsApp.BaseURL, EZWhatsApp.Token), any Error>] = []
        for line in lines {
            do {
                let access = try await session.access(
                    to: line.id,
                    masterKey: configuration.masterKey,
                    ownFiles: configuration.ownFiles
                )
                tokens.append(.success(access))
            } catch {
                tokens.append(.failure(error))
            }
        }
        await withTaskGroup(of: (Int, Finding).self) { group in
            var next = 0
            var done: [Int: Finding] = [:]
            var told = 0
            func begin() {
                let (index, line, token) = (next, lines[next], tokens[next])
                next += 1
                group.addTask { (index, await look(line, token, configuration.certificateAuthorities)) }
            }
            while next < min(configuration.linesAtOnce, lines.count) { begin() }
            for await (index, finding) in group {
                done[index] = finding
                while let finding = done.removeValue(forKey: told) {
                    report(finding)
                    told += 1
                }
                if next < lines.count { begin() }
            }
        }
    }

    private static func look(
        _ line: Line,
        _ access: Result<(EZWhatsApp.BaseURL, EZWhatsApp.Token), any Error>,
        _ certificateAuthorities: String?
    ) async -> Finding {
        let name = "line \(line.id)"
        let base: EZWhatsApp.BaseURL
        let token: EZWhatsApp.Token
        switch access {
        case .success(let found): (base, token) = found
        case .failure(let error):
            return .failed(
                name,
                "its token or address cannot be used here: \(words(error))",
                "'trunkline line set \(line.id) --token-file FILE', or make the reference readable on this host"
            )
        }
        let answer = await Preflight.ask(base: base, token: token, certificateAuthorities: certificateAuthorities)
        let verdict = answer.verdict
        let unfinished = line.unfinished.values.reduce(0, +)
        let waiting = unfinished > 0 ? "; \(unfinished) unfinished" : ""
        if line.isHeld(at: line.readAt), let hold = line.hold {
            return .warning(
                name,
                "held by hand (\(hold.reason))\(waiting); its health: \(health(verdict))",
                "'trunkline line resume \(line.id)' when the reason is gone"
            )
        }
        switch verdict {
        case .open:
            return .ok(name, "\(health(verdict))\(waiting)")
        case .held(.human, _, _):
            return .failed(name, "\(health(verdict))\(waiting)", answer.advice ?? "somebody must look at the line")
        case .held(.transient, _, _):
            return .warning(name, "\(health(verdict))\(waiting)", "its notices wait; workers ask again by themselves")
        case .keepLast(.slowDown):
            return .warning(name, "\(health(verdict))\(waiting)", "the API asks to slow down: try again in a minute")
        case .keepLast:
            return .failed(
                name,
                "\(health(verdict))\(waiting)",
                (answer.advice ?? "is the API up?") + "; 'trunkline line preflight \(line.id)' asks again"
            )
        }
    }

    private static func health(_ verdict: HealthVerdict) -> String {
        switch verdict {
        case .open(let note): "sendable" + (note.map { " (\($0))" } ?? "")
        case .held(_, let reason, let detail):
            "not sendable: \(reason.rawValue)" + (detail.map { " (\($0))" } ?? "")
        case .keepLast(let reason): "gave no answer about itself: \(reason.rawValue)"
        }
    }
}
