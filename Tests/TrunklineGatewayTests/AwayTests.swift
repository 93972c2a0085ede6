import Glibc
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Broker and database that are stopped, one and both, and a database that only falls silent.
@Suite struct AwayTests {
    @Test func whileTheDatabaseIsStoppedTheBrokerTakesIt() async throws {
        try await TestInstall.with(shards: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await install.addForeignLine()
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send, .read, .operate])
            try await known(key, gateway)
            let first = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            #expect(first.member("state") == "accepted")

            try await servers.database.stop()
            let second = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:2"))
            #expect(second.status == 202)
            #expect(second.text == #"{"key":"order:2","line":"line-01","state":"queued_unverified"}"#)
            #expect(second["Location"] == "/v1/messages/order:2" && second["Idempotency-Replayed"] == nil)
            let batch = try await gateway.ask(
                "POST",
                "/v1/messages/batch",
                key: key,
                json: #"{"messages":[\#(notice("order:3")),\#(notice("order:4", to: "x")),\#(notice("order:1"))]}"#
            )
            #expect(results(batch).map { $0["status"] as? Int } == [202, 400, 202])
            // What is known of lines and keys counts still.
            let foreign = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("a", line: "foreign"))
            #expect(foreign.status == 404)
            let nobody = try await gateway.ask(
                "POST",
                "/v1/messages",
                key: "trk_" + String(repeating: "A", count: 43),
                json: notice("a")
            )
            #expect(nobody.status == 401)
            // What only the database can tell.
            for (method, path) in [("GET", "/v1/messages/order:1"), ("POST", "/v1/messages/order:1/cancel")] {
                let answer = try await gateway.ask(method, path, key: key)
                #expect(answer.status == 503 && answer["Retry-After"] != nil, "\(path)")
            }
            let fact = try await gateway.ask("PUT", "/v1/orders/1", key: key, json: #"{"state":"paid"}"#)
            #expect(fact.status == 503 && fact["Retry-After"] != nil)
            let ready = try await gateway.ask("GET", "/readyz")
            #expect(ready.status == 200 && ready.member("broker") == "ok" && ready.member("database") != "ok")

            try await servers.database.start()
            try await install.wait(for: "the gateway to commit again") {
                let answer = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:5"))
                return answer.member("state") == "accepted"
            }
            _ = try install.startWorker()
            try await install.waitUntilSent(4)
            let again = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:2"))
            #expect(again.member("state") == "accepted" && again["Idempotency-Replayed"] == "true")
            try await install.requireProof(sent: 4)
        }
    }

    @Test func whileTheBrokerIsStoppedTheDatabaseTakesItAndWithBothAwayNobodyDoes() async throws {
        try await TestInstall.with(shards: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send, .read])
            try await known(key, gateway)
            try await servers.broker.stop()
            for number in 1...3 {
                let answer = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:\(number)"))
                #expect(answer.status == 202 && answer.member("state") == "accepted")
            }
            try await install.wait(for: "the gateway to see that the broker has gone") {
                try await gateway.ask("GET", "/readyz").member("broker") != "ok"
            }
            #expect(try await gateway.ask("GET", "/readyz").status == 200)

            try await servers.database.stop()
            let refused = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:4"))
            #expect(refused.status == 503 && kind(refused) == "unavailable" && refused["Retry-After"] == "2")
            let batch = try await gateway.ask(
                "POST",
                "/v1/messages/batch",
                key: key,
                json: #"{"messages":[\#(notice("order:4"))]}"#
            )
            #expect(batch.status == 503 && batch["Retry-After"] == "2")
            let ready = try await gateway.ask("GET", "/readyz")
            #expect(ready.status == 503 && ready.member("status") == "not_ready")
            #expect(try await gateway.ask("GET", "/healthz").status == 200)

            try await servers.database.start()
            try await servers.broker.start()
            try await install.wait(for: "the gateway to accept again") {
                try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:4")).status == 202
            }
            _ = try install.startWorker()
            try await install.waitUntilSent(4)
            try await install.requireProof(sent: 4)
        }
    }

    /// Also when it has committed and only its answer is lost: the broker gets the same key, and it is one message.
    @Test(arguments: [FaultProxy.Direction.toServer, .toClient])
    func aDatabaseThatFallsSilentCountsAsAway(_ direction: FaultProxy.Direction) async throws {
        try await TestInstall.with(shards: 2) { install in
            let real = try #require(install.databaseURL.firstMatch(of: /:(\d+)\//).flatMap { UInt16($0.1) })
            try await FaultProxy.with(to: real, speech: .postgres) { proxy in
                let url = install.databaseURL.replacing(":\(real)/", with: ":\(proxy.port)/")
                let gateway = try await install.startGateway(environment: ["TRUNKLINE_DATABASE_URL": url])
                let (_, key) = try await install.makeAPIKey([.send])
                try await known(key, gateway)
                let first = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
                #expect(first.member("state") == "accepted")
                let block = await proxy.block(direction)
                let second = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:2"))
                #expect(second.status == 202 && second.member("state") == "queued_unverified")
                proxy.unblock(block.block)
                try await install.wait(for: "the gateway to commit again") {
                    let answer = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:3"))
                    return answer.member("state") == "accepted"
                }
                _ = try install.startWorker()
                try await install.waitUntilSent(3)
                try await install.requireProof(sent: 3)
            }
        }
    }

    /// A question has an end, and so has a gateway that is told to end: nothing waits for a server that says nothing.
    @Test func aQuestionToASilentDatabaseIsAnswered() async throws {
        try await TestInstall.with(shards: 2) { install in
            let real = try #require(install.databaseURL.firstMatch(of: /:(\d+)\//).flatMap { UInt16($0.1) })
            try await FaultProxy.with(to: real, speech: .postgres) { proxy in
                let url = install.databaseURL.replacing(":\(real)/", with: ":\(proxy.port)/")
                let gateway = try await install.startGateway(environment: ["TRUNKLINE_DATABASE_URL": url])
                let (_, key) = try await install.makeAPIKey([.send, .read])
                try await known(key, gateway)
                // Connections that have answered before.
                #expect(try await gateway.ask("GET", "/v1/messages/order:1", key: key).status == 404)
                let block = await proxy.block(.toClient)
                let answer = try await gateway.ask("GET", "/v1/messages/order:1", key: key)
                #expect(answer.status == 503 && answer["Retry-After"] != nil)
                gateway.send(SIGTERM)
                #expect(await gateway.end() == 0)
                proxy.unblock(block.block)
            }
        }
    }

    @Test func aGatewayMayStartBeforeTheDatabase() async throws {
        try await TestInstall.with(shards: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            let (_, key) = try await install.makeAPIKey([.send])
            try await servers.database.stop()
            let gateway = try await install.startGateway(waitsUntilReady: false)
            let early = try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1"))
            #expect(early.status == 503 && early["Retry-After"] != nil)
            #expect(try await gateway.ask("GET", "/readyz").status == 503)
            try await servers.database.start()
            try await install.wait(for: "the gateway to accept") {
                try await gateway.ask("POST", "/v1/messages", key: key, json: notice("order:1")).status == 202
            }
        }
    }
}
