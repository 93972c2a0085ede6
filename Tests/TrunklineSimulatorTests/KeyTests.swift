import TestKit
import Testing

@testable import TrunklineSimulator

@Suite struct KeyTests {
    @Test func aKeyIsUniqueInItsWorkspaceOrOnItsLine() async throws {
        try await withSimulator { server async throws in
            let first = try #require(try await server.send(key: "k"))
            let moved = try #require(try await server.send(key: "k", token: "ezw_line_line-02"))
            #expect(moved.json["attemptId"] == first.json["attemptId"])
            #expect(moved.json["lineId"] == .string("line-01"))
            try server.control("PUT", "/__sim/settings", #"{"keyScope":"line"}"#)
            let other = try #require(try await server.send(key: "k", token: "ezw_line_line-02"))
            #expect(other.json["attemptId"] != first.json["attemptId"])
            #expect(try await server.send(key: "k")?.json == first.json)
            // One customer got it twice, whatever the API thinks of it.
            #expect(server.report().sentTwice == 1)
            // Another workspace is another world.
            try server.control("PUT", "/__sim/settings", #"{"keyScope":"workspace"}"#)
            try server.control("PUT", "/__sim/lines/elsewhere", #"{"workspace":"other"}"#)
            let elsewhere = try #require(try await server.send(key: "k", token: "ezw_line_elsewhere"))
            #expect(elsewhere.json["lineId"] == .string("elsewhere"))
            #expect(server.report().sentTwice == 1)
            #expect(server.report().distinctKeys == 2)
        }
    }

    @Test func aKeyIsForgottenAfterItsTime() async throws {
        let time = ManualClock()
        try await withSimulator(clock: time.clock) { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"keyMemory":30}"#)
            let first = try #require(try await server.send(key: "k"))
            time.advance(seconds: 29.5)
            #expect(try await server.send(key: "k")?.json == first.json)
            time.advance(seconds: 0.5)
            let second = try #require(try await server.send(key: "k"))
            #expect(second.json["attemptId"] != first.json["attemptId"])
            // Also with another body: nothing is remembered to be in conflict with.
            time.advance(seconds: 30)
            #expect(try await server.send(key: "k", body: goodBody + " ")?.status == 202)
            let report = server.report()
            #expect(report.total.messages == 3)
            #expect(report.sentTwice == 1)
            #expect(report.sentTwiceAfterAnswer == 2)
            #expect(report.sentTwiceKeys == ["default k"])
        }
    }

    @Test func withoutMemoryEverySendIsAMessage() async throws {
        try await withSimulator { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            try server.control("POST", "/__sim/faults", #"{"kind":"acceptThenDrop","count":1}"#)
            #expect(try await server.send(key: "lost") == nil)
            try await eventually("the lost answer is on record") { server.report().total.noAnswers == 1 }
            #expect(try await server.send(key: "lost")?.status == 202)
            let report = server.report()
            #expect(report.sentTwice == 1)
            #expect(report.sentTwiceAfterLostAnswer == 1)
            #expect(report.sentTwiceAfterAnswer == 0)
            #expect(report.askedAgainAfterAnswer == 0)
        }
    }

    @Test func aRepeatWhileTheFirstCallIsInTheAirIsCountedApart() async throws {
        try await withSimulator { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            try server.control("POST", "/__sim/answers/hold")
            let one = try RawClient(port: server.port)
            let two = try RawClient(port: server.port)
            let text = request("POST", "/api/v1/messages/text", key: "k", body: goodBody)
            await one.write(text)
            try await eventually("the first is held") { server.report().total.messages == 1 }
            await two.write(text)
            try await eventually("the second is held") { server.report().total.messages == 2 }
            try server.control("POST", "/__sim/answers/release")
            #expect(await one.read()?.status == 202)
            #expect(await two.read()?.status == 202)
            #expect(server.report().sentTwiceOverlapping == 1)
            #expect(server.report().sentTwiceAfterLostAnswer == 0)
        }
    }

    @Test func keysCanBeForgottenOnRequest() async throws {
        try await withSimulator { server async throws in
            let a = try await server.send(key: "a")?.json
            let b = try await server.send(key: "b")?.json
            try server.control("POST", "/__sim/keys/forget", #"{"key":"a"}"#)
            #expect(try await server.send(key: "a")?.json != a)
            #expect(try await server.send(key: "b")?.json == b)
        }
    }

    @Test func aRefusedSendLeavesItsKeyFree() async throws {
        try await withSimulator { server async throws in
            #expect(try await server.send(key: "k", body: #"{"to":"+34600111222","body":""}"#)?.status == 400)
            #expect(try await server.send(key: "k")?.status == 202)
        }
    }

    @Test func acceptedMessagesAreListedAndResetForgetsThem() async throws {
        try await withSimulator { server async throws in
            for key in ["a", "b", "c"] { _ = try await server.send(key: key) }
            _ = try await server.send(key: "d", token: "ezw_line_line-02")
            func keys(_ query: String) async throws -> [String] {
                guard case .array(let list)? = try await server.ask("GET", "/messages\(query)").json["messages"] else {
                    return []
                }
                return list.compactMap { $0["key"]?.string }
            }
            #expect(try await keys("") == ["a", "b", "c", "d"])
            #expect(try await keys("?line=line-02") == ["d"])
            #expect(try await keys("?key=b") == ["b"])
            #expect(try await keys("?limit=2") == ["a", "b"])
            #expect(try await keys("?key=order%3A1") == [])
            #expect(try await server.ask("GET", "/messages?lines=line-02").status == 400)
            try server.control("POST", "/__sim/reset")
            #expect(try await keys("") == [])
            #expect(server.report().total.messages == 0)
            #expect(try await server.send(key: "a")?.status == 202)
            #expect(server.report().sentTwice == 0)
        }
    }

    @Test(arguments: SimulatorSettings.replayStatuses)
    func aReplayIsAnsweredAsTheSettingsSay(status: Int) async throws {
        try await withSimulator { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"replayStatus":\#(status),"replayBody":"id"}"#)
            let first = try #require(try await server.send(key: "k"))
            let again = try #require(try await server.send(key: "k"))
            #expect(again.status == status)
            switch status {
            case 204: #expect(again.body.isEmpty)
            case 409: #expect(again.json["error"]?["code"] == .string("duplicate"))
            default: #expect(again.json == .object([.init(name: "id", value: first.json["attemptId"] ?? .null)]))
            }
            #expect(server.report().total.messages == 1 && server.report().total.replays == 1)
            try server.control("PUT", "/__sim/settings", #"{"replayStatus":202,"replayBody":"same"}"#)
            #expect(try await server.send(key: "k")?.json == first.json)
        }
    }

    @Test(arguments: SimulatorSettings.InFlight.allCases)
    func aCallBesideAnotherOfItsKey(inFlight: SimulatorSettings.InFlight) async throws {
        try await withSimulator { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"inFlight":"\#(inFlight.rawValue)"}"#)
            try server.control("POST", "/__sim/faults", #"{"kind":"acceptThenHang","count":1}"#)
            let one = try RawClient(port: server.port)
            await one.write(request("POST", "/api/v1/messages/text", key: "k", body: goodBody))
            try await eventually("the first is in the air") { server.report().total.messages == 1 }
            let second = try #require(try await server.send(key: "k"))
            let report = server.report()
            switch inFlight {
            case .replay: #expect(second.status == 202 && report.total.replays == 1)
            case .conflict:
                #expect(second.status == 409 && second.json["error"]?["code"] == .string("idempotency_in_progress"))
            case .message: #expect(second.status == 202 && report.sentTwiceOverlapping == 1)
            }
            #expect(report.total.messages == (inFlight == .message ? 2 : 1))
            // Another body is in conflict, whenever it comes.
            if inFlight == .conflict {
                let other = try await server.send(key: "k", body: goodBody + " ")
                #expect(other?.json["error"]?["code"] == .string("idempotency_conflict"))
            }
            one.close()
            try await eventually("the first has ended") { server.report().total.noAnswers == 1 }
            #expect(try await server.send(key: "k")?.status == 202)
            #expect(server.report().total.messages == (inFlight == .message ? 2 : 1))
        }
    }

    @Test func aKeyMayBeInFlightLongerThanItsCall() async throws {
        let time = ManualClock()
        try await withSimulator(clock: time.clock) { server async throws in
            try server.control("PUT", "/__sim/settings", #"{"inFlight":"conflict","inFlightMs":5000}"#)
            try server.control("POST", "/__sim/faults", #"{"kind":"acceptThenDrop","count":1}"#)
            #expect(try await server.send(key: "k") == nil)
            time.advance(seconds: 4.9)
            #expect(try await server.send(key: "k")?.status == 409)
            time.advance(seconds: 0.1)
            #expect(try await server.send(key: "k")?.status == 202)
            #expect(server.report().total.messages == 1 && server.report().total.replays == 1)
        }
    }
}
