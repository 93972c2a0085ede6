import TestKit
import Testing

@testable import TrunklineSimulator

@Suite struct FaultTests {
    private func add(_ server: SimulatorServer, _ fault: String) throws {
        try server.control("POST", "/__sim/faults", fault)
    }

    @Test func dropBeforeAcceptsNothing() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"dropBefore","count":1}"#)
            #expect(try await server.send(key: "k") == nil)
            #expect(server.report().total.messages == 0)
            #expect(server.report().total.noAnswers == 1)
            #expect(server.report().faults == ["dropBefore": 1])
            #expect(try await server.send(key: "k")?.status == 202)
        }
    }

    @Test func acceptThenDropIsTheAmbiguousCase() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"acceptThenDrop","count":1}"#)
            #expect(try await server.send(key: "k") == nil)
            #expect(server.report().total.messages == 1)
            try await eventually("its end is on record") { server.report().total.noAnswers == 1 }
            #expect(server.report().askedAgainAfterAnswer == 0)
            // With key and bytes unchanged it is the same message.
            #expect(try await server.send(key: "k")?.status == 202)
            #expect(server.report().total.messages == 1)
            #expect(server.report().total.replays == 1)
            #expect(server.report().askedAgainAfterAnswer == 0)
        }
    }

    @Test(arguments: [("hang", 0), ("acceptThenHang", 1)])
    func aHangEndsWithTheClient(_ kind: String, _ messages: Int) async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"\#(kind)","count":1}"#)
            let client = try RawClient(port: server.port)
            await client.write(request("POST", "/api/v1/messages/text", key: "k", body: goodBody))
            try await eventually("the call hangs") {
                try await server.ask("GET", "/inflight?waiting=hang").json["count"] == .integer(1)
            }
            #expect(server.report().total.messages == messages)
            #expect(server.report().total.noAnswers == 0)
            client.close()
            try await eventually("the end of the client is on record") { server.report().total.noAnswers == 1 }
            #expect(server.report().total.answers == 0)
        }
    }

    @Test func statusesComeWithEachFormOfRetryAfter() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"status","status":429,"retryAfter":7,"count":1}"#)
            try add(server, #"{"kind":"status","status":429,"retryAfter":7,"retryAfterForm":"date","count":1}"#)
            try add(server, #"{"kind":"status","status":429,"count":1}"#)
            try add(server, #"{"kind":"status","status":500,"count":2}"#)
            let seconds = try #require(try await server.send(key: "k"))
            #expect(seconds.status == 429)
            #expect(seconds.headers["retry-after"] == "7")
            let date = try #require(try await server.send(key: "k"))
            #expect(date.status == 429)
            #expect(date.headers["retry-after"]?.hasSuffix(" GMT") == true)
            let none = try #require(try await server.send(key: "k"))
            #expect(none.status == 429)
            #expect(none.headers["retry-after"] == nil)
            #expect(try await server.send(key: "k")?.status == 500)
            #expect(try await server.send(key: "k")?.status == 500)
            #expect(server.report().total.messages == 0)
            #expect(try await server.send(key: "k")?.status == 202)
            #expect(server.report().askedAgainAfterAnswer == 0)
        }
    }

    @Test func aStatusAfterAcceptingIsAMessageAllTheSame() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"acceptThenStatus","status":502,"count":1}"#)
            #expect(try await server.send(key: "k")?.status == 502)
            #expect(server.report().total.messages == 1)
            #expect(try await server.send(key: "k")?.status == 202)
            #expect(server.report().total.messages == 1)
            #expect(server.report().askedAgainAfterAnswer == 0)
        }
    }

    @Test func aRedirectNamesAnotherHost() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"redirect","count":1}"#)
            let answer = try #require(try await server.send(key: "k"))
            #expect(answer.status == 302)
            #expect(answer.headers["location"]?.hasPrefix("http://elsewhere.example.invalid/") == true)
            #expect(server.report().total.messages == 0)
        }
    }

    @Test(arguments: SimulatorSettings.AcceptedBody.allCases)
    func aTruncatedAnswerDoesNotCountAsLeft(_ body: SimulatorSettings.AcceptedBody) async throws {
        try await withSimulator { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"acceptedBody":"\#(body.rawValue)"}"#)
            try add(server, #"{"kind":"truncate","count":1}"#)
            let answer = try #require(try await server.send(key: "k"))
            #expect(answer.isCut)
            #expect(server.report().total.messages == 1)
            #expect(server.report().total.noAnswers == 1)
            #expect(server.report().total.answers == 0)
        }
    }

    @Test func latencyDelaysTheAnswerNotTheMessage() async throws {
        try await withSimulator { server async throws in
            try add(server, #"{"kind":"latency","ms":3600000,"count":1}"#)
            let client = try RawClient(port: server.port)
            await client.write(request("POST", "/api/v1/messages/text", key: "k", body: goodBody))
            try await eventually("the answer waits") {
                try await server.ask("GET", "/inflight?waiting=latency").json["count"] == .integer(1)
            }
            #expect(server.report().total.messages == 1)
            client.close()
            try await eventually("the end of the client is on record") { server.report().total.noAnswers == 1 }
            try add(server, #"{"kind":"latency","minMs":1,"maxMs":5,"count":1}"#)
            #expect(try await server.send(key: "l")?.status == 202)
        }
    }

    @Test func aFaultHitsItsLineItsPathAndItsTimeOnly() async throws {
        let time = ManualClock()
        try await withSimulator(clock: time.clock) { server async throws in
            try add(server, #"{"kind":"status","status":503,"line":"line-01","forMs":5000}"#)
            #expect(try await server.send(key: "a")?.status == 503)
            #expect(try await server.health()?.status == 200)
            #expect(try await server.send(key: "a", token: "ezw_line_line-02")?.status == 202)
            time.advance(seconds: 5)
            #expect(try await server.send(key: "b")?.status == 202)
            try add(server, #"{"kind":"status","status":401,"on":"health"}"#)
            #expect(try await server.health()?.status == 401)
            #expect(try await server.send(key: "c")?.status == 202)
            try server.control("DELETE", "/__sim/faults")
            #expect(try await server.health()?.status == 200)
        }
    }

    @Test func theSameSeedHitsTheSameRequests() throws {
        func hits(seed: UInt64) throws -> [Bool] {
            var list = FaultList(seed: seed)
            let json = try JSON.parse(#"{"kind":"dropBefore","probability":0.3}"#.utf8)
            _ = list.add(try Fault.parse(json, monotonic: 0))
            return (0..<1_000).map { _ in list.pick(line: "l", endpoint: .text, monotonic: 0).fault != nil }
        }
        let first = try hits(seed: 7)
        #expect(try hits(seed: 7) == first)
        #expect(try hits(seed: 8) != first)
        #expect((200...400).contains(first.count { $0 }))
    }

    @Test func heldAnswersLeaveWhenReleasedAndNotWhenTheClientIsGone() async throws {
        try await withSimulator { server async throws in
            try server.control("POST", "/__sim/answers/hold", #"{"line":"line-01"}"#)
            let patient = try RawClient(port: server.port)
            let dying = try RawClient(port: server.port)
            await patient.write(request("POST", "/api/v1/messages/text", key: "patient", body: goodBody))
            await dying.write(request("POST", "/api/v1/messages/text", key: "dying", body: goodBody))
            try await eventually("both are held") {
                try await server.ask("GET", "/inflight?waiting=hold").json["count"] == .integer(2)
            }
            // The other line and the questions for health go on.
            #expect(try await server.send(key: "other", token: "ezw_line_line-02")?.status == 202)
            #expect(try await server.health()?.status == 200)
            let inflight = try await server.ask("GET", "/inflight?line=line-01").json
            guard case .array(let calls)? = inflight["calls"] else { throw TestFailure("no calls") }
            #expect(Set(calls.compactMap { $0["key"]?.string }) == ["patient", "dying"])
            #expect(server.report().total.messages == 3)
            #expect(server.report().total.answers == 1)
            dying.close()
            try await eventually("the dead client is on record") { server.report().total.noAnswers == 1 }
            try server.control("POST", "/__sim/answers/release")
            #expect(await patient.read()?.status == 202)
            try await eventually("the answer is on record") { server.report().total.answers == 2 }
            // Asking again is right for the one, and a fault for the other.
            #expect(try await server.send(key: "dying")?.status == 202)
            #expect(server.report().askedAgainAfterAnswer == 0)
            #expect(try await server.send(key: "patient")?.status == 202)
            #expect(server.report().askedAgainAfterAnswer == 1)
            #expect(server.report().askedAgainKeys == ["default patient"])
        }
    }

    @Test func noAnswerLeavesTowardsAClientThatDiedBeforeTheRelease() async throws {
        try await withSimulator { server async throws in
            for round in 1...20 {
                try server.control("POST", "/__sim/answers/hold")
                let clients = try (0..<8).map { _ in try RawClient(port: server.port) }
                for (number, client) in clients.enumerated() {
                    await client.write(
                        request("POST", "/api/v1/messages/text", key: "\(round)-\(number)", body: goodBody)
                    )
                }
                try await eventually("all are held") { server.report().total.messages == round * 8 }
                // The kernel knows of the end before `close` returns; the simulator may not have looked yet.
                for client in clients { client.close() }
                try server.control("POST", "/__sim/answers/release")
                try await eventually("all have ended") {
                    server.report().total.answers + server.report().total.noAnswers == round * 8
                }
                #expect(server.report().total.answers == 0)
            }
        }
    }

    @Test func aClientThatLeavesInTheMiddleOfItsBodyIsOnRecord() async throws {
        try await withSimulator { server async throws in
            let client = try RawClient(port: server.port)
            let whole = request("POST", "/api/v1/messages/text", key: "k", body: goodBody)
            await client.write(String(whole.dropLast(10)))
            try await eventually("the call is in the air") {
                try await server.ask("GET", "/inflight").json["count"] == .integer(1)
            }
            client.close()
            try await eventually("its end is on record") { server.report().total.noAnswers == 1 }
            #expect(server.report().total.messages == 0)
            #expect(server.report().total.requests == 1)
        }
    }

    @Test func oneConnectionCarriesManyRequests() async throws {
        try await withSimulator { server async throws in
            let client = try RawClient(port: server.port)
            for number in 0..<20 {
                await client.write(request("POST", "/api/v1/messages/text", key: "k\(number)", body: goodBody))
                #expect(await client.read()?.status == 202)
            }
            try await eventually("all answers are on record") { server.report().total.answers == 20 }
        }
    }

    @Test func stoppingEndsWhatHangs() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            let client: RawClient = try await withSimulator({ $0.journal = path }) { server async throws in
                try server.control("POST", "/__sim/answers/hold")
                let client = try RawClient(port: server.port)
                await client.write(request("POST", "/api/v1/messages/text", key: "k", body: goodBody))
                try await eventually("it is held") { server.report().total.messages == 1 }
                return client
            }
            #expect(await client.read() == nil)
            #expect(try SimulatorReport(journal: path).total.noAnswers == 1)
            #expect(try records(path).last?.reason == "stopped")
        }
    }
}
