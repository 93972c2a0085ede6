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

    /// Another worker says what it knows of the origin.
    private func beat(_ boot: UInt8, _ counts: CallCounts, _ word: Reach.Word? = nil) {
        kit.beat(
            BootID(bytes: Array(repeating: boot, count: 16)),
            [OriginReport(origin: Self.origin, counts: counts, reach: word)]
        )
    }

    private func lookAtTheOthers() {
        kit.parts.membership.look(at: kit.here.now)
        kit.control.endAll()
    }

    @Test func whatOtherWorkersAnswerKeepsItClosed() throws {
        for boot in 2...4 as ClosedRange<UInt8> { beat(boot, CallCounts(active: 10)) }
        lookAtTheOthers()
        try fail(1...4)
        look()
        #expect(kit.model.breakers.isEmpty, "one worker whose own network is broken stops nobody else")
    }

    /// They are no reason to stop those that are answered, however many they are.
    @Test func workersThatAreCutOffHaveNoSay() throws {
        beat(2, CallCounts(active: 1, failing: 1), .silent)
        beat(3, CallCounts(active: 1, failing: 1), .silent)
        beat(4, CallCounts(active: 10), .answers)
        lookAtTheOthers()
        try fail(1...4)
        look()
        #expect(kit.model.breakers.isEmpty)
    }

    @Test func aWorkerThatIsCutOffOpensNone() throws {
        let settings = try #require(kit.parts.directory["a"])
        func askInVain() {
            kit.parts.health.ask(settings, isQuestion: true) { _ in }
            kit.http.end(.failure(silence))
        }
        askInVain()
        kit.loop.pass(.seconds(4))
        askInVain()
        kit.parts.membership.renew(at: kit.here.now)
        kit.control.endAll()
        beat(2, CallCounts(active: 4, failing: 4))
        beat(3, CallCounts(active: 1), .answers)
        lookAtTheOthers()
        #expect(kit.parts.membership.isCutOff)
        try fail(1...4)
        look()
        #expect(kit.model.breakers.isEmpty)
    }

    /// A lane whose own answers hang would else speak for the whole origin.
    @Test func everyLaneIsAskedWhetherItsOriginAnswers() throws {
        var asked: Set<String> = []
        for _ in 1...20 {
            beat(2, CallCounts(), .silent)
            lookAtTheOthers()
            kit.parts.health.askOrigins(kit.parts.membership, at: kit.here.now)
            asked.insert(try #require(kit.http.calls.first).request.url)
            kit.http.end(.success(HTTPResponse(status: 200)))
            kit.loop.pass(.seconds(2))
            kit.parts.membership.renew(at: kit.here.now)
            kit.control.endAll()
        }
        #expect(asked.count == 4)
    }

    /// Lets the breaker's next probe fall due, and looks.
    private func passAndLook(_ span: Duration = .seconds(4)) {
        kit.loop.pass(span)
        kit.parts.membership.renew(at: kit.here.now)
        kit.control.endAll()
        look()
    }

    @Test func oneProbeIsMadeOfALaneWithWorkAndItsAnswerClosesIt() throws {
        try fail(1...4)
        look()
        let lane = try #require(kit.parts.board.lane(3))
        lane.add(kit.job(1))
        passAndLook()
        look()
        #expect(kit.http.calls.count == 1 && kit.http.calls[0].request.url.hasPrefix(PartsKit.base + "c/health"))

        kit.http.end(.failure(HTTPFailure(sent: .surelyNot, cause: .shortage, reason: "no descriptor")))
        kit.control.endAll()
        #expect(kit.model.breakers[Self.origin]?.closedAt == nil, "a probe that never left says nothing")
        for _ in 1...4 where kit.http.calls.isEmpty { passAndLook() }
        kit.http.end(.failure(silence))
        kit.control.endAll()
        #expect(kit.model.breakers[Self.origin]?.closedAt == nil)
        for _ in 1...4 where kit.http.calls.isEmpty { passAndLook() }
        #expect(kit.http.calls.count == 1)
        kit.http.end(.success(HTTPResponse(status: 200)))
        kit.control.endAll()
        _ = kit.parts.agenda.takeLanes()
        look()
        #expect(!kit.parts.origins.isBroken(Self.origin) && !lane.isSuspect)
        #expect(kit.parts.agenda.takeLanes() == [1, 2, 3, 4], "every lane of the origin goes on")
    }

    /// Those that have work may be the ones that reach nobody.
    @Test func aWorkerWithoutWorkAsksToo() throws {
        try fail(1...4)
        look()
        passAndLook()
        #expect(kit.http.calls.count == 1)
        kit.http.end(.success(HTTPResponse(status: 200)))
        kit.control.endAll()
        look()
        #expect(!kit.parts.origins.isBroken(Self.origin))
    }

    @Test func whoIsNotAnsweredLeavesTheProbeToTheOthersFirst() throws {
        try fail(1...4)
        kit.parts.origins.callBegan(Self.origin, isQuestion: false, at: kit.here.now)
        _ = kit.parts.origins.callEnded(Self.origin, .failure(silence), isQuestion: false, at: kit.here.now)
        look()
        passAndLook()
        #expect(kit.http.calls.isEmpty, "it was seen to be due just now")
        passAndLook(.milliseconds(500))
        #expect(kit.http.calls.isEmpty)
        passAndLook(.milliseconds(500))
        #expect(kit.http.calls.count == 1, "nobody else wanted it")
    }

    /// Without it the worker that made a probe, and that has no work, would have no say when the lanes fail again.
    @Test func anAnsweredQuestionCountsWhereNoLaneCalled() throws {
        let origins = kit.parts.origins
        let settings = try #require(kit.parts.directory["a"])
        func ask(_ result: Result<HTTPResponse, HTTPFailure>) {
            kit.parts.health.ask(settings, isQuestion: true) { _ in }
            kit.http.end(result)
        }
        func counts() -> CallCounts? { kit.parts.board.callCounts(at: kit.here.now)[Self.origin] }
        #expect(counts() == nil)
        ask(.success(HTTPResponse(status: 200)))
        #expect(counts() == CallCounts(active: 1))
        ask(.failure(HTTPFailure(sent: .surelyNot, cause: .shortage, reason: "no descriptor")))
        #expect(counts() == CallCounts(active: 1), "it says nothing")
        ask(.success(HTTPResponse(status: 503)))
        #expect(counts() == CallCounts(active: 1, failing: 1), "an answer of no use")
        ask(.failure(silence))
        #expect(counts() == CallCounts(active: 1, failing: 1))
        _ = origins.broke([Self.origin])
        _ = origins.broke([])
        #expect(counts() == nil, "a silence that is over speaks against nobody")
        ask(.success(HTTPResponse(status: 200)))
        try fail(1...2)
        #expect(counts() == CallCounts(active: 2, failing: 2), "lanes that called speak for themselves")
        kit.loop.pass(.seconds(31))
        #expect(counts() == nil, "it is no news any more")
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
