import HTTPTypes
import Logging
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@testable import TrunklineGateway

/// One workspace never sees or touches what is another's: over every route that needs a key.
@Suite struct WorkspaceTests {
    @Test func everyRouteKeepsToTheKeysWorkspace() async throws {
        try await TestInstall.with { install in
            try await install.addForeignLine("foreign", workspace: "other")
            try await install.addDestination("crm", workspace: "acme")
            let gateway = try await install.startGateway()
            let (_, ours) = try await install.makeAPIKey([.admin])
            let (_, theirs) = try await install.makeAPIKey([.admin], workspace: "other")
            for key in [ours, theirs] { try await known(key, gateway) }
            let event =
                #"{"destination":"crm","key":"event:1","type":"a.b","timestamp":"2026-12-01T09:00:00Z","data":{}}"#
            let sent = try await gateway.ask("POST", "/v1/messages", key: ours, json: notice("order:1"))
            let delivered = try await gateway.ask("POST", "/v1/deliveries", key: ours, json: event)
            #expect(sent.status == 202 && delivered.status == 202)
            for (path, json) in [
                ("/v1/contacts/+34600111222", #"{"name":"Ours"}"#), ("/v1/orders/1042", #"{"state":"ours"}"#),
            ] {
                #expect(try await gateway.ask("PUT", path, key: ours, json: json).status == 200)
            }
            let names = try [#require(sent.member("id")), "order:1", #require(delivered.member("id")), "event:1"]
            let before = try await state(of: install)

            let table: [String: [(path: String, json: String?)]] = [
                "POST /v1/messages": [("/v1/messages", notice("order:2"))],
                "POST /v1/messages/batch": [("/v1/messages/batch", #"{"messages":[\#(notice("order:2"))]}"#)],
                "POST /v1/deliveries": [("/v1/deliveries", event.replacing("event:1", with: "event:2"))],
                "PUT /v1/contacts/{phone}": [("/v1/contacts/+34600111222", #"{"name":"Theirs"}"#)],
                "PUT /v1/orders/{id}": [("/v1/orders/1042", #"{"state":"theirs"}"#)],
                "GET /v1/messages/{message}": names.map { ("/v1/messages/\($0)", nil) },
                "POST /v1/messages/{message}/cancel": names.map { ("/v1/messages/\($0)/cancel", nil) },
                "POST /v1/messages/{message}/reschedule": names.map {
                    ("/v1/messages/\($0)/reschedule", #"{"notBefore":"2027-01-01T00:00:00Z"}"#)
                },
            ]
            // Of the drop-in's routes a key cannot even name another line: it is made for one of its own workspace.
            let bound = ["POST /api/v1/messages/text", "GET /api/v1/health"]
            let routes = try routesWithKeys()
            #expect(Set(table.keys).union(bound) == routes, "every route that needs a key has its row here")
            let refused = try await install.trunkline([
                "apikey", "create", "--workspace", "other", "--scope", "send", "--line", "line-01", "--purpose",
                "order",
            ])
            #expect(refused.status == 3)

            for (route, requests) in table {
                for (path, json) in requests {
                    let method = String(route.prefix { $0 != " " })
                    let answer = try await gateway.ask(method, path, key: theirs, json: json)
                    if method == "PUT" {
                        // A record of the same name in another workspace is another record.
                        #expect(answer.member("verdict") == "stored", "\(route): \(answer.text)")
                    } else if path.hasSuffix("/batch") {
                        #expect(results(answer).map { $0["status"] as? Int } == [404], "\(route)")
                    } else {
                        #expect(answer.status == 404, "\(route): \(answer.text)")
                    }
                    for name in ["line-01", "crm"] { #expect(!answer.text.contains(name), "\(route)") }
                }
            }
            #expect(try await state(of: install) == before, "nothing of the other workspace has changed")

            // The same key in another workspace is another message.
            let same = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: theirs,
                json: notice("order:1", line: "foreign")
            )
            #expect(same.status == 202 && same.member("id") != sent.member("id"))
            let story = try await gateway.ask("GET", "/v1/messages/order:1", key: theirs)
            #expect(story.member("job") == same.member("id") && story.member("line") == "foreign")
            let own = try await gateway.ask("GET", "/v1/messages/order:1", key: ours)
            #expect(own.member("job") == sent.member("id"))
        }
    }

    private func state(of install: TestInstall) async throws -> String? {
        try await install.text(
            """
            select string_agg(row, ',' order by row) from (
                select to_jsonb(j)::text as row from trunkline.jobs j
                union all select to_jsonb(c)::text from trunkline.contacts c where workspace = 'acme'
                union all select to_jsonb(o)::text from trunkline.orders o where workspace = 'acme'
            ) r
            """
        )
    }

    /// Of a gateway that is not run.
    private func routesWithKeys() throws -> Set<String> {
        let gateway = try Gateway(
            GatewayConfiguration(
                host: "127.0.0.1",
                port: 0,
                databaseURL: "postgresql://nobody@127.0.0.1:1/none",
                amqpURL: "amqp://127.0.0.1:1/",
                carriers: .standard,
                sources: .standard,
                events: .standard,
                now: { Timestamp(microseconds: 0) }
            ),
            logger: Logger(label: "tests")
        )
        return Set(
            gateway.routes.filter { $0.access != .everybody }.map { "\($0.method.rawValue) \($0.pattern)" }
        )
    }
}
