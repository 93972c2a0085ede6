internal import ArgumentParser
internal import EventLoop
internal import Logging
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineGateway
internal import TrunklineIntegrations

struct GatewayCommand: AsyncParsableCommand, HandlesStopSignals {
    static let configuration = CommandConfiguration(
        commandName: "gateway",
        abstract: "Serve the HTTP API: take notices, deliveries and senders' events, and tell what became of them.",
        discussion: """
            Runs until SIGTERM or SIGINT: then it takes no new connection, answers the requests that came, and exits 0. A second \
            signal ends it at once. Any number of gateways may run side by side. It says on standard output where it listens.
            While the broker is away, requests are accepted into the database; while the database is away, into the broker.
            Sources' secrets are opened with TRUNKLINE_MASTER_KEY. TLS is for the proxy in front of it; name that with \
            --trusted-proxies, and what senders call with --public-url.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Option(
        help: ArgumentHelp(
            "Address to listen on; port 0 takes a free one. Default 127.0.0.1:8080.",
            valueName: "host:port"
        )
    )
    var listen: String?

    @Option(
        help: ArgumentHelp(
            "Addresses of proxies whose word about a client's address counts, like 10.0.0.0/8,::1.",
            valueName: "ranges"
        )
    )
    var trustedProxies: String?

    @Option(help: "The header in which they say it: x-forwarded-for or forwarded.")
    var proxyHeader = TrustedProxies.Header.xForwardedFor.rawValue

    @Option(
        help: ArgumentHelp(
            "The address under which senders call it, because some sign it, like https://hooks.example.com.",
            valueName: "url"
        )
    )
    var publicURL: String?

    @Option(help: "Connections at once, 1 to 100000; more wait to be accepted.")
    var maximumConnections: Int?

    func validate() throws {
        if let maximumConnections, !(1...100_000).contains(maximumConnections) {
            throw ValidationError("--maximum-connections must be 1 to 100000")
        }
        guard TrustedProxies.Header(rawValue: proxyHeader) != nil else {
            throw ValidationError("--proxy-header is x-forwarded-for or forwarded")
        }
    }

    func run() async throws {
        try await options.run(overrides: [.listen: listen, .publicURL: publicURL]) { settings in
            // A connection for each client.
            DescriptorLimit.raise()
            let logger = Logger(label: "trunkline.gateway")
            let (host, port) = try settings.listenAddress(default: "127.0.0.1:8080")
            var configuration = GatewayConfiguration(
                host: host,
                port: port,
                databaseURL: try settings.databaseURL(),
                amqpURL: try settings.amqpURL(),
                carriers: .standard,
                sources: .standard,
                events: .standard,
                now: { WallClock.now }
            )
            configuration.masterKey = try settings.masterKey()
            configuration.ownFiles = settings.ownFiles
            configuration.publicURL = try settings.publicURL()
            if configuration.masterKey == nil {
                logger.warning(
                    "no master key",
                    metadata: [
                        "reason": "no source takes anything here: TRUNKLINE_MASTER_KEY opens what proves their senders"
                    ]
                )
            }
            let ranges = try (trustedProxies ?? "").split(separator: ",").map { range throws(Refusal) in
                try AddressRange(range)
            }
            configuration.proxies = TrustedProxies(ranges, header: .init(rawValue: proxyHeader) ?? .xForwardedFor)
            if let maximumConnections { configuration.maximumConnections = maximumConnections }
            for warning in try Transport.warnings(
                databaseURL: configuration.databaseURL,
                amqpURL: configuration.amqpURL
            ) {
                logger.warning("connection is not protected", metadata: ["warning": "\(warning)"])
            }
            let gateway = try Gateway(configuration, logger: logger)
            StopSignals.handle { _, isFirst in
                if isFirst { gateway.stop() } else { ThisProcess.leave(1) }
            }
            let shown = host.contains(":") ? "[\(host)]" : host
            try await gateway.run { port in Output.line("listening on http://\(shown):\(port)") }
        }
    }
}
