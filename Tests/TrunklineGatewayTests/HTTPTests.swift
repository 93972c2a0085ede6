import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// What is HTTP about it, and what clients get wrong.
@Suite struct HTTPTests {
    private func withGateway(_ body: (TestInstall, TestInstall.GatewayHandle, String) async throws -> Void) async throws
    {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway(["--trusted-proxies", "127.0.0.0/8"])
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            try await body(install, gateway, key)
        }
    }

    @Test func whatIsNotThereOrNotMeantIsAProblemDocument() async throws {
        try await withGateway { install, gateway, key in
            let json = notice("order:1")
            let type = "Content-Type"
            let cases: [(String, String, [(String, String)], String?, Int, String)] = [
                ("GET", "/", [], nil, 404, "not-found"), ("GET", "/v1/messages/", [], nil, 404, "not-found"),
                ("GET", "/v1/messages/%zz", [], nil, 404, "not-found"),
                ("GET", "/v1/messages", [], nil, 405, "method-not-allowed"),
                ("DELETE", "/v1/messages/1", [], nil, 405, "method-not-allowed"),
                ("POST", "/v1/messages?dry=1", [], json, 400, "unknown-parameter"),
                ("GET", "/v1/messages/1?by=id&by=id", [], nil, 400, "unknown-parameter"),
                ("GET", "/v1/messages/1?by=name", [], nil, 400, "unknown-parameter"),
                ("GET", "/v1/messages/1?by=%f", [], nil, 400, "malformed"),
                ("POST", "/v1/messages", [("Accept", "text/html")], json, 406, "not-acceptable"),
                ("POST", "/v1/messages", [(type, "text/plain")], json, 415, "unsupported-media-type"),
                (
                    "POST", "/v1/messages", [(type, "application/json; charset=utf-16")], json, 415,
                    "unsupported-media-type"
                ),
                ("POST", "/v1/messages", [("Content-Encoding", "gzip")], json, 415, "unsupported-media-type"),
                ("POST", "/v1/messages", [], "", 400, "malformed"), ("POST", "/v1/messages", [], "{", 400, "malformed"),
                ("POST", "/v1/messages", [], json + "x", 400, "malformed"),
                ("POST", "/v1/messages", [], #"{"body":"a","body":"b"}"#, 400, "malformed"),
                ("POST", "/v1/messages", [], String(repeating: "[", count: 60_000), 400, "malformed"),
                ("POST", "/v1/messages", [], json.replacing("order:1", with: "order 1"), 400, "invalid-field"),
                ("POST", "/v1/messages", [], notice("order:1", to: "972501234567@g.us"), 422, "policy"),
                ("POST", "/v1/messages", [], notice("a", more: #","schema":"trunkline.send.v2""#), 400, "malformed"),
                ("POST", "/v1/messages", [], notice("a", more: #","notBefore":1e400"#), 400, "invalid-field"),
                ("POST", "/v1/messages/1/cancel", [], "{}", 400, "malformed"),
            ]
            for (method, path, headers, json, status, word) in cases {
                let answer = try await gateway.ask(method, path, key: key, headers: headers, json: json)
                #expect(answer.status == status && kind(answer) == word, "\(method) \(path) \(headers): \(answer.text)")
                #expect(answer["Content-Type"] == "application/problem+json" && answer["Cache-Control"] == "no-store")
                #expect(answer.member("status") == "\(status)" && answer.member("instance") == answer["X-Request-Id"])
                #expect(answer.member("title") != nil && answer.member("detail") != nil)
            }
            #expect(try await gateway.ask("PUT", "/v1/messages").headers.contains { $0 == ("allow", "POST") })
            for accept in ["*/*", "application/*;q=0.5", "text/html, application/json"] {
                let answer = try await gateway.ask("GET", "/healthz", headers: [("Accept", accept)])
                #expect(answer.status == 200, "\(accept)")
            }
            #expect(try await install.jobs() == 0)
        }
    }

    @Test func notUTF8AndControlCharactersAreRefused() async throws {
        try await withGateway { install, gateway, key in
            let bodies: [[UInt8]] = [
                Array(notice("order:1", body: "X").utf8).map { $0 == UInt8(ascii: "X") ? 0xFF : $0 },
                [0xFF, 0xFE] + Array(notice("order:1").utf8),
                [0xEF, 0xBB, 0xBF] + Array(notice("order:1").utf8),
                Array(notice("order:1", body: #"a\u0000b"#).utf8), Array(notice("order:1", body: #"\ud800"#).utf8),
                Array(notice("order:1", body: "a\u{7}b").utf8),
            ]
            for body in bodies {
                let answer = try await HTTPConnection.ask(
                    "POST",
                    "/v1/messages",
                    headers: [("Authorization", "Bearer \(key)"), ("Content-Type", "application/json")],
                    body: body,
                    of: gateway.port
                )
                #expect(answer.status == 400, "\(body.prefix(20)): \(answer.text)")
            }
            #expect(try await install.jobs() == 0)
        }
    }

    @Test func whatIsTooLargeIsRefused() async throws {
        try await withGateway { install, gateway, key in
            let headers = [("Authorization", "Bearer \(key)"), ("Content-Type", "application/json")]
            for (path, longest) in [
                ("/v1/messages", 65_536), ("/v1/deliveries", 65_536), ("/v1/messages/batch", 8 << 20),
            ] {
                let large = [UInt8](repeating: 0x20, count: longest + 1)
                let answer = try await HTTPConnection.ask("POST", path, headers: headers, body: large, of: gateway.port)
                #expect(answer.status == 413 && kind(answer) == "too-large", "\(path)")
                // Announced, and never sent.
                let announced = await offPool { () -> HTTPAnswer? in
                    let connection = HTTPConnection(to: gateway.port)
                    let lines = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
                    connection?.write(
                        "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\(lines)\r\n"
                    )
                    return connection?.readAnswer()
                }
                #expect(announced?.status == 413, "\(path)")
            }
            let chunked = await offPool { () -> HTTPAnswer? in
                let connection = HTTPConnection(to: gateway.port)
                let lines = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
                connection?.write("POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\(lines)\r\n")
                let chunk = "4000\r\n" + String(repeating: " ", count: 0x4000) + "\r\n"
                for _ in 0..<5 { connection?.write(chunk) }
                return connection?.readAnswer()
            }
            #expect(chunked?.status == 413)
            let broken = await offPool { () -> HTTPAnswer? in
                let connection = HTTPConnection(to: gateway.port)
                let lines = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
                connection?.write(
                    "POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\(lines)\r\nzz\r\n"
                )
                return connection?.readAnswer()
            }
            #expect(broken?.status == 400)
            let headed = try await gateway.ask(
                "GET",
                "/healthz",
                headers: (0..<3).map { ("X-Much-\($0)", String(repeating: "h", count: 15_000)) }
            )
            #expect([400, 431].contains(headed.status))
            #expect(try await gateway.ask("GET", "/healthz").status == 200)
            #expect(try await install.jobs() == 0)
        }
    }

    @Test func halfABodyIsNothingAndPipelinedRequestsAreAnsweredInOrder() async throws {
        try await withGateway { install, gateway, key in
            let headers = [("Authorization", "Bearer \(key)"), ("Content-Type", "application/json")]
            @Sendable func request(_ name: String) -> [UInt8] {
                HTTPConnection.request("POST", "/v1/messages", headers: headers, body: Array(notice(name).utf8))
            }
            await offPool {
                _ = HTTPConnection(to: gateway.port)?.write(Array(request("half").dropLast(10)))
            }
            let answers = await offPool { () -> [HTTPAnswer?] in
                let connection = HTTPConnection(to: gateway.port)
                connection?.write((1...20).flatMap { request("order:\($0)") })
                return (1...20).map { _ in connection?.readAnswer() }
            }
            #expect(answers.map { $0?.status } == Array(repeating: 202, count: 20))
            #expect(answers.map { $0?.member("key") } == (1...20).map { "order:\($0)" })
            let keys = try await install.text("select string_agg(key, ' ' order by id) from trunkline.jobs")
            #expect(keys == (1...20).map { "order:\($0)" }.joined(separator: " "))
        }
    }

    @Test func whoWaitsToBeToldToGoOnIsTold() async throws {
        try await withGateway { _, gateway, key in
            let body = notice("order:1")
            let answer = await offPool { () -> HTTPAnswer? in
                let connection = HTTPConnection(to: gateway.port)
                connection?.write(
                    "POST /v1/messages HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: \(body.utf8.count)\r\n"
                        + "Authorization: Bearer \(key)\r\nContent-Type: application/json\r\n\r\n"
                )
                guard connection?.readInterim() == 100 else { return nil }
                connection?.write(body)
                return connection?.readAnswer()
            }
            #expect(answer?.status == 202)
        }
    }

    @Test func aClientThatDoesNotComeToTheEndOfItsHeadIsDropped() async throws {
        try await withGateway { _, gateway, _ in
            let isDropped = await offPool { () -> Bool in
                let connection = HTTPConnection(to: gateway.port)
                connection?.write("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                return connection?.isEnded() == true
            }
            #expect(isDropped)
        }
    }

    @Test func requestsHaveIDsAndAddressesAndTheLogHasNobodysData() async throws {
        try await withGateway { _, gateway, key in
            let sent = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: key,
                headers: [("X-Request-Id", "shop-7.42"), ("X-Forwarded-For", "203.0.113.9, 127.0.0.2")],
                json: notice("order:secret-name", body: "TEXT-OF-A-CUSTOMER")
            )
            #expect(sent.status == 202 && sent["X-Request-Id"] == "shop-7.42")
            for bad in ["a b", "a\"b", String(repeating: "x", count: 65), "ü"] {
                let answer = try await gateway.ask("GET", "/healthz", headers: [("X-Request-Id", bad)])
                let id = try #require(answer["X-Request-Id"])
                #expect(id != bad && id.count == 16)
            }
            _ = try await gateway.ask("GET", "/v1/messages/order:secret-name", key: key)
            _ = try await gateway.ask("GET", "/v1/messages/+972501234567?by=key", key: key)
            _ = try await gateway.ask("GET", "/nowhere/TOKEN-IN-A-PATH", key: key)
            let log = gateway.logText
            let line = try #require(log.split(separator: "\n").first { $0.contains("request=shop-7.42") })
            #expect(
                line.contains("client=203.0.113.9") && line.contains("route=/v1/messages ")
                    && line.contains("status=202")
            )
            for data in ["secret-name", "TEXT-OF", "972501234567", "TOKEN-IN", key] {
                #expect(!log.contains(data), "\(data)")
            }
        }
    }
}
