import Testing

@testable import TrunklineSimulator

@Suite struct ControlTests {
    @Test(arguments: [
        ("PUT", "/lines/line-01/state", #"{"state":"sleepy"}"#, "unknown state 'sleepy'"),
        ("PUT", "/lines/line-01/state", #"{"state":"flapping"}"#, "needs 'periodMs'"),
        ("PUT", "/lines/line-01/state", #"{"state":"sendable","periodMs":5}"#, "belong to 'flapping'"),
        ("PUT", "/lines/line-01/state", #"{"status":"sendable"}"#, "unknown state field 'status'"),
        ("PUT", "/lines/line-01/state", "{}", "give 'state'"),
        (
            "PUT", "/lines/line-01/state",
            #"{"lifecycleState":"dancing","effectiveSendState":"sendable","sendable":true}"#, "'dancing'"
        ),
        ("PUT", "/lines/line-01/state", #"{"lifecycleState":"connected"}"#, "come together"),
        ("PUT", "/lines/nobody/state", #"{"state":"sendable"}"#, "no line 'nobody'"),
        ("PUT", "/lines/no%20good", "{}", "no line id"),
        ("PUT", "/lines/line-01", #"{"token":"eyJ"}"#, "'token' must look like"),
        ("PUT", "/lines/line-01", #"{"colour":"red"}"#, "unknown line field 'colour'"),
        ("DELETE", "/lines/nobody", "", "no line 'nobody'"),
        ("POST", "/lines", "{}", "'count' is missing"),
        ("PUT", "/settings", #"{"profile":"D"}"#, "unknown profile 'D'; known: A, B, C"),
        ("PUT", "/settings", #"{"profil":"A"}"#, "unknown setting field 'profil'"),
        ("PUT", "/settings", #"{"keyMemory":"never"}"#, "'keyMemory'"),
        ("PUT", "/settings", #"{"replayStatus":203}"#, "one of 200, 201, 202, 204, 208, 409"),
        ("PUT", "/settings", #"{"replayBody":"none"}"#, "unknown replayBody 'none'; known: status, id"),
        ("PUT", "/settings", #"{"inFlight":"maybe"}"#, "known: replay, conflict, message"),
        ("PUT", "/settings", #"{"inFlightMs":-1}"#, "'inFlightMs' must be a whole number from 0"),
        ("PUT", "/settings", #"{"webhooks":{"lost":true}}"#, "unknown webhooks field 'lost'"),
        ("PUT", "/settings", #"{"profile":"A","profile":"B"}"#, "given twice"),
        ("PUT", "/settings", "[]", "a JSON object was expected"),
        ("POST", "/faults", #"{"kind":"earthquake"}"#, "unknown fault 'earthquake'; known: latency"),
        ("POST", "/faults", "{}", "'kind' is missing"),
        ("POST", "/faults", #"{"kind":"latency"}"#, "'latency' needs 'ms'"),
        ("POST", "/faults", #"{"kind":"latency","minMs":9,"maxMs":1}"#, "'latency' needs 'ms'"),
        ("POST", "/faults", #"{"kind":"hang","ms":5}"#, "unknown fault field 'ms'"),
        ("POST", "/faults", #"{"kind":"hang","probability":1.5}"#, "'probability' must be a number from 0.0 to 1.0"),
        ("POST", "/faults", #"{"kind":"hang","on":"everything"}"#, "unknown fault endpoint"),
        ("POST", "/faults", #"{"kind":"hang","line":"nobody"}"#, "no line 'nobody'"),
        ("POST", "/faults", #"{"kind":"status"}"#, "needs 'status'"),
        ("POST", "/faults", #"{"kind":"status","status":429,"retryAfter":1,"retryAfterForm":"soon"}"#, "'soon'"),
        ("POST", "/faults", #"{"kind":"redirect","location":"http://a\r\nX: y"}"#, "'location'"),
        ("POST", "/faults", #"[{"kind":"hang"},{"kind":"nonsense"}]"#, "unknown fault 'nonsense'"),
        ("DELETE", "/faults/99", "", "no fault '99'"),
        ("DELETE", "/faults?lines=x", "", "unknown parameter 'lines'"),
        ("POST", "/answers/hold", #"{"for":"ever"}"#, "unknown hold field 'for'"),
        ("POST", "/answers/hold", #"{"lines":["nobody"]}"#, "no line 'nobody'"),
        ("POST", "/answers/release", #"{"line":"line-01"}"#, "unknown release field"),
        ("GET", "/inflight?waiting=tea", "", "unknown waiting 'tea'"),
        ("GET", "/messages?limit=0", "", "'limit'"),
        ("GET", "/deliveries?state=lost", "", "unknown state 'lost'"),
        ("POST", "/keys/forget", #"{"kex":"k"}"#, "unknown forget field 'kex'"),
        ("POST", "/reset", #"{"all":true}"#, "unknown reset field 'all'"),
        ("POST", "/reset", "not json", "not JSON"),
        ("POST", "/explode", "", "is not known; known: GET /lines"),
        ("PATCH", "/lines", "", "is not known"),
    ])
    func whatIsNotKnownIsRefusedInWords(_ method: String, _ path: String, _ body: String, _ words: String) async throws
    {
        try await withSimulator { server async throws in
            let before = try await server.ask("GET", "/lines").text + server.ask("GET", "/settings").text
            let answer = try await server.ask(method, path, body)
            #expect((400...409).contains(answer.status))
            let message = answer.json["error"]?["message"]?.string ?? answer.text
            #expect(message.contains(words), "\(message)")
            // Nothing was half done.
            #expect(try await server.ask("GET", "/lines").text + server.ask("GET", "/settings").text == before)
            #expect(try await server.ask("GET", "/faults").json["faults"] == .array([]))
            #expect(try await server.ask("GET", "/inflight").json["holding"] == .bool(false))
        }
    }

    @Test func settingsAreReadBackAsTheyWereSet() async throws {
        try await withSimulator { server async throws in
            let change = #"{"profile":"C","acceptedBody":"html","keyMemory":2.5,"webhooks":{"lostStatus":true}}"#
            #expect(try await server.ask("PUT", "/settings", change).status == 200)
            let settings = try await server.ask("GET", "/settings").json
            #expect(settings["profile"] == .string("C"))
            #expect(settings["acceptedBody"] == .string("html"))
            #expect(settings["keyMemory"] == .double(2.5))
            #expect(settings["webhooks"]?["lostStatus"] == .bool(true))
            #expect(settings["replayStatus"] == .integer(202))
            // What was read can be sent back.
            #expect(try await server.ask("PUT", "/settings", server.ask("GET", "/settings").text).status == 200)
        }
    }

    @Test func settingsCanBeGivenAsWords() throws {
        var settings = SimulatorSettings()
        try settings.set("profile", to: "B")
        try settings.set("keyMemory", to: "30")
        try settings.set("openTokens", to: "true")
        try settings.set("keyScope", to: "line")
        #expect(settings.profile == .conflict)
        #expect(settings.keyMemory == .seconds(30))
        #expect(settings.openTokens)
        #expect(settings.keyScope == .line)
        #expect(throws: SimulatorError.self) { try settings.set("profile", to: "Z") }
        #expect(throws: SimulatorError.self) { try settings.set("colour", to: "red") }
    }

    @Test func linesAreAddedListedAndRemoved() async throws {
        try await withSimulator { server async throws in
            #expect(try await server.ask("PUT", "/lines/shop", #"{"token":"ezw_line_shop-token-1234"}"#).status == 201)
            #expect(
                try await server.ask("POST", "/lines", #"{"count":3,"prefix":"bulk-"}"#).json["added"] == .integer(3)
            )
            let text = try await server.ask("GET", "/lines").text
            #expect(text.contains(#""tokenEnd":"1234""#))
            #expect(!text.contains("shop-token"))
            #expect(try await server.send(key: "a", token: "ezw_line_bulk-03")?.status == 202)
            #expect(try await server.ask("DELETE", "/lines/shop").status == 200)
            #expect(try await server.send(key: "a", token: "ezw_line_shop-token-1234")?.status == 401)
        }
    }

    @Test func faultsAreListedWithTheirHitsAndRemovedOneByOne() async throws {
        try await withSimulator { server async throws in
            let list = #"[{"kind":"status","status":500,"line":"line-01"},{"kind":"latency","ms":1}]"#
            #expect(try await server.ask("POST", "/faults", list).status == 201)
            _ = try await server.send(key: "a")
            guard case .array(let faults)? = try await server.ask("GET", "/faults").json["faults"] else {
                throw TestFailure("no faults")
            }
            #expect(faults.map { $0["hits"] } == [.integer(1), .integer(1)])
            #expect(try await server.ask("DELETE", "/faults/1").json["removed"] == .integer(1))
            #expect(try await server.send(key: "a")?.status == 202)
            #expect(try await server.ask("DELETE", "/faults").json["removed"] == .integer(1))
        }
    }

    @Test func onlyLoopbackIsListenedOnUnlessAllowed() async throws {
        for host in ["0.0.0.0", "192.168.1.5", "example.net", "::"] {
            var options = SimulatorOptions()
            options.host = host
            options.port = 0
            await #expect(throws: SimulatorError.self) { try await SimulatorServer.start(options) }
        }
        var options = SimulatorOptions()
        options.host = "0.0.0.0"
        options.port = 0
        options.allowsRemote = true
        let server = try await SimulatorServer.start(options)
        #expect(server.port != 0)
        try await server.stop()
    }

    @Test func aBusyPortIsOneClearSentence() async throws {
        try await withSimulator { server async throws in
            var options = SimulatorOptions()
            options.port = server.port
            do {
                _ = try await SimulatorServer.start(options)
                Issue.record("two servers on one port")
            } catch let error as SimulatorError {
                #expect(error.code == .cannotListen)
                #expect(error.description.contains("another program listens there"))
            }
        }
    }

    @Test func addressesAreRead() throws {
        var options = SimulatorOptions()
        try options.setListen("127.0.0.1:0")
        #expect(options.host == "127.0.0.1" && options.port == 0)
        try options.setListen("[::1]:3010")
        #expect(options.host == "::1" && options.port == 3010)
        for text in ["3010", "localhost", ":3010", "127.0.0.1:99999", "127.0.0.1:x"] {
            #expect(throws: SimulatorError.self) { try options.setListen(text) }
        }
        options.lines = 120
        #expect(options.lineIDs.first == "line-001")
        #expect(options.lineIDs.last == "line-120")
    }

    // MARK: Whose page asks

    private static let reset = "POST /__sim/reset HTTP/1.1"

    /// What a browser sends for a page of somebody else, whatever name it has for this machine.
    @Test(arguments: [
        ["Host: attacker.example"], ["Host: attacker.example:3010"], ["Host: 10.1.2.3"],
        ["Host: 127.0.0.1.attacker.example"],
        [], ["Host: 127.0.0.1", "Origin: http://attacker.example"], ["Host: 127.0.0.1", "Origin: null"],
        ["Host: 127.0.0.1:3010", "Origin: http://127.0.0.1:8080"], ["Host: 127.0.0.1", "Origin: https://127.0.0.1"],
        ["Host: localhost", "Sec-Fetch-Site: cross-site"], ["Host: localhost", "Sec-Fetch-Site: same-site"],
    ])
    func aForeignPageControlsNothing(_ headers: [String]) async throws {
        try await withSimulator { server async throws in
            _ = try await server.send(key: "k")
            let text = ([Self.reset] + headers + ["Content-Length: 0", "", ""]).joined(separator: "\r\n")
            let answer = try #require(try await server.exchange(text))
            // Without a Host the request is no HTTP/1.1 at all.
            #expect(answer.status == 403 || headers.isEmpty && answer.status == 400, "\(answer)")
            #expect(server.report().total.messages == 1)
        }
    }

    @Test(arguments: [
        ["Host: 127.0.0.1"], ["Host: LOCALHOST:3010"], ["Host: 127.8.9.10:1"], ["Host: [::1]:3010"],
        ["Host: 127.0.0.1:3010", "Origin: http://127.0.0.1:3010", "Sec-Fetch-Site: same-origin"],
        ["Host: localhost", "Sec-Fetch-Site: none"],
    ])
    func aProgramOfThisMachineControls(_ headers: [String]) async throws {
        try await withSimulator { server async throws in
            _ = try await server.send(key: "k")
            let text = ([Self.reset] + headers + ["Content-Length: 0", "", ""]).joined(separator: "\r\n")
            #expect(try await server.exchange(text)?.status == 200)
            #expect(server.report().total.messages == 0)
        }
    }

    @Test func whoListensEverywhereIsCalledByAnyWrittenAddress() throws {
        var options = SimulatorOptions()
        options.host = "0.0.0.0"
        let everywhere = ControlAccess(options)
        for name in ["10.1.2.3:3010", "[fd00::1]:3010", "127.0.0.1"] {
            #expect(throws: Never.self) { try everywhere.check(authority: name, origin: nil, site: nil) }
        }
        #expect(throws: ControlRefusal.self) {
            try everywhere.check(authority: "simulator:3010", origin: nil, site: nil)
        }
        options.host = "192.0.2.7"
        let one = ControlAccess(options)
        #expect(throws: Never.self) { try one.check(authority: "192.0.2.7:3010", origin: nil, site: nil) }
        #expect(throws: ControlRefusal.self) { try one.check(authority: "192.0.2.8:3010", origin: nil, site: nil) }
    }

    /// The API itself is for whoever has a token, by whatever name.
    @Test func theApiAsksForNoHost() async throws {
        try await withSimulator { server async throws in
            let text = request("POST", "/api/v1/messages/text", key: "k", body: goodBody)
                .replacing("Host: 127.0.0.1", with: "Host: api.example\r\nOrigin: http://elsewhere.example")
            #expect(try await server.exchange(text)?.status == 202)
        }
    }
}
