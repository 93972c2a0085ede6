import TestKit
import Testing

@testable import TrunklineSimulator

@Suite struct HealthTests {
    @Test func everyStateSaysWhatItShould() async throws {
        try await withSimulator { server async throws in
            let sendable = try #require(try await server.health())
            #expect(sendable.status == 200)
            #expect(sendable.json["health"]?["status"]?["code"] == .integer(4))
            #expect(sendable.json["health"]?["status"]?["text"] == .string("AUTH"))
            #expect(sendable.json["line"]?["lifecycleState"] == .string("connected"))
            #expect(sendable.json["line"]?["effectiveSendState"] == .string("sendable"))
            #expect(sendable.json["line"]?["sendable"] == .bool(true))
            for state in LineState.presets {
                try server.control("PUT", "/__sim/lines/line-01/state", #"{"state":"\#(state.name)"}"#)
                let answer = try #require(try await server.health()).json
                #expect(answer["health"]?["status"]?["text"] == .string(state.text))
                if state.missingLine {
                    #expect(answer["line"] == nil)
                } else {
                    #expect(answer["line"]?["lifecycleState"] == .string(state.lifecycle))
                    #expect(answer["line"]?["effectiveSendState"] == .string(state.effective))
                }
            }
            try server.control("PUT", "/__sim/lines/line-01/state", #"{"state":"sendable_string"}"#)
            #expect(try await server.health()?.json["line"]?["sendable"] == .string("true"))
            try server.control("PUT", "/__sim/lines/line-01/state", #"{"state":"contradiction"}"#)
            let contradiction = try await server.health()?.json["line"]
            #expect(contradiction?["sendable"] == .bool(true))
            #expect(contradiction?["effectiveSendState"] != .string("sendable"))
            // The neighbour noticed nothing.
            #expect(try await server.health(token: "ezw_line_line-02")?.json["line"]?["sendable"] == .bool(true))
        }
    }

    @Test func singleFieldsCanBeSetFromTheKnownWords() async throws {
        try await withSimulator { server async throws in
            try server.control(
                "PUT",
                "/__sim/lines/line-01/state",
                #"{"lifecycleState":"connected","effectiveSendState":"sendable","sendable":false}"#
            )
            let line = try await server.health()?.json["line"]
            #expect(line?["sendable"] == .bool(false))
            #expect(line?["effectiveSendState"] == .string("sendable"))
        }
    }

    @Test func questionsAreCountedByTheirWakeup() async throws {
        try await withSimulator { server async throws in
            for query in ["", "?wakeup=true", "?wakeup=true", "?wakeup=false&channel_type=web", "?channel_type=web"] {
                #expect(try await server.health(query: query)?.status == 200)
            }
            #expect(try await server.health(query: "?wakeup=maybe")?.status == 400)
            #expect(try await server.health(query: "?wakeup=false&channel_type=fax")?.status == 400)
            try await eventually("all answers are on record") { server.report().healthAnswers == 7 }
            let report = server.report()
            #expect(report.total.healthWakeupTrue == 2)
            #expect(report.total.healthWakeupFalse == 2)
            #expect(report.total.healthWakeupAbsent == 3)
            #expect(report.total.requests == 0)
        }
    }

    @Test func aFlappingLineFollowsTheClock() async throws {
        let time = ManualClock()
        try await withSimulator(clock: time.clock) { server async throws in
            try server.control(
                "PUT",
                "/__sim/lines/line-01/state",
                #"{"state":"flapping","periodMs":1000,"other":"reconnecting"}"#
            )
            var seen: [JSON?] = []
            for _ in 0..<4 {
                seen.append(try await server.health()?.json["line"]?["sendable"])
                time.advance(seconds: 1)
            }
            #expect(seen == [.bool(true), .bool(false), .bool(true), .bool(false)])
        }
    }

    @Test func tokensCanBeRevokedAndRotated() async throws {
        try await withSimulator { server async throws in
            #expect(try await server.send(key: "a")?.status == 202)
            try server.control("PUT", "/__sim/lines/line-01", #"{"revoked":true}"#)
            #expect(try await server.send(key: "b")?.status == 401)
            #expect(try await server.health()?.status == 401)
            try server.control("PUT", "/__sim/lines/line-01", #"{"revoked":false,"token":"ezw_line_new-secret"}"#)
            #expect(try await server.send(key: "b")?.status == 401)
            #expect(try await server.send(key: "b", token: "ezw_line_new-secret")?.status == 202)
            // Two lines cannot share a token.
            #expect(throws: SimulatorError.self) {
                try server.control("PUT", "/__sim/lines/line-02", #"{"token":"ezw_line_new-secret"}"#)
            }
        }
    }

    @Test func openTokensMakeLinesOnFirstUse() async throws {
        try await withSimulator { server async throws in
            #expect(try await server.send(key: "a", token: "ezw_line_pop-up")?.status == 401)
            try server.control("PUT", "/__sim/settings", #"{"openTokens":true}"#)
            let answer = try #require(try await server.send(key: "a", token: "ezw_line_pop-up"))
            #expect(answer.status == 202)
            #expect(answer.json["lineId"] == .string("pop-up"))
            #expect(try await server.send(key: "b", token: "ezw_line_no good")?.status == 401)
            try server.control("PUT", "/__sim/lines/pop-up", #"{"revoked":true}"#)
            #expect(try await server.send(key: "b", token: "ezw_line_pop-up")?.status == 401)
        }
    }
}
