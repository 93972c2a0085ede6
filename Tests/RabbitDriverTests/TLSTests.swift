import Foundation
import RabbitDriver
import TestKit
import Testing

/// By name: librabbitmq 0.11 never looks at the addresses in a certificate.
func secureURL() throws -> String {
    try TestEnvironment.variable("TRUNKLINE_TEST_AMQPS_URL").replacingOccurrences(
        of: "@127.0.0.1:",
        with: "@localhost:"
    )
}

@Suite(.timeLimit(.minutes(2))) struct TLSTests {
    @Test func anAddressIsNotAName() async throws {
        let url = try secureURL().replacingOccurrences(of: "@localhost:", with: "@127.0.0.1:")
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open(url) { $0.reconnects = false }
        }
        #expect(error?.code == .tlsRefused)
        #expect(error?.message.contains("use a host name") == true)
    }

    @Test func aGoodCertificateIsAccepted() async throws {
        let client = try await Client.open(try secureURL())
        let queue = freshName("tls")
        let channel = try await client.channel()
        try await client.declare(queue, on: channel)
        // Larger than a TLS record: what OpenSSL holds is invisible to epoll.
        let body = [UInt8](repeating: 3, count: 500_000)
        try await client.publish(body, to: queue, on: channel)
        let (deliveries, _) = try await client.subscribe(queue, on: channel)
        try await eventually("the delivery") { deliveries.count == 1 }
        #expect(deliveries.all[0].body == body)
        try await client.delete(queue)
        await client.close()
    }

    @Test func aPublisherWorksOverTLS() async throws {
        let queue = freshName("tls-publish")
        let url = try secureURL()
        let client = try await Client.open(url)
        try await client.declare(queue, on: try await client.channel())
        let publisher = RabbitPublisher(configuration: try RabbitConfiguration(url: url, connectionName: "test"))
        let outcomes = await publisher.publish(
            (0..<3_000).map { RabbitMessage(exchange: "", routingKey: queue, body: Array("\($0)".utf8)) }
        )
        #expect(outcomes.allSatisfy { $0.isConfirmed })
        await publisher.shutdown()
        try await client.delete(queue)
        await client.close()
    }

    @Test(arguments: ["expired", "wronghost"])
    func aBadCertificateIsRefused(name: String) async throws {
        let error = try await openAgainstServer(certificate: name, query: "")
        #expect(error?.code == .tlsRefused)
        if name == "wronghost" { #expect(error?.message.contains("localhost") == true) }
    }

    @Test func anUnknownAuthorityIsRefused() async throws {
        // Without the test's own authority the system's count, and none of those signed this.
        let port = try port(of: try secureURL())
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqps://localhost:\(port)/") { $0.reconnects = false }
        }
        #expect(error?.code == .tlsRefused)
    }

    @Test func verificationCanBeTurnedOffByHand() async throws {
        var url = try #require(URLComponents(string: try secureURL()))
        url.query = "verify=none"
        let client = try await Client.open(try #require(url.string))
        await client.close()
    }

    /// `0.0.0.0` leads to this machine too, and is no address of it by the rule.
    @Test func plaintextThatWasAskedForAloudConnects() async throws {
        let local = try TestEnvironment.variable("TRUNKLINE_TEST_AMQP_URL")
        let remote = local.replacingOccurrences(of: "@127.0.0.1:", with: "@0.0.0.0:")
        #expect(throws: RabbitError.self) { _ = try RabbitConfiguration(url: remote, connectionName: "x") }
        let client = try await Client.open(remote + "?plaintext=allowed") { $0.reconnects = false }
        await client.close()
    }

    @Test func anAuthorityFileThatIsNotThereIsNamed() async throws {
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqps://localhost:1/?cacertfile=/no/such.pem") { $0.reconnects = false }
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains("/no/such.pem") == true)
    }

    /// A TLS server with a certificate of ours that must not be accepted.
    private func openAgainstServer(certificate: String, query: String) async throws -> RabbitError? {
        let folder = try TestEnvironment.variable("TRUNKLINE_TEST_TLS_DIR")
        let server = try await TLSServer.start(certificate: certificate, folder: folder)
        defer { server.stop() }
        let port = server.port
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqps://localhost:\(port)/?cacertfile=\(folder)/ca.pem\(query)") {
                $0.reconnects = false
                $0.connectTimeout = .seconds(20)
            }
        }
        return error
    }
}
