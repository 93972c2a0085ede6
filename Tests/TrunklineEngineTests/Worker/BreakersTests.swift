import CurlDriver
import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct BreakersTests {
    private static let origin = "https://api.example"
    private let kit: PartsKit

    init() throws {
        kit = try PartsKit(lines: ["a", "b", "c", "d"])
        kit.own()
    }

    private func fail(_ lanes: ClosedRange<Int32>) throws {
        for number in lanes {
            let lane = try #require(kit.parts.board.ownedLane(number))
            let settings = try #require(kit.parts.directory[number])
            for _ in 1...2 { kit.parts.board.noteCall(of: lane, settings, isFailure: true, at: kit.here.now) }
        }
    }

    private func look() {
        kit.parts.breakers.look()
        kit.control.endAll()
    }

    private let answer = HTTPResponse(status: 503)
    private let silence = HTTPFailure(sent: .surelyNot, cause: .connect, reason: "no connection")

    @Test func itOpensWhenManyLanesFailAndNotBefore() throws {
        try fail(1...2)
        look()
        #expect(kit.model.breakers.isEmpty, "two may be bad luck")
        try fail(3...3)
        look()
        #expect(kit.model.breakers[Self.origin] != nil)
        let settings = try #require(kit.parts.directory["a"])
        #expect(!kit.parts.origins.isBroken(settings), "it is the row that says so")
        look()
        #expect(kit.parts.origins.isBroken(settings) && kit.parts.origins.isBroken(Self.origin))
    }

    @Test func whatOtherWorkersAnswerKeepsItClosed() throws {
        for boot in 2...4 as ClosedRange<UInt8> {
            kit.model.beat(
                Heartbeat(
                    boot: BootID(bytes: Array(repeating: boot, count: 16)),
                    host: "",
                    processID: 1,
                    version: "",
                    backends: [],
                    hasBroker: true,
                    isStopping: false,
                    origins: [OriginReport(origin: Self.origin, counts: CallCounts(active: 10), reach: nil)]
                )
            )
        }
        kit.parts.membership.look(at: kit.here.now)
        kit.control.endAll()
        try fail(1...4)
        look()
        #expect(kit.model.breakers.isEmpty, "one worker whose own network is broken stops nobody else")
    }

    @Test func oneProbeIsMadeOfALaneWithWorkAndItsAnswerClosesIt() throws {
        try fail(1...4)
        look()
        let lane = try #require(kit.parts.board.lane(3))
        kit.loop.pass(.seconds(4))
        kit.parts.membership.renew(at: kit.here.now)
        kit.control.endAll()
        look()
        #expect(kit.http.calls.isEmpty, "nobody has work")
        lane.add(kit.job(1))
        look()
        look()
        #expect(kit.http.calls.count == 1 && kit.http.calls[0].request.url.hasPrefix(PartsKit.base + "c/health"))

        kit.http.end(.failure(silence))
        kit.control.endAll()
        #expect(kit.model.breakers[Self.origin]?.closedAt == nil)
        kit.loop.pass(.seconds(4))
        kit.parts.membership.renew(at: kit.here.now)
        kit.control.endAll()
        for _ in 1...3 where kit.http.calls.isEmpty {
            kit.loop.pass(.seconds(4))
            kit.parts.membership.renew(at: kit.here.now)
            kit.control.endAll()
            look()
        }
        #expect(kit.http.calls.count == 1)
        kit.http.end(.success(HTTPResponse(status: 200)))
        kit.control.endAll()
        _ = kit.parts.agenda.takeLanes()
        look()
        #expect(!kit.parts.origins.isBroken(Self.origin) && !lane.isSuspect)
        #expect(kit.parts.agenda.takeLanes() == [1, 2, 3, 4], "every lane of the origin goes on")
    }

    @Test func repeatedCallsHaveABudgetPerOrigin() throws {
        let settings = try #require(kit.parts.directory["a"])
        var job = kit.job(1)
        #expect(kit.parts.origins.wait(for: job, settings, kit.here.now) == nil)
        job.tries = 1
        var free = 0
        while kit.parts.origins.wait(for: job, settings, kit.here.now) == nil, free < 1_000 { free += 1 }
        #expect(free == 50)
        kit.parts.origins.answered(Self.origin, wasRepeated: true)
        #expect(kit.parts.origins.wait(for: job, settings, kit.here.now) == nil)
        #expect(kit.parts.origins.wait(for: job, settings, kit.here.now) != nil)
    }
}
