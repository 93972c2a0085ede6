import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// What was answered 2xx is stored, whatever stops and dies.
@Suite struct SenderAwayTests {
    /// A signed event of its own for each number.
    private static func post(_ number: Int, _ path: String, _ gateway: TestInstall.GatewayHandle) async throws
        -> HTTPAnswer
    {
        let headers = TestSender.custom.headers(path: path).filter { $0.0 != "Idempotency-Key" }
        return try await gateway.post(
            path,
            headers + [("Idempotency-Key", "e:\(number)")],
            TestSender.paid("\(number)")
        )
    }

    private func requireRun(_ count: Int, _ install: TestInstall) async throws {
        _ = try install.startWorker()
        try await install.wait(for: "\(count) events run, none unfinished", within: .seconds(150)) {
            let ran = try await install.number("select count(*) from trunkline.inbox where outcome = 'planned'")
            let unfinished = try await install.number("select count(*) from trunkline.jobs")
            return ran == Int64(count) && unfinished == 0
        }
        #expect(try await install.events() == count)
        #expect(try await install.eventJobs() == count)
        #expect(try await install.number("select count(*) from trunkline.orders") == count)
        #expect(try await install.number("select count(*) from trunkline.refusals") == 0)
        try await install.trunkline(["check"]).requireSuccess()
    }

    @Test func whileTheDatabaseIsAwayTheBrokerTakesIt() async throws {
        try await TestInstall.with(shards: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            let gateway = try await install.startDoor()
            let path = try await install.add(.custom, as: "custom")
            try await gateway.knows(path)
            for number in 1...2 { #expect(try await Self.post(number, path, gateway).status == 200) }
            try await servers.database.stop()
            // Of one that the database has, too.
            for number in 2...4 {
                let answer = try await Self.post(number, path, gateway)
                #expect(answer.status == 200 && answer.body.isEmpty, "\(answer.text)")
            }
            // Who it is is still known, and so is who it is not.
            #expect(try await gateway.post(.custom, path, secret: "not-the-secret-1").status == 401)
            #expect(try await gateway.post(.custom, "/in/none-of-that-name-0001").status == 404)
            try await servers.database.start()
            try await install.wait(for: "the gateway to store again") {
                guard try await Self.post(5, path, gateway).status == 200 else { return false }
                return try await install.number("select count(*) from trunkline.inbox where event_key like '%e:5'") == 1
            }
            try await requireRun(5, install)
        }
    }

    @Test func whileTheBrokerIsAwayTheDatabaseTakesItAndWithBothAwayNobodyDoes() async throws {
        try await TestInstall.with(shards: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            let gateway = try await install.startDoor()
            let path = try await install.add(.custom, as: "custom")
            try await gateway.knows(path)
            try await servers.broker.stop()
            for number in 1...3 { #expect(try await Self.post(number, path, gateway).status == 200) }
            #expect(try await install.events() == 3)
            try await install.wait(for: "the gateway to see that the broker has gone") {
                try await gateway.ask("GET", "/readyz").member("broker") != "ok"
            }
            try await servers.database.stop()
            let refused = try await Self.post(4, path, gateway)
            #expect(refused.status == 503 && kind(refused) == "unavailable" && refused["Retry-After"] != nil)
            try await servers.database.start()
            try await servers.broker.start()
            try await install.wait(for: "the gateway to take it") {
                try await Self.post(4, path, gateway).status == 200
            }
            try await requireRun(4, install)
        }
    }

    /// Also when it has committed and only its answer is lost: the broker gets the same event.
    @Test func aDatabaseWhoseAnswersAreLostDoublesNothing() async throws {
        try await TestInstall.with(shards: 2) { install in
            let real = try #require(install.databaseURL.firstMatch(of: /:(\d+)\//).flatMap { UInt16($0.1) })
            try await FaultProxy.with(to: real, speech: .postgres) { proxy in
                let url = install.databaseURL.replacing(":\(real)/", with: ":\(proxy.port)/")
                let gateway = try await install.startDoor(["TRUNKLINE_DATABASE_URL": url])
                let path = try await install.add(.custom, as: "custom")
                try await gateway.knows(path)
                #expect(try await Self.post(1, path, gateway).status == 200)
                let block = await proxy.block(.toClient)
                #expect(try await Self.post(2, path, gateway).status == 200)
                proxy.unblock(block.block)
                try await requireRun(2, install)
            }
        }
    }

    @Test func nothingThatWasAnsweredIsMissingAfterAKill() async throws {
        try await TestInstall.with { install in
            let gateways = [try await install.startDoor(), try await install.startDoor()]
            let path = try await install.add(.custom, as: "custom")
            for gateway in gateways { try await gateway.knows(path) }
            let tally = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<8 {
                    group.addTask {
                        for number in client * 40..<client * 40 + 40 {
                            tally.asked()
                            // Whoever gets no answer, or 503 because the machine is busy, asks the other one, as behind a load
                            // balancer.
                            var turn = 0
                            try await eventually("an answer to \(number)") {
                                let answer = try? await Self.post(number, path, gateways[turn % 2])
                                turn += 1
                                guard let answer, answer.status != 503 else { return false }
                                if answer.status == 200 { tally.answered("\(number)") }
                                return true
                            }
                        }
                    }
                }
                group.addTask {
                    try await eventually("requests to be under way") { tally.askedSoFar > 60 }
                    gateways[0].kill()
                }
                try await group.waitForAll()
            }
            #expect(!gateways[0].isRunning && gateways[1].isRunning)
            #expect(tally.names.count == 320)
            try await requireRun(320, install)
        }
    }

    @Test func toldToStopItAnswersWhatCameAndEnds() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startDoor()
            let path = try await install.add(.custom, as: "custom")
            try await gateway.knows(path)
            let request = HTTPConnection.request(
                "POST",
                path,
                headers: TestSender.custom.headers(path: path) + [("Expect", "100-continue")],
                body: Array(TestSender.paid().utf8)
            )
            let connection = try #require(HTTPConnection(to: gateway.port))
            connection.write(Array(request.dropLast(9)))
            // Its head has come.
            #expect(await offPool { connection.readInterim() } == 100)
            gateway.send(SIGTERM)
            try await eventually("the gateway to take no connection any more") {
                await offPool { HTTPConnection(to: gateway.port) == nil }
            }
            let answer = await offPool { connection.write(Array(request.suffix(9))) ? connection.readAnswer() : nil }
            #expect(answer?.status == 200)
            #expect(await gateway.end() == 0)
            #expect(try await install.events() == 1)
        }
    }
}
