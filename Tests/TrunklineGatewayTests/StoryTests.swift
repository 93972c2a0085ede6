import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// What became of a message, and what can still be changed.
@Suite struct StoryTests {
    @Test func theStoryIsWhatWhyTells() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            let sent = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            let location = try #require(sent["Location"])
            _ = try install.startWorker()
            try await install.waitUntilSent(1)
            let byID = try await gateway.ask("GET", location, key: key)
            #expect(byID.status == 200 && byID.member("state") == "sent" && byID.member("to") == "+97250•••4567")
            let byKey = try await gateway.ask("GET", "/v1/messages/order%3A1?by=key", key: key)
            #expect(byKey.body == byID.body)
            let why = try await install.trunkline(["why", "order:1", "--json"])
            let said = why.output.split(whereSeparator: \.isWhitespace).joined()
            #expect(said == "[" + byID.text.split(whereSeparator: \.isWhitespace).joined() + "]")
            let none = try await gateway.ask("GET", "/v1/messages/order:2", key: key)
            #expect(none.status == 404 && kind(none) == "not-found")
            let unfit = try await gateway.ask("GET", "/v1/messages/%D7%A9?by=key", key: key)
            #expect(unfit.status == 404)
        }
    }

    @Test func aNameThatIsAnIDAndAKeyIsAskedAbout() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            let first = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            let id = try #require(first.member("id"))
            let second = try await gateway.ask("POST", "/v1/messages", key: key, json: notice(id))
            let unclear = try await gateway.ask("GET", "/v1/messages/\(id)", key: key)
            #expect(unclear.status == 409 && kind(unclear) == "ambiguous")
            let cancel = try await gateway.ask("POST", "/v1/messages/\(id)/cancel", key: key)
            #expect(cancel.status == 409)
            #expect(try await install.number("select count(*) from trunkline.jobs") == 2)
            let byKey = try await gateway.ask("GET", "/v1/messages/\(id)?by=key", key: key)
            #expect(byKey.member("job") == second.member("id"))
            let byID = try await gateway.ask("GET", "/v1/messages/\(id)?by=id", key: key)
            #expect(byID.member("key") == "order:1")
        }
    }

    @Test func whatHasNotBegunCanBeCancelledAndMoved() async throws {
        try await TestInstall.with { install in
            try await install.addDestination("crm", workspace: "acme")
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey()
            try await known(key, gateway)
            for number in 1...3 {
                let json = notice("order:\(number)", more: #","sendBefore":"2099-01-01T00:00:00Z""#)
                #expect(try await gateway.ask("POST", "/v1/messages", key: key, json: json).status == 202)
            }
            let moved = try await gateway.ask(
                "POST",
                "/v1/messages/order:2/reschedule",
                key: key,
                json: #"{"notBefore":"2098-01-01T00:00:00+02:00"}"#
            )
            #expect(moved.status == 200 && moved.member("notBefore") == "2097-12-31T22:00:00Z")
            #expect(moved.member("scheduled") == "1" || moved.member("scheduled") == "true")
            let late = try await gateway.ask(
                "POST",
                "/v1/messages/order:2/reschedule",
                key: key,
                json: #"{"notBefore":"2099-01-02T00:00:00Z"}"#
            )
            #expect(late.status == 400 && late.member("field") == "notBefore")
            for json in [
                #"{}"#, #"{"notBefore":"tomorrow"}"#, #"{"notBefore":1}"#, #"{"notBefore":null,"x":1}"#,
                #"{"notBefore":"1999-01-01T00:00:00Z"}"#, #"{"notBefore":null,"notBefore":null}"#,
            ] {
                let answer = try await gateway.ask("POST", "/v1/messages/order:2/reschedule", key: key, json: json)
                #expect(answer.status == 400, "\(json): \(answer.text)")
            }
            let cancelled = try await gateway.ask("POST", "/v1/messages/order:1/cancel", key: key)
            #expect(cancelled.status == 200 && cancelled.member("verdict") == "cancelled")
            let again = try await gateway.ask("POST", "/v1/messages/order:1/cancel", key: key)
            #expect(again.status == 200 && again.body == cancelled.body)
            let gone = try await gateway.ask(
                "POST",
                "/v1/messages/order:1/reschedule",
                key: key,
                json: #"{"notBefore":null}"#
            )
            #expect(gone.status == 409 && kind(gone) == "too-late")

            // A delivery is named by its number.
            let event =
                #"{"destination":"crm","key":"order:1","type":"a.b","timestamp":"2026-12-01T09:00:00Z","data":{}}"#
            let delivery = try await gateway.ask("POST", "/v1/deliveries", key: key, json: event)
            #expect(delivery.status == 202 && delivery.member("destination") == "crm")
            let location = try #require(delivery["Location"])
            let ended = try await gateway.ask("POST", location + "/cancel", key: key)
            #expect(ended.status == 200 && ended.member("key") == "order:1")
            let repeated = try await gateway.ask("POST", "/v1/deliveries", key: key, json: event)
            #expect(repeated.body == delivery.body && repeated["Idempotency-Replayed"] == "true")

            _ = try install.startWorker()
            try await install.wait(for: "the third to be sent") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 1
            }
            let tooLate = try await gateway.ask("POST", "/v1/messages/order:3/cancel", key: key)
            #expect(tooLate.status == 409 && kind(tooLate) == "too-late")
            let back = try await gateway.ask(
                "POST",
                "/v1/messages/order:2/reschedule",
                key: key,
                json: #"{"notBefore":null}"#
            )
            #expect(back.status == 200)
            try await install.waitUntilSent(2)
        }
    }
}
