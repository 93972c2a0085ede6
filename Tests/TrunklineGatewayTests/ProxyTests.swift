import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Gateways behind Debian's nginx, as users run them.
@Suite struct ProxyTests {
    /// Where nginx calls from: another address than the clients'.
    private static let proxy = "127.0.0.9"

    /// The clients' addresses that the log has of requests to senders' door.
    private static func clients(_ gateway: TestInstall.GatewayHandle, status: Int) -> [String] {
        gateway.logText.split(separator: "\n").filter {
            $0.contains("route=/in/{token}") && $0.contains("status=\(status)")
        }.compactMap { line in
            line.firstMatch(of: /client=([0-9a-f.:]+)/).map { String($0.1) }
        }
    }

    @Test func onlyTheTrustedProxysWordAboutAClientCounts() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway(["--trusted-proxies", Self.proxy])
            let path = try await install.add(.shopify, as: "shop")
            try await gateway.knows(path)
            try await PrivateNginx.with([gateway.port], from: Self.proxy) { nginx in
                let body = Array(TestSender.shopify.body.utf8)
                let headers = TestSender.shopify.headers(path: path)
                func post(_ more: TestSender.Headers, _ port: UInt16) async throws -> Int {
                    try await HTTPConnection.ask("POST", path, headers: headers + more, body: body, of: port, from: 7)
                        .status
                }
                #expect(try await post([], nginx.port) == 200, "\(nginx.errors)")
                // What a client says of itself is passed on by the proxy, and is not believed.
                #expect(try await post([("X-Forwarded-For", "203.0.113.7")], nginx.port) == 200)
                #expect(try await post([("X-Forwarded-For", "203.0.113.7")], gateway.port) == 200)
                try await install.wait(for: "the log") { Self.clients(gateway, status: 200).count == 3 }
                #expect(Self.clients(gateway, status: 200) == ["127.0.0.7", "127.0.0.7", "127.0.0.7"])
                #expect(try await install.events() == 1)
                #expect(!gateway.logText.contains(path))
            }
        }
    }

    @Test func connectionsAreKeptAndLimitsAreThoseOfTheGateway() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let path = try await install.add(.shopify, as: "shop")
            try await gateway.knows(path)
            try await PrivateNginx.with([gateway.port], from: Self.proxy) { nginx in
                func post(_ body: String) async throws -> HTTPAnswer {
                    let headers = TestSender.shopify.headers(body, path: path)
                    return try await HTTPConnection.ask(
                        "POST",
                        path,
                        headers: headers,
                        body: Array(body.utf8),
                        of: nginx.port
                    )
                }
                for _ in 0..<20 { #expect(try await post(TestSender.order).status == 200, "\(nginx.errors)") }
                #expect(Self.connections(from: Self.proxy, to: gateway.port) == 1, "all over one connection")
                // A body that nginx keeps in a file before it passes it on.
                let most = TestSender.order + String(repeating: " ", count: 1_048_576 - TestSender.order.utf8.count)
                #expect(try await post(most).status == 200, "\(nginx.errors)")
                let more = try await post(most + " ")
                #expect(more.status == 413 && kind(more) == "too-large")
                // Chunked, as some senders write.
                let headers = TestSender.shopify.headers(path: path).map { "\($0.0): \($0.1)\r\n" }.joined()
                let chunks =
                    "POST \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\(headers)\r\n"
                    + "\(String(TestSender.order.utf8.count, radix: 16))\r\n\(TestSender.order)\r\n0\r\n\r\n"
                for port in [nginx.port, gateway.port] {
                    let answer = await offPool { () -> HTTPAnswer? in
                        guard let connection = HTTPConnection(to: port) else { return nil }
                        connection.write(chunks)
                        return connection.readAnswer()
                    }
                    #expect(answer?.status == 200, "\(nginx.errors)")
                }
            }
            try await PrivateNginx.with([gateway.port], settings: "client_body_timeout 1s;") { nginx in
                // Half a body ends at the proxy: the gateway never hears of it.
                func heard() -> Int {
                    gateway.logText.split(separator: "\n").count { $0.contains("route=/in/{token}") }
                }
                let before = heard()
                let request = HTTPConnection.request(
                    "POST",
                    path,
                    headers: TestSender.shopify.headers(path: path),
                    body: Array(TestSender.order.utf8)
                )
                let answer = await offPool { () -> HTTPAnswer? in
                    guard let connection = HTTPConnection(to: nginx.port) else { return nil }
                    connection.write(Array(request.dropLast(5)))
                    return connection.readAnswer()
                }
                #expect(answer == nil || answer?.status == 408)
                #expect(heard() == before)
            }
            #expect(try await install.events() == 1)
        }
    }

    /// Connections of this machine that somebody at `address` has, or had a moment ago, with a port.
    private static func connections(from address: String, to port: UInt16) -> Int {
        let bytes = address.split(separator: ".").compactMap { UInt8($0) }
        // The kernel writes addresses as numbers of this machine, which is little-endian.
        let remote = bytes.reversed().map { String(format: "%02X", $0) }.joined()
        let local = ":" + String(format: "%04X", port)
        return TestKit.text(of: "/proc/net/tcp").split(separator: "\n").filter { line in
            let columns = line.split(separator: " ")
            return columns.count > 3 && columns[1].hasSuffix(local) && columns[2].hasPrefix(remote + ":")
        }.count
    }

    @Test func oneOfTwoGatewaysIsKilledAndNobodyHearsOfIt() async throws {
        try await TestInstall.with { install in
            let gateways = [try await install.startGateway(), try await install.startGateway()]
            let path = try await install.add(.custom, as: "custom")
            for gateway in gateways { try await gateway.knows(path) }
            let tally = Tally()
            try await PrivateNginx.with(gateways.map(\.port)) { nginx in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for client in 0..<6 {
                        group.addTask {
                            for number in client * 40..<client * 40 + 40 {
                                tally.asked()
                                let headers = TestSender.custom.headers(path: path).filter { $0.0 != "Idempotency-Key" }
                                // A gateway of a busy machine may say 503, for which nginx passes it over a while.
                                try await eventually("an answer to \(number)") {
                                    let answer = try await HTTPConnection.ask(
                                        "POST",
                                        path,
                                        headers: headers + [("Idempotency-Key", "e:\(number)")],
                                        body: Array(TestSender.paid("\(number)").utf8),
                                        of: nginx.port
                                    )
                                    if answer.status == 200 { tally.answered("\(number)") }
                                    return ![502, 503].contains(answer.status)
                                }
                            }
                        }
                    }
                    group.addTask {
                        try await eventually("requests to be under way") { tally.askedSoFar > 40 }
                        gateways[0].kill()
                    }
                    try await group.waitForAll()
                }
                #expect(!gateways[0].isRunning && gateways[1].isRunning)
                #expect(tally.names.count == 240, "\(nginx.errors.suffix(2_000))")
            }
            // What came while the database was slow is in the broker.
            _ = try install.startWorker()
            try await install.wait(for: "every event") { try await install.events() == 240 }
            #expect(try await install.eventJobs() == 240)
        }
    }
}
