import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// The door of senders: `/in/{token}` of real gateways.
@Suite struct SenderTests {
    @Test func whateverASenderRepeatsIsStoredOnceAndAnsweredTheSame() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            for (name, sender) in TestSender.all {
                let path = try await install.add(sender, as: name)
                try await gateway.knows(path)
                var answers: [String] = []
                for _ in 1...3 {
                    let answer = try await gateway.post(sender, path)
                    answers.append("\(answer.status) \(answer.text)")
                }
                #expect(Set(answers) == ["200 "], "\(name): \(answers)")
                #expect(try await install.events(name) == sender.events, "\(name)")
                let repeats = try await install.number(
                    "select sum(repeats)::bigint from trunkline.inbox where source = '\(name)'"
                )
                #expect(repeats == Int64(2 * sender.events), "\(name)")
                guard sender.secret != nil else { continue }
                let other = name == "standard" ? TestSender.otherStandard : "not-the-secret-1"
                let forged = try await gateway.post(sender, path, secret: other)
                #expect(forged.status == 401 && forged.body.isEmpty, "\(name): \(forged.status)")
                let unsigned = try await gateway.post(path, [("Content-Type", "application/json")], sender.body)
                #expect(unsigned.status == 401 && unsigned.body.isEmpty, "\(name): \(unsigned.status)")
                #expect(try await install.events(name) == sender.events, "\(name)")
            }
            let all = TestSender.all.reduce(0) { $0 + $1.sender.events }
            #expect(try await install.eventJobs() == all)
            #expect(try await install.number("select count(*) from trunkline.refusals") == 0)

            // HubSpot numbers its tries, which makes them no other events.
            let hubSpot = try await install.events("hubspot")
            let path = try await install.rotatedPath(of: "hubspot")
            try await gateway.knows(path)
            let again = try await gateway.post(TestSender.hubSpot, path, body: TestSender.hubSpotEvents(attempt: 3))
            #expect(again.status == 200)
            #expect(try await install.events("hubspot") == hubSpot)
            #expect(try await install.number("select count(*) from trunkline.refusals") == 0)

            // Who fills in what people do not see is a robot: it hears the same.
            let trap = TestSender.form.body.replacing("website=", with: "website=spam.example")
            let form = try await install.rotatedPath(of: "form")
            try await gateway.knows(form)
            #expect(try await gateway.post(.form, form, body: trap).status == 200)

            try await requireCounted(install)
            try await requireRun(install)
        }
    }

    /// Forged requests are counts and nothing else, and `source show` says them.
    private func requireCounted(_ install: TestInstall) async throws {
        try await install.wait(for: "forged requests to be counted") {
            try await install.number("select coalesce(sum(times), 0)::bigint from trunkline.source_forgeries") == 12
        }
        #expect(try await install.number("select count(*) from trunkline.source_forgeries") == 12)
        let shown = try await install.trunkline(["source", "show", "shopify"]).requireSuccess().output
        #expect(shown.contains("1 forged") && shown.contains("1 unsigned"), "\(shown)")
        let json = try await install.trunkline(["source", "show", "shopify", "--json"]).requireSuccess().output
        #expect(json.contains("lastEventAt") && json.contains(#""forged""#), "\(json)")
    }

    private func requireRun(_ install: TestInstall) async throws {
        _ = try install.startWorker()
        try await install.wait(for: "the events to be run") {
            try await install.number(
                "select count(*) from trunkline.inbox where source in ('shopify', 'woo', 'custom', 'standard') and outcome = 'planned'"
            ) == 4
        }
        #expect(
            try await install.number("select count(*) from trunkline.orders where id like 'custom.1042'") == 1
        )
        try await install.wait(for: "the forms to be run") {
            try await install.number(
                "select count(*) from trunkline.inbox where source = 'form' and outcome is not null"
            ) == 2
        }
        #expect(
            try await install.number(
                "select count(*) from trunkline.inbox where source = 'form' and outcome = 'ignored' and reason = 'bot'"
            ) == 1
        )
    }

    @Test func whatIsNoEventIsAnsweredWithoutTrust() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let meta = try await install.add(.meta, as: "meta")
            let woo = try await install.add(.wooCommerce, as: "woo")
            for path in [meta, woo] { try await gateway.knows(path) }
            let challenge = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
            let right = try await gateway.ask("GET", meta + "?" + challenge + "knock-knock-1")
            #expect(right.status == 200 && right.text == "1158201444")
            #expect(right["Content-Type"]?.hasPrefix("text/plain") == true)
            for query in ["?" + challenge + "knock-knock-2", "", "?hub.mode=subscribe"] {
                let wrong = try await gateway.ask("GET", meta + query)
                #expect(wrong.status == 403 && wrong.body.isEmpty, "\(query): \(wrong.status)")
            }
            // Unsigned, once, when a webhook is made.
            let ping = try await gateway.post(
                woo,
                [("Content-Type", "application/x-www-form-urlencoded")],
                "webhook_id=7"
            )
            #expect(ping.status == 200 && ping.body.isEmpty)
            for method in ["GET", "HEAD", "PUT", "DELETE"] {
                let answer = try await gateway.ask(method, woo)
                #expect(answer.status == 405 && answer["Allow"]?.contains("POST") == true, "\(method)")
            }
            #expect(try await install.events() == 0)
            // Whoever sets up a sender is told the whole address.
            let told = try await install.trunkline(
                ["source", "rotate", "woo", "--token"],
                environment: ["TRUNKLINE_PUBLIC_URL": TestSender.publicURL + "/"]
            ).requireSuccess().output
            #expect(told.contains("posts to \(TestSender.publicURL)/in/"), "\(told)")
        }
    }

    /// Proofs and secrets that stand in the body are not stored, and answers have the sender's own form.
    @Test func sendersThatWantABodyGetTheirs() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let lead = #"{"google_key":"k-demo-0123456789","lead_id":"L1","user_column_data":[]}"#
            let ads = TestSender(kind: "google-ads", secret: "k-demo-0123456789", body: lead) { _, _, _ in
                [("Content-Type", "application/json")]
            }
            let salesforce = TestSender(
                kind: "salesforce",
                settings: ["organization_id=00D300000000001"],
                body: TestSender.outboundMessage(of: "00D300000000001EAA"),
                events: 2
            ) { _, _, _ in
                [("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", "\"\"")]
            }
            let paths = [try await install.add(ads, as: "ads"), try await install.add(salesforce, as: "crm")]
            for path in paths { try await gateway.knows(path) }
            for _ in 1...2 {
                let first = try await gateway.post(ads, paths[0])
                #expect(first.status == 200 && first.text == "{}" && first["Content-Type"] == "application/json")
                let second = try await gateway.post(salesforce, paths[1])
                #expect(second.status == 200 && second.text.contains("<Ack>true</Ack>"), "\(second.text)")
                #expect(second["Content-Type"]?.hasPrefix("text/xml") == true)
            }
            let forged = try await gateway.post(ads, paths[0], body: lead.replacing("k-demo", with: "k-else"))
            let foreign = TestSender.outboundMessage(of: "00D300000000002EAA")
            #expect(forged.status == 401 && forged.body.isEmpty)
            #expect(try await gateway.post(salesforce, paths[1], body: foreign).status == 401)
            #expect(try await install.events("ads") == 1)
            #expect(try await install.events("crm") == 2)
            let secrets = try await install.number(
                """
                select count(*) from trunkline.inbox
                where convert_from(body, 'UTF8') like '%k-demo%' or convert_from(body, 'UTF8') like '%secret-session%'
                """
            )
            #expect(secrets == 0)
        }
    }

    @Test func duringARotationBothCountAndThenOnlyTheNewOnes() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let sender = TestSender.shopify
            let (old, new) = (try #require(sender.secret), "shpss_two_5f0c2b7e")
            let first = try await install.add(sender, as: "shop")
            try await gateway.knows(first)
            let rotated = try await install.trunkline(
                ["source", "rotate", "shop", "--token", "--secret-env", "TEST_SECRET", "--json"],
                environment: ["TEST_SECRET": new]
            ).requireSuccess().output
            let second = try TestInstall.path(rotated)
            try await gateway.knows(second)
            for path in [first, second] {
                for secret in [old, new] {
                    #expect(try await gateway.post(sender, path, secret: secret).status == 200)
                }
            }
            try await install.trunkline(["source", "rotate", "shop", "--finish"]).requireSuccess()
            try await gateway.knows(first, false)
            #expect(try await gateway.post(sender, first, secret: new).status == 404)
            #expect(try await gateway.post(sender, second, secret: old).status == 401)
            #expect(try await gateway.post(sender, second, secret: new).status == 200)
            #expect(try await install.events("shop") == 1)
        }
    }

    @Test func aHeldSourceStoresAndARemovedOneSaysThatItIsGone() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let path = try await install.add(.custom, as: "shop")
            try await gateway.knows(path)
            try await install.trunkline(["source", "hold", "shop", "--reason", "they import"]).requireSuccess()
            #expect(try await gateway.post(.custom, path).status == 200)
            #expect(try await install.events("shop") == 1)
            try await install.trunkline(["source", "resume", "shop"]).requireSuccess()
            _ = try install.startWorker()
            try await install.wait(for: "its event to be run") {
                try await install.number("select count(*) from trunkline.inbox where ran_job is not null") == 1
            }
            try await install.wait(for: "nothing to be unfinished") {
                try await install.number("select count(*) from trunkline.jobs") == 0
            }
            try await install.trunkline(["source", "remove", "shop"]).requireSuccess()
            try await gateway.knows(path, false)
            // Also for whoever was started later.
            for door in [gateway, try await install.startDoor()] {
                try await eventually("the sources to be read") { try await door.post(.custom, path).status != 503 }
                let gone = try await door.post(.custom, path)
                #expect(gone.status == 410 && kind(gone) == "gone", "\(gone.text)")
            }
            let back = try await install.add(.custom, as: "shop")
            try await gateway.knows(back)
            #expect(try await gateway.post(.custom, path).status == 404)
            #expect(try await gateway.post(.custom, back).status == 200)
            #expect(try await install.events("shop") == 1, "its events are still known")
        }
    }

    @Test func aSourceOfOneWorkspaceStoresNothingForAnother() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let ours = try await install.add(.shopify, as: "ours")
            var theirsSender = TestSender.shopify
            theirsSender.secret = "shpss_of_the_others"
            let theirs = try await install.add(theirsSender, as: "theirs", workspace: "other")
            for path in [ours, theirs] { try await gateway.knows(path) }
            // What one may, the other may not.
            #expect(try await gateway.post(theirsSender, ours).status == 401)
            #expect(try await gateway.post(.shopify, theirs).status == 401)
            #expect(try await install.events() == 0)
            #expect(try await gateway.post(.shopify, ours).status == 200)
            #expect(try await install.events("ours") == 1)
            #expect(try await install.events("theirs") == 0)
            // The same event of another source is another event.
            #expect(try await gateway.post(theirsSender, theirs).status == 200)
            #expect(try await install.events("theirs") == 1)
            let scopes = try await install.number("select count(distinct scope) from trunkline.jobs")
            #expect(scopes == 2)
        }
    }
}

extension TestSender {
    static let otherStandard = "whsec_" + base64(Array("76543210fedcba9876543210".utf8))
}

extension TestInstall {
    /// Another path to the same source.
    func rotatedPath(of source: String) async throws -> String {
        try Self.path(
            try await trunkline(["source", "rotate", source, "--token", "--json"]).requireSuccess().output
        )
    }
}
