internal import EventLoop
internal import Foundation
internal import Glibc

/// In the folder: `broker/` (data, log, the home with the cookie), `broker.pid`, `epmd.pid`, `*.port`, and the tools
/// `rabbitmqctl` and `erl_call`.
extension PrivateBroker {
    private static let programs = "/usr/lib/rabbitmq/bin"

    private struct Ports {
        let amqp: UInt16
        let amqps: UInt16
        let distribution: UInt16
        let mapper: UInt16
    }

    func url(virtualHost: String) throws -> String { "amqp://\(try login("amqp"))/\(virtualHost)" }

    func urlWithTLS() throws -> String {
        "amqps://\(try login("amqps"))/%2f?cacertfile=\(checkout.certificates.authority)"
    }

    private func login(_ name: String) throws -> String {
        guard let port = PortLeases.held(name, of: folder) else { throw KitError("no broker was started in \(folder)") }
        return "guest:\(try checkout.password())@127.0.0.1:\(port)"
    }

    /// Starts it and waits until it listens.
    func launch() async throws {
        try Checkout.requirePlain(folder)
        if record.isAlive {
            checkout.say("the broker in \(folder) is already running.")
            // It may still be starting, for a run that was interrupted.
            return try await waitUntilListening()
        }
        try requirePrograms()
        try await checkout.certificates.make()
        try makeFolder(home + "/home")
        try makeFolder(home + "/log")
        try checkout.remember(.broker, folder)
        try await portMapper.end(SIGTERM, within: .seconds(5))
        let leases = PortLeases()
        let ports = Ports(
            amqp: try await leases.port("amqp", of: folder),
            amqps: try await leases.port("amqps", of: folder),
            distribution: try await leases.port("dist", of: folder),
            mapper: try await leases.port("epmd", of: folder)
        )
        try writePrivately(randomHex(bytes: 16), to: home + "/home/.erlang.cookie", mode: 0o400, replacing: false)
        try writePrivately(try configuration(ports), to: home + "/rabbitmq.conf")
        try writePrivately("", to: home + "/enabled_plugins")
        try writeTools(ports)
        // A broker with too few descriptors fails silently later.
        DescriptorLimit.raise()
        // epmd would be started by the broker and outlive it: it is started first, so that its process id is known.
        try await portMapper.start(
            "epmd",
            ["-address", "127.0.0.1", "-port", "\(ports.mapper)"],
            environment: environment(ports),
            log: home + "/log/epmd.log"
        )
        try await eventually("epmd; see \(home)/log/epmd.log", within: .seconds(20)) {
            PortLeases.isListening(ports.mapper)
        }
        try await record.start(
            Self.programs + "/rabbitmq-server",
            [],
            environment: environment(ports).merging(serverEnvironment(ports)) { $1 },
            log: home + "/log/start.log"
        )
        try await waitUntilListening()
    }

    private func requirePrograms() throws {
        guard access(Self.programs + "/rabbitmq-server", X_OK) == 0 else {
            throw KitError("rabbitmq-server is not installed; run ./dev up first.")
        }
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        guard path.contains(where: { access("\($0)/erl_call", X_OK) == 0 }) else {
            throw KitError("erl_call is missing, which belongs to Erlang; install the package erlang-base.")
        }
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo("localhost", nil, nil, &found) == 0 else {
            throw KitError("this machine does not resolve localhost; add \"127.0.0.1 localhost\" to /etc/hosts.")
        }
        freeaddrinfo(found)
    }

    private func waitUntilListening() async throws {
        let ports = ["amqp", "amqps"].compactMap { PortLeases.held($0, of: folder) }
        try await eventually(
            "the broker on \(ports)",
            within: .seconds(120),
            every: .milliseconds(50),
            situation: { ["start.log", "broker.log"].map { "\n--- \($0)\n" + tail(of: "\(home)/log/\($0)") }.joined() }
        ) { !record.isAlive || ports.allSatisfy(PortLeases.isListening) }
        guard record.isAlive else {
            throw KitError("the broker ended while starting; see \(home)/log/.\n" + tail(of: home + "/log/start.log"))
        }
    }

    // MARK: What it is given

    private var node: String { "trunkline-\(shortHash(folder))@localhost" }

    /// Of the broker and of its tools: nothing of the caller's, who may have RABBITMQ_… of another node set.
    private func environment(_ ports: Ports) -> [String: String] {
        [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": home + "/home",
            "ERL_EPMD_PORT": "\(ports.mapper)",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": node,
        ]
    }

    private static let onlyHere = "-kernel inet_dist_use_interface {127,0,0,1}"

    private func serverEnvironment(_ ports: Ports) -> [String: String] {
        [
            "RABBITMQ_DIST_PORT": "\(ports.distribution)",
            "RABBITMQ_MNESIA_BASE": home + "/data",
            "RABBITMQ_LOG_BASE": home + "/log",
            "RABBITMQ_CONFIG_FILE": home + "/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": home + "/enabled_plugins",
            "RABBITMQ_PID_FILE": home + "/data/pid",
            // Makes the start script become the Erlang machine instead of watching it: the recorded process is the broker.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": Self.onlyHere,
        ]
    }

    private func configuration(_ ports: Ports) throws -> String {
        let certificates = checkout.certificates
        let certificate = ProcessInfo.processInfo.environment["TRUNKLINE_DEV_CERTIFICATE"] ?? "server"
        var limit = 2_000_000_000
        let free = freeKilobytes(folder)
        if free < 4_000_000 {
            limit = free * 1_000 / 4
            checkout.say(
                "little free disk: the broker stops accepting messages below \(limit / 1_000_000) MB instead of 2 GB."
            )
        }
        return """
            default_user = guest
            default_pass = \(try checkout.password())
            listeners.tcp.1 = 127.0.0.1:\(ports.amqp)
            listeners.ssl.1 = 127.0.0.1:\(ports.amqps)
            ssl_options.cacertfile = \(certificates.authority)
            ssl_options.certfile = \(certificates.certificate(certificate))
            ssl_options.keyfile = \(certificates.key(certificate))
            ssl_options.verify = verify_none
            ssl_options.fail_if_no_peer_cert = false
            heartbeat = 5
            raft.wal_max_size_bytes = 64000000
            vm_memory_high_watermark.relative = 0.6
            disk_free_limit.absolute = \(limit)
            log.console = false
            log.file = broker.log

            """
    }

    /// Scripts in the folder that run a tool for the broker in it.
    private func writeTools(_ ports: Ports) throws {
        let tools = [
            ("rabbitmqctl", ["RABBITMQ_CTL_ERL_ARGS=" + Self.onlyHere, Self.programs + "/rabbitmqctl"]),
            ("erl_call", ["erl_call", "-R", "-timeout", "30", "-sname", node]),
        ]
        let variables = environment(ports).map { "\($0)=\($1)" }.sorted()
        for (name, command) in tools {
            let words = (["env", "-i"] + variables + command).map(EnvironmentFile.quoted)
            let script = """
                #!/bin/sh
                # \(name) for the private broker in this folder.
                exec \(words.joined(separator: " ")) "$@"

                """
            try writePrivately(script, to: "\(folder)/\(name)", mode: 0o755)
        }
    }
}
