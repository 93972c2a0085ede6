import Foundation
import TestKit
import Testing
import TrunklineSimulator
import TrunklineTesting

/// What the API's contract leaves open about a key that it has seen before: the answer to a replay, and how soon it knows.
@Suite struct ReplayTests {
    @Test(arguments: [200, 201, 204, 208])
    func aReplayIsSentWhateverWordItIsAnsweredWith(status: Int) async throws {
        try await TestInstall.with(lines: 1) { install in
            let settings = #"{"replayStatus":\#(status),"replayBody":"html"}"#
            try install.simulator.control("PUT", "/__sim/settings", settings)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"acceptThenDrop","count":1}"#)
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("again")])
            try await install.waitUntilSent(1)
            // Questions for health are answered with 200 too.
            #expect(install.simulator.report().statuses[status] ?? 0 >= 1)
            #expect(install.simulator.report().total.replays == 1)
            try await install.requireProof(sent: 1)
        }
    }

    /// The answer is lost, and the API is still at work on the message when it is asked again: 409. Asked once more, it knows.
    @Test func aKeyInFlightIsAskedAgainUntilTheApiKnows() async throws {
        try await TestInstall.with(lines: 1) { install in
            try install.simulator.control("PUT", "/__sim/settings", #"{"inFlight":"conflict","inFlightMs":6000}"#)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"acceptThenDrop","count":1}"#)
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("slow")])
            try await install.wait(for: "the 409") { install.simulator.report().statuses[409] ?? 0 > 0 }
            try await install.waitUntilSent(1)
            #expect(install.simulator.report().total.replays == 1)
            #expect(try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 1)
            try await install.requireProof(sent: 1)
        }
    }

    /// An API whose memory is slow makes another message of a call that comes while the first is in the air: there is none,
    /// however often the key is given meanwhile, and by whomever.
    @Test func noTwoCallsOfOneKeyRace() async throws {
        try await TestInstall.with(shards: 2, lines: 2) { install in
            try install.simulator.control("PUT", "/__sim/settings", #"{"inFlight":"message"}"#)
            try install.simulator.control("POST", "/__sim/answers/hold")
            let first = try install.startWorker()
            let jobs = try TestInstall.jobs(8, persons: 8)
            try await install.publish(jobs)
            try await install.wait(for: "calls in the air") { install.simulator.report().total.messages == 8 }
            _ = try install.startWorker()
            try await install.publish(jobs)
            try await install.publish(jobs, routingKey: "send")
            // It gives its shards away while its calls are in the air.
            first.send(SIGTERM)
            try await install.wait(for: "the second worker to own every shard") {
                let free = try await install.number("select count(*) from trunkline.shards where owner is null")
                let owners = try await install.number("select count(distinct owner) from trunkline.shards")
                return free == 0 && owners == 1
            }
            try await install.wait(for: "the repeats to be taken") {
                try await install.queues().values.allSatisfy { $0.messages == 0 }
            }
            try install.simulator.control("POST", "/__sim/answers/release")
            try await install.waitUntilSent(8)
            #expect(install.simulator.report().sentTwiceOverlapping == 0)
            try await install.requireProof(sent: 8)
        }
    }
}
