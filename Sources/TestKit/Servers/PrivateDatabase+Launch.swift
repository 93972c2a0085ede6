internal import CPlatform
internal import EventLoop
internal import Foundation
internal import Glibc

/// In the folder: `postgres/` (as root a link to a folder that the user postgres may reach) with `data/` and
/// `postgres.log`, `database.pid` and `database.port`.
extension PrivateDatabase {
    private static let oldest = 15

    /// Where the newest PostgreSQL of this machine lies; nil when there is none that is new enough.
    private static func programs() -> String? {
        let newest = names(in: "/usr/lib/postgresql").compactMap { Int($0) }
            .filter { access("/usr/lib/postgresql/\($0)/bin/initdb", X_OK) == 0 }.max()
        guard let newest, newest >= oldest else { return nil }
        return "/usr/lib/postgresql/\(newest)/bin"
    }

    private static func installed() throws -> String {
        guard let programs = programs() else {
            throw KitError("PostgreSQL \(oldest) or newer is not installed; run ./dev up first.")
        }
        return programs
    }

    // MARK: As whom

    private static var isRoot: Bool { geteuid() == 0 }

    /// PostgreSQL refuses to run as root, and the user postgres may not be able to reach the checkout: as root its data lie
    /// in a folder of their own, to which a link leads.
    var home: String {
        let link = folder + "/postgres"
        guard Self.isRoot else { return link }
        return (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) ?? "\(shelter)/\(shortHash(folder))"
    }

    private var shelter: String { "/var/tmp/trunkline-\(shortHash(checkout.root))" }
    private var data: String { home + "/data" }

    private func makeHome() async throws {
        try makeFolder(folder)
        guard Self.isRoot else { return try makeFolder(home) }
        let home = home
        let parent = URL(fileURLWithPath: home).deletingLastPathComponent().path
        mkdir(parent, 0o711)
        // Everybody may write to /var/tmp.
        guard isOurs(parent) else { throw KitError("\(parent) belongs to somebody else; remove it.") }
        if !isFolder(home) {
            try await Command.run(
                "/usr/bin/install",
                ["-d", "-o", "postgres", "-g", "postgres", "-m", "0700", home]
            ).requireSuccess("making \(home)")
        }
        // A link of an earlier start; never data.
        unlink(folder + "/postgres")
        try FileManager.default.createSymbolicLink(atPath: folder + "/postgres", withDestinationPath: home)
    }

    /// Of its programs: nothing of our environment but the path.
    private static var environment: [String: String] {
        ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "LANG": "C.UTF-8"]
    }

    /// A command of the owner of the data. `setpriv` becomes the program, so that its process is the one that we know.
    private static func owned(_ command: [String]) -> [String] {
        guard isRoot else { return command }
        return ["/usr/bin/setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"] + command
    }

    /// Runs a program as the owner of the data to its end.
    @discardableResult
    private func run(
        _ command: [String],
        environment: [String: String] = [:],
        input: String? = nil
    ) async throws -> Command.Outcome {
        let words = Self.owned(command)
        return try await Command.run(
            words[0],
            Array(words.dropFirst()),
            environment: Self.environment.merging(environment) { $1 },
            folder: "/",
            input: input
        )
    }

    private func write(_ text: String, to file: String) async throws {
        try await run(["/bin/sh", "-c", #"umask 077 && cat >"$1""#, "-", file], input: text)
            .requireSuccess("writing \(file)")
    }

    // MARK: Starting

    /// Starts it and waits until it answers.
    func launch() async throws {
        try Checkout.requirePlain(folder)
        if try await waitIfRunning() { return }
        let programs = try Self.installed()
        try await makeHome()
        try checkout.remember(.database, folder)
        if text(of: data + "/PG_VERSION").isEmpty { try await makeData(programs) }
        try requireUsableData(programs)
        try adoptOrClearPostmaster()
        if try await waitIfRunning() { return }
        let port = try await PortLeases().port("database", of: folder)
        try await write(configuration(port), to: data + "/postgresql.conf")
        try await write(
            """
            host all all 127.0.0.1/32 scram-sha-256
            host replication all 127.0.0.1/32 scram-sha-256

            """,
            to: data + "/pg_hba.conf"
        )
        DescriptorLimit.raise()
        // Not by pg_ctl, which would go on alone if we were killed before the server's id is known.
        let server = Self.owned([programs + "/postgres", "-D", data])
        try await record.start(server[0], Array(server.dropFirst()), environment: Self.environment, log: log)
        try await waitUntilReady()
    }

    private var log: String { home + "/postgres.log" }

    private func waitUntilReady() async throws {
        let port = PortLeases.held("database", of: folder) ?? 0
        let address = "host=127.0.0.1 port=\(port) user=postgres connect_timeout=5"
        try await eventually("PostgreSQL; see \(log)", within: .seconds(120), every: .milliseconds(50)) {
            guard record.isAlive else {
                throw KitError("PostgreSQL ended while starting; see \(log).\n" + tail(of: log))
            }
            return await offPool { PQping(address) == PQPING_OK }
        }
    }

    /// Whether it runs already; one that is starting, for a run that was interrupted, is waited for.
    private func waitIfRunning() async throws -> Bool {
        guard record.isAlive else { return false }
        checkout.say("the database in \(folder) is already running.")
        try await waitUntilReady()
        return true
    }

    private func makeData(_ programs: String) async throws {
        // Into another folder first: a run that was interrupted leaves nothing that looks like a cluster.
        let (new, password) = (data + ".new", data + ".password")
        removeFiles(new, data)
        try await write(try checkout.password(), to: password)
        let made = try await run(
            [programs + "/initdb", "-D", new, "-U", "postgres", "-A", "scram-sha-256", "--pwfile=" + password]
                + ["--locale=C.UTF-8", "-E", "UTF8"]
        )
        removeFiles(password)
        try writePrivately(made.output + made.errors, to: folder + "/initdb.log")
        try made.requireSuccess("initdb")
        try FileManager.default.moveItem(atPath: new, toPath: data)
    }

    private func requireUsableData(_ programs: String) throws {
        let version = text(of: data + "/PG_VERSION").trimmingCharacters(in: .newlines)
        guard programs == "/usr/lib/postgresql/\(version)/bin" else {
            throw KitError(
                "the data in \(data) are of PostgreSQL \(version); run ./dev down, remove \(data) and start again."
            )
        }
        let trusts = text(of: data + "/pg_hba.conf").split(separator: "\n").contains { line in
            line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).contains("trust")
        }
        guard !trusts else {
            throw KitError(
                "the data in \(data) were made without a password; run ./dev database remove \(folder) and start again."
            )
        }
    }

    /// The process that the data's lock file names.
    private var postmaster: Int32? {
        text(of: data + "/postmaster.pid").split(separator: "\n").first.flatMap { Int32($0) }
    }

    /// A server whose process id was never recorded is ours all the same; the lock file of a dead one, whose number another
    /// process has by now, would keep PostgreSQL from starting.
    func adoptOrClearPostmaster() throws {
        let file = data + "/postmaster.pid"
        guard FileManager.default.fileExists(atPath: file) else { return }
        if let pid = postmaster, text(of: "/proc/\(pid)/cmdline").split(separator: "\0").contains(Substring(data)) {
            try record.record(pid)
        } else {
            removeFiles(file)
        }
    }

    private func configuration(_ port: UInt16) -> String {
        var log = "8GB"
        if freeKilobytes(folder) < 20_000_000 {
            log = "1GB"
            checkout.say("little free disk: PostgreSQL keeps at most 1 GB of log between checkpoints instead of 8 GB.")
        }
        return """
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = ''
            max_connections = 400
            shared_buffers = 256MB
            synchronous_commit = on
            commit_delay = 0
            wal_compression = lz4
            max_wal_size = \(log)
            checkpoint_timeout = 15min
            # Operators are told 10 s. A test that keeps rows locked waits meanwhile, and on a busy machine for longer: its locks
            # would be gone behind its back.
            idle_in_transaction_session_timeout = 10min
            statement_timeout = 1min
            timezone = 'UTC'
            log_timezone = 'UTC'
            log_line_prefix = '%m [%p] %a '
            # Statements carry customers' data.
            log_min_error_statement = panic

            """
    }

    // MARK: Standbys

    /// Starts it as a standby of another, streaming from it under the name `standby`: a copy that goes on with its log.
    ///
    /// It is asynchronous until the primary's `synchronous_standby_names` has `standby`: whether it has is what tests are
    /// about.
    package func start(asStandbyOf primary: PrivateDatabase) async throws {
        try Checkout.requirePlain(folder)
        guard primary.record.isAlive, let port = PortLeases.held("database", of: primary.folder) else {
            throw KitError("no database is running in \(primary.folder)")
        }
        guard !record.isAlive else { throw KitError("the database in \(folder) is already running") }
        let programs = try Self.installed()
        try await makeHome()
        try checkout.remember(.database, folder)
        let new = data + ".new"
        removeFiles(new, data)
        let password = try checkout.password()
        let copied = try await run(
            [programs + "/pg_basebackup", "-h", "127.0.0.1", "-p", "\(port)", "-U", "postgres", "-D", new]
                + ["-X", "stream", "--checkpoint=fast"],
            environment: ["PGPASSWORD": password]
        )
        try writePrivately(copied.output + copied.errors, to: folder + "/basebackup.log")
        try copied.requireSuccess("pg_basebackup")
        // What was set on the primary by ALTER SYSTEM comes with the copy, and a promoted standby would wait for itself.
        try await write(
            "primary_conninfo = 'host=127.0.0.1 port=\(port) user=postgres password=\(password) application_name=standby'\n",
            to: new + "/postgresql.auto.conf"
        )
        try await write("", to: new + "/standby.signal")
        try FileManager.default.moveItem(atPath: new, toPath: data)
        try await start()
    }

    /// Makes a standby a primary.
    package func promote() async throws {
        guard record.isAlive else { throw KitError("no database is running in \(folder)") }
        try await run([try Self.installed() + "/pg_ctl", "promote", "-s", "-w", "-t", "60", "-D", data])
            .requireSuccess("promoting the standby in \(folder); see \(log)")
    }
}
