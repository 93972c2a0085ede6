internal import PostgresDriver
internal import TrunklineCore

extension Doctor {
    /// - Returns: the number of shards, when there is a schema that this program knows.
    static func examineDatabase(
        _ install: Operator,
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
            try await install.requireMasterKey(configuration.masterKey)
            report(.ok("master key", "opens the stored tokens and secrets, or there are none"))
        } catch let error as LaneSecretError {
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
    static func databaseTransport(_ session: PostgresSession, _ url: String) async throws -> Finding {
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

    static func advice(for error: any Error) -> String {
        let error = error as? PostgresError
        return switch error?.sqlState {
        case "28P01", "28000": "check user, password and pg_hba.conf"
        case "3D000": "make the database, or correct its name in TRUNKLINE_DATABASE_URL"
        case "53300": "raise max_connections, or find who holds them (pg_stat_activity)"
        case "57P03": "the server is starting, stopping or recovering: try again"
        default:
            error?.code == .invalidURL
                ? "correct TRUNKLINE_DATABASE_URL" : "is it running, and is TRUNKLINE_DATABASE_URL its address?"
        }
    }
}
