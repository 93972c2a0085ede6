import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

@Suite struct BatchTests {
    @Test func everyItemHasItsOwnVerdictInItsPlace() async throws {
        try await TestInstall.with { install in
            try await install.addForeignLine()
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            _ = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:0"))
            let items = [
                notice("order:1"), notice("order:0"), notice("order:0", body: "Other."),
                notice("order:2", line: "foreign"),
                notice("order:3", line: "nobody"), notice("order:4", to: "050-1234567"), notice(nil), "7",
                notice("order:5", more: #","colour":"red""#), notice("order:1"), notice("order:6"),
                notice("order:7").replacing("pickup", with: "campaign"),
            ]
            let answer = try await gateway.ask(
                "POST",
                "/v1/messages/batch",
                key: key,
                json: #"{"messages":[\#(items.joined(separator: ", "))]}"#
            )
            #expect(answer.status == 200)
            let all = results(answer)
            #expect(all.map { $0["status"] as? Int } == [202, 202, 422, 404, 404, 400, 400, 400, 400, 202, 202, 422])
            #expect(all.map { $0["replayed"] as? Bool } == (0..<12).map { $0 == 1 || $0 == 9 })
            let messages = all.map { $0["message"] as? [String: Any] }
            #expect(messages[0]?["key"] as? String == "order:1" && messages[10]?["key"] as? String == "order:6")
            #expect(messages[9]?["id"] as? String == messages[0]?["id"] as? String)
            let problems = all.map { $0["problem"] as? [String: Any] }
            #expect(problems[2]?["storedContent"] != nil && problems[5]?["field"] as? String == "to")
            #expect(problems[6]?["field"] as? String == "key" && problems[8]?["field"] as? String == "colour")
            // One of another workspace and one that is not there are told alike.
            #expect(problems[3]?["detail"] as? String == problems[4]?["detail"] as? String)
            #expect(try await install.jobs() == 3)
        }
    }

    @Test func aThousandGoInAndOneMoreDoesNot() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            func post(_ count: Int, _ name: String) async throws -> HTTPAnswer {
                let items = (0..<count).map { notice("\(name):\($0)", to: "+9725\(10_000_000 + $0 % 50)") }
                let json = #"{"messages":[\#(items.joined(separator: ","))]}"#
                return try await gateway.ask("POST", "/v1/messages/batch", key: key, json: json)
            }
            let all = try await post(1_000, "a")
            #expect(all.status == 200)
            let ids = results(all).compactMap { ($0["message"] as? [String: Any])?["id"] as? String }.compactMap {
                Int($0)
            }
            #expect(ids.count == 1_000 && ids == ids.sorted(), "the order of the items is the order of the jobs")
            let more = try await post(1_001, "b")
            #expect(more.status == 413 && more.member("field") == "messages")
            #expect(try await install.jobs() == 1_000)
            let empty = try await post(0, "c")
            #expect(empty.status == 200 && empty.text == #"{"results":[]}"#)
        }
    }

    @Test func whatIsNoBatchIsRefusedWhole() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            let one = notice("order:1")
            let cases = [
                ("[\(one)]", 400), (#"{"messages":{}}"#, 400), (#"{}"#, 400), (#"{"messages":[\#(one)"#, 400),
                (#"{"messages":[\#(one)],"messages":[]}"#, 400), (#"{"messages":[\#(one)]} x"#, 400),
                (#"{"messages":[\#(one)],"colour":1}"#, 400),
            ]
            for (json, status) in cases {
                let answer = try await gateway.ask("POST", "/v1/messages/batch", key: key, json: json)
                #expect(answer.status == status, "\(json): \(answer.text)")
            }
            let headed = try await gateway.ask(
                "POST",
                "/v1/messages/batch",
                key: key,
                headers: [("Idempotency-Key", "order:1")],
                json: #"{"messages":[\#(one)]}"#
            )
            #expect(headed.status == 400 && headed.member("field") == "key")
            #expect(try await install.jobs() == 0)
        }
    }
}
