import HTTPTypes
import HummingbirdTesting
import NIOCore
import Testing

@testable import TrunklineSimulator

/// The table of the contract, row by row, on a live server.
@Suite struct TableTests {
    private func withClient(
        _ settings: SimulatorSettings = SimulatorSettings(),
        _ body: @Sendable (any TestClientProtocol) async throws -> Void
    ) async throws {
        var options = SimulatorOptions()
        options.port = 0
        options.lines = 1
        options.settings = settings
        let simulator = try Simulator(options: options)
        let webhooks = WebhookSender(simulator: simulator, options: options)
        let application = SimulatorServer.application(
            simulator,
            webhooks,
            options,
            logger: SimulatorServer.logger(options)
        )
        try await application.test(.live, body)
        await webhooks.stop()
    }

    private func headers(token: String? = "ezw_line_line-01", key: String? = "order:1:ready") -> HTTPFields {
        var headers = HTTPFields()
        if let token { headers[.authorization] = "Bearer \(token)" }
        if let key { headers[HTTPField.Name("Idempotency-Key")!] = key }
        headers[.contentType] = "application/json; charset=utf-8"
        return headers
    }

    private func post(
        _ client: any TestClientProtocol,
        _ headers: HTTPFields,
        _ body: String,
        to path: String = "/api/v1/messages/text"
    ) async throws -> (status: Int, json: JSON, text: String) {
        try await client.execute(uri: path, method: .post, headers: headers, body: ByteBuffer(string: body)) { answer in
            let bytes = Array(answer.body.readableBytesView)
            let json = (try? JSON.parse(bytes)) ?? .null
            return (answer.status.code, json, String(decoding: bytes, as: UTF8.self))
        }
    }

    @Test func noTokenABadTokenAndAWorkspaceTokenAreRefused() async throws {
        try await withClient { client async throws in
            for token in [nil, "ezw_line_unknown", "eyJraWQiOiJ3b3Jrc3BhY2UifQ.e30.c2ln", "ezw_line_", ""] as [String?]
            {
                let answer = try await post(client, headers(token: token), goodBody)
                #expect(answer.status == 401)
                #expect(answer.json["error"]?["code"] == .string("unauthorized"))
            }
            let health = try await client.execute(uri: "/api/v1/health", method: .get)
            #expect(health.status.code == 401)
        }
    }

    @Test func aGoodSendIsQueuedAndItsReplayIsTheSameAttempt() async throws {
        try await withClient { client async throws in
            let first = try await post(client, headers(), goodBody)
            #expect(first.status == 202)
            #expect(first.json["status"] == .string("queued"))
            #expect(first.json["lineId"] == .string("line-01"))
            let attempt = try #require(first.json["attemptId"]?.string)
            #expect(attempt.hasPrefix("att_"))
            let replay = try await post(client, headers(), goodBody)
            #expect(replay.status == 202)
            #expect(replay.json == first.json)
            let conflict = try await post(client, headers(), goodBody + " ")
            #expect(conflict.status == 409)
            #expect(conflict.json["error"]?["code"] == .string("idempotency_conflict"))
            let report = try await client.execute(uri: "/__sim/report", method: .get) {
                try JSON.parse(Array($0.body.readableBytesView))
            }
            #expect(report["messages"] == .integer(1))
            #expect(report["replays"] == .integer(1))
            #expect(report["conflicts"] == .integer(1))
            #expect(report["askedAgainAfterAnswer"] == .integer(1))
        }
    }

    @Test func aSendWithoutAKeyIsRefused() async throws {
        try await withClient { client async throws in
            let answer = try await post(client, headers(key: nil), goodBody)
            #expect(answer.status == 400)
            #expect(answer.json["error"]?["code"] == .string("idempotency_key_required"))
        }
    }

    @Test(arguments: [
        #"{"body":"text"}"#,
        #"{"to":"34600111222","body":"text"}"#,
        #"{"to":"+0600111222","body":"text"}"#,
        #"{"to":"+346001","body":"text"}"#,
        #"{"to":"+3460011122233445","body":"text"}"#,
        #"{"to":"123@g.us","body":"text"}"#,
        #"{"to":"+34600111222"}"#,
        #"{"to":"+34600111222","body":""}"#,
        #"{"to":"+34600111222","body":" \n "}"#,
        #"{"to":"+34600111222","body":7}"#,
        #"{"to":"+34600111222","body":"text","ctaUrlButton":{"displayText":"See"}}"#,
        #"{"to":"+34600111222","body":"text","ctaUrlButton":{"url":"https://shop.example"}}"#,
        #"{"to":"+34600111222","body":"text","ctaUrlButton":{"displayText":"","url":"https://shop.example"}}"#,
        #"{"to":"+34600111222","body":"text","ctaUrlButton":{"displayText":"See","url":"shop.example/o/1"}}"#,
        #"{"to":"+34600111222","body":"text","ctaUrlButton":"See"}"#,
        #"["+34600111222","text"]"#,
        #"{"to":"+34600111222","body":"text""#,
        "",
    ])
    func aBadBodyIsRefused(_ body: String) async throws {
        try await withClient { client async throws in
            let answer = try await post(client, headers(), body)
            #expect(answer.status == 400)
            #expect(answer.json["error"]?["code"] == .string("invalid_request"))
        }
    }

    @Test func aBodyThatIsNotAnnouncedAsJSONIsRefused() async throws {
        try await withClient { client async throws in
            var form = headers()
            form[.contentType] = "application/x-www-form-urlencoded"
            #expect(try await post(client, form, goodBody).status == 415)
            form[.contentType] = nil
            #expect(try await post(client, form, goodBody).status == 415)
        }
        var settings = SimulatorSettings()
        settings.requireContentType = false
        try await withClient(settings) { client async throws in
            var form = headers()
            form[.contentType] = nil
            #expect(try await post(client, form, goodBody).status == 202)
        }
    }

    @Test func aBodyOverOneMebibyteIsRefused() async throws {
        try await withClient { client async throws in
            let body = #"{"to":"+34600111222","body":"\#(String(repeating: "x", count: 1_048_576))"}"#
            #expect(try await post(client, headers(), body).status == 413)
        }
    }

    @Test(arguments: [(SimulatorSettings.Profile.queue, 202), (.conflict, 409), (.unavailable, 503)])
    func aSendOnASickLineFollowsTheProfile(_ profile: SimulatorSettings.Profile, _ status: Int) async throws {
        var settings = SimulatorSettings()
        settings.profile = profile
        try await withClient(settings) { client async throws in
            let state = try await client.execute(
                uri: "/__sim/lines/line-01/state",
                method: .put,
                body: ByteBuffer(string: #"{"state":"qr_required"}"#)
            )
            #expect(state.status.code == 200)
            let answer = try await post(client, headers(), goodBody)
            #expect(answer.status == status)
            if status != 202 { #expect(answer.json["error"]?["code"] == .string("line_not_sendable")) }
            let report = try await client.execute(uri: "/__sim/report", method: .get) {
                try JSON.parse(Array($0.body.readableBytesView))
            }
            #expect(report["messages"] == .integer(status == 202 ? 1 : 0))
            #expect(report["acceptedWhileNotSendable"] == .integer(status == 202 ? 1 : 0))
        }
    }

    @Test func mediaAnswers501UntilItIsSwitchedOn() async throws {
        try await withClient { client async throws in
            let media = #"{"to":"+34600111222","url":"https://shop.example/invoice.pdf"}"#
            #expect(try await post(client, headers(), media, to: "/api/v1/messages/media").status == 501)
            _ = try await client.execute(
                uri: "/__sim/settings",
                method: .put,
                body: ByteBuffer(string: #"{"mediaEnabled":true}"#)
            )
            #expect(try await post(client, headers(), media, to: "/api/v1/messages/media").status == 202)
        }
    }

    @Test func unknownPathsAndMethodsAreNotFound() async throws {
        try await withClient { client async throws in
            #expect(try await post(client, headers(), goodBody, to: "/api/v1/messages").status == 404)
            #expect(try await post(client, headers(), goodBody, to: "/api/lines/line-01/send").status == 404)
            #expect(try await post(client, headers(), goodBody, to: "/").status == 404)
            let method = try await client.execute(uri: "/api/v1/messages/text", method: .get, headers: headers())
            #expect(method.status.code == 405)
        }
    }

    @Test func theBodyOfA202IsSwitchable() async throws {
        let expected: [(SimulatorSettings.AcceptedBody, @Sendable (String, JSON) -> Bool)] = [
            (.status, { _, json in json["attemptId"] != nil && json["status"] != nil }),
            (.id, { _, json in json["id"] != nil && json["attemptId"] == nil }),
            (.message, { _, json in json["message"]?["id"] != nil && json["message"]?["status"] == .string("queued") }),
            (.object, { text, _ in text == "{}" }),
            (.empty, { text, _ in text.isEmpty }),
            (.html, { text, _ in text.hasPrefix("<!doctype html>") }),
            (.large, { text, json in text.utf8.count > 70 * 1_024 && json["attemptId"] != nil }),
        ]
        #expect(expected.count == SimulatorSettings.AcceptedBody.allCases.count)
        for (body, isRight) in expected {
            var settings = SimulatorSettings()
            settings.acceptedBody = body
            settings.replayStatus = 200
            try await withClient(settings) { client async throws in
                let first = try await post(client, headers(), goodBody)
                #expect(first.status == 202)
                #expect(isRight(first.text, first.json), "\(body)")
                let replay = try await post(client, headers(), goodBody)
                #expect(replay.status == 200)
                #expect(replay.text == first.text)
            }
        }
    }

    @Test func webhooksAreRegisteredByTheRules() async throws {
        try await withClient { client async throws in
            func register(_ body: String) async throws -> (status: Int, json: JSON, text: String) {
                try await post(client, headers(key: nil), body, to: "/api/v1/webhooks")
            }
            let good = try await register(#"{"targetUrl":"https://hooks.example.net/x"}"#)
            #expect(good.status == 201)
            #expect(good.json["events"] == .array(WebhookRegistration.knownEvents.map { .string($0) }))
            #expect(good.json["payloadFormat"] == .string("whapi"))
            #expect(
                try await register(#"{"url":"http://hooks.example.net/x","events":["statuses.post"]}"#).status == 201
            )
            for target in [
                "http://localhost/x", "http://a.localhost/x", "http://127.0.0.1:8080/x", "http://10.1.2.3/x",
                "http://172.16.0.1/x", "http://172.31.255.1/x", "https://192.168.1.1/x", "http://169.254.1.1/x",
                "http://[::1]/x", "http://[fe80::1]/x", "http://[fd00::1]/x", "http://[::ffff:10.0.0.1]/x",
                "http://user@127.0.0.1/x", "http://0.0.0.0/x", "ftp://hooks.example.net/x", "hooks.example.net", "",
            ] {
                #expect(try await register(#"{"targetUrl":"\#(target)"}"#).status == 400, "\(target)")
            }
            for body in [
                "{}", "[]", "not json", #"{"targetUrl":"https://hooks.example.net/x","payloadFormat":"meta"}"#,
                #"{"targetUrl":"https://hooks.example.net/x","events":["calls.post"]}"#,
                #"{"targetUrl":"https://hooks.example.net/x","enabled":"yes"}"#,
            ] {
                #expect(try await register(body).status == 400, "\(body)")
            }
            #expect(try await register(#"{"targetUrl":"https://172.32.0.1/x"}"#).status == 201)
        }
        var settings = SimulatorSettings()
        settings.allowPrivateWebhooks = true
        try await withClient(settings) { client async throws in
            let body = #"{"targetUrl":"http://127.0.0.1:8080/x"}"#
            #expect(try await post(client, headers(key: nil), body, to: "/api/v1/webhooks").status == 201)
        }
    }
}
