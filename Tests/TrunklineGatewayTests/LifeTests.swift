import Glibc
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// How a gateway ends.
@Suite struct LifeTests {
    @Test func nothingThatWasAnsweredIsMissingAfterAKill() async throws {
        try await TestInstall.with { install in
            let gateways = [try await install.startGateway(), try await install.startGateway()]
            let (_, key) = try await install.makeAPIKey([.send])
            for gateway in gateways { try await known(key, gateway) }
            let tally = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<8 {
                    group.addTask {
                        for number in 0..<40 {
                            let name = "order:\(client).\(number)"
                            tally.asked()
                            // Whoever gets no answer, or 503 because the machine is busy, asks the other one: the same
                            // request again.
                            var turn = 0
                            try await eventually("an answer to \(name)") {
                                let answer = try? await gateways[turn % 2].ask(
                                    "POST",
                                    "/v1/messages",
                                    key: key,
                                    json: notice(name)
                                )
                                turn += 1
                                guard let answer, answer.status != 503 else { return false }
                                if (200..<300).contains(answer.status) { tally.answered(name) }
                                return true
                            }
                        }
                    }
                }
                group.addTask {
                    try await eventually("requests to be under way") {
                        tally.askedSoFar > 60
                    }
                    gateways[0].kill()
                }
                try await group.waitForAll()
            }
            #expect(!gateways[0].isRunning && gateways[1].isRunning)
            let names = tally.names
            #expect(names.count == 320, "the other gateway took what the killed one did not answer")
            #expect(try await install.jobs() == 320)
            _ = try install.startWorker()
            try await install.waitUntilSent(320)
            try await install.requireProof(sent: 320)
        }
    }

    @Test func toldToStopItAnswersWhatCameAndEnds() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let (_, key) = try await install.makeAPIKey([.send])
            try await known(key, gateway)
            let body = notice("order:1")
            let connection = try #require(HTTPConnection(to: gateway.port))
            connection.write(
                "POST /v1/messages HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: \(body.utf8.count)\r\n"
                    + "Authorization: Bearer \(key)\r\nContent-Type: application/json\r\n\r\n"
            )
            // Its head has come.
            #expect(await offPool { connection.readInterim() } == 100)
            gateway.send(SIGTERM)
            try await eventually("the gateway to take no connection any more") {
                await offPool { HTTPConnection(to: gateway.port) == nil }
            }
            #expect(gateway.isRunning)
            let answer = await offPool { connection.write(body) ? connection.readAnswer() : nil }
            #expect(answer?.status == 202)
            #expect(await gateway.end() == 0)
            #expect(try await install.jobs() == 1)
        }
    }

    @Test func wordsAndExitCodesAreThoseOfTheHouse() async throws {
        try await TestInstall.with { install in
            let gateway = try await install.startGateway()
            let taken = try await install.trunkline(["gateway", "--listen", "127.0.0.1:\(gateway.port)"])
            #expect(taken.status == 1 && taken.errors.contains("another program listens there"), "\(taken.errors)")
            let cases = [
                (["--listen", "here"], "host:port"),
                (["--listen", "127.0.0.1:0", "--trusted-proxies", "10.0.0.0/40"], "prefix"),
                (["--listen", "127.0.0.1:0", "--proxy-header", "via"], "forwarded"),
                (["--listen", "127.0.0.1:0", "--public-url", "hooks.example.com"], "TRUNKLINE_PUBLIC_URL"),
                (["--listen", "127.0.0.1:0", "--public-url", "https://a.example/?b"], "TRUNKLINE_PUBLIC_URL"),
            ]
            for (arguments, words) in cases {
                let run = try await install.trunkline(["gateway"] + arguments)
                #expect([2, 3].contains(run.status) && run.errors.contains(words), "\(arguments): \(run.errors)")
            }
            gateway.send(SIGINT)
            #expect(await gateway.end() == 0)
        }
    }
}
