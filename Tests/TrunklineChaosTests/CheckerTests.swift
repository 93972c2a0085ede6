import Testing
import TrunklineChaos

/// A checker that cannot fail proves nothing: for each count there is a small story that must trip exactly it, and one
/// beside it that must not.
@Suite struct CheckerTests {
    private func expect(
        _ story: Story,
        trips expected: ChaosReport.Count...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let report = Checker.check(story.evidence)
        let tripped = ChaosReport.Count.allCases.filter { report[$0] > 0 }
        #expect(
            tripped == ChaosReport.Count.allCases.filter(expected.contains),
            "\(report.findings)",
            sourceLocation: sourceLocation
        )
    }

    @Test func aQuietRunIsClean() {
        var story = Story()
        for number in 1...5 {
            story.give("job:\(number)")
            story.send("job:\(number)")
        }
        expect(story)
        let report = Checker.check(story.evidence)
        #expect(report[.promised] == 5 && report[.messages] == 5 && report[.ordered] == 10)
    }

    // MARK: Lost

    @Test func whatWasPromisedAndNeverSentIsLost() {
        var story = Story()
        story.give("job:1")
        expect(story, trips: .lost)
    }

    @Test func whatWasNeverPromisedMayBeMissing() {
        var story = Story()
        story.give("job:1", answer: .unknown)
        story.give("job:2", answer: nil)
        expect(story)
    }

    @Test func anEndWithoutACauseIsALoss() {
        for state in ["cancelled", "superseded", "parked", "expired", "waiting"] {
            var story = Story()
            story.give("job:1")
            story.evidence.finals["job:1"] = .init(state: state, reason: "message_refused")
            expect(story, trips: .lost)
        }
    }

    @Test func anEndWithItsCauseIsNone() {
        var story = Story()
        story.give("cancel:1:1")
        story.cancel("cancel:1:*", saying: [:])
        story.evidence.finals["cancel:1:1"] = .init(state: "cancelled")
        story.give("job:2", supersedeKey: "order", fact: 1)
        story.give("job:3", supersedeKey: "order", fact: 2)
        story.send("job:3")
        story.evidence.finals["job:2"] = .init(state: "superseded")
        expect(story)
    }

    // MARK: Twice

    @Test func aCallAfterAnAnswerIsAvoidable() {
        var story = Story()
        story.give("job:1")
        story.send("job:1")
        story.send("job:1", makesMessage: false)
        expect(story, trips: .calledAgain)
    }

    @Test func withoutKeyMemoryItIsASecondMessageToo() {
        var story = Story()
        story.give("job:1")
        story.send("job:1")
        story.send("job:1")
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func aCallWhoseAnswerWasLostMayBeRepeated() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", status: nil)
        story.send("job:1")
        story.give("job:2")
        story.send("job:2", status: 502)
        story.send("job:2")
        expect(story)
        #expect(Checker.check(story.evidence)[.ambiguousTwice] == 2)
    }

    @Test func theLostAnswerExcusesOnlyUntilAnotherCame() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", status: nil)
        story.send("job:1")
        story.send("job:1")
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func anAnswerThatDiedWithItsWorkerIsExcused() {
        for kind in [FaultRecord.Kind.workerKill, .workerFreeze] {
            var story = Story()
            story.give("job:1")
            story.send("job:1", port: 7)
            story.fault(kind, seconds: 5) {
                $0.ports = [7]; $0.worker = 1
            }
            story.pass(40)
            story.send("job:1", port: 8)
            expect(story)
            #expect(Checker.check(story.evidence)[.lostWithWorker] == 1)
        }
    }

    @Test func aWorkerThatLivedOnInPeaceHadItsAnswer() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.pass(4)
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func anotherWorkersDeathExcusesNothing() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.pass(1)
        story.fault(.workerKill) {
            $0.ports = [9]; $0.worker = 2
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func aDatabaseThatWasAwayDelaysTheRecord() {
        var story = Story()
        story.give("job:1")
        story.fault(.databaseCrash, seconds: 1) { _ in }
        story.send("job:1", port: 7)
        story.pass(5)
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story)
    }

    @Test func anAnswerThatAProxySwallowedIsExcused() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(.flow) {
            $0.ports = [7]; $0.word = "undelivered"
        }
        story.pass(3)
        story.send("job:1", port: 8)
        expect(story)
        #expect(Checker.check(story.evidence)[.lostOnWire] == 1)
    }

    @Test func anAnswerThatWasHeldBackUntilItsWorkerDiedIsExcused() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.pass(-0.03)
        story.fault(.flow) {
            $0.ports = [7]; $0.word = "frozen"
        }
        story.pass(4.4)
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.fault(.flow) {
            $0.ports = [7]; $0.word = "frozen"
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story)
        #expect(Checker.check(story.evidence)[.lostWithWorker] == 1)
    }

    @Test func twoCallsAtOnceBetrayAStaleOwner() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 10)
        story.pass(-5)
        story.send("job:1", makesMessage: false)
        expect(story, trips: .staleOwner)
    }

    @Test func onATroubledWireTheyMayOverlap() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 10, port: 7)
        story.pass(-5)
        story.fault(.flow) {
            $0.ports = [7]; $0.word = "frozen"
        }
        story.send("job:1", makesMessage: false, port: 8)
        expect(story)
    }

    // MARK: Order

    @Test func theOrderOfArrivalIsTheOrderOfSending() {
        for way in [ProducerRecord.Way.row, .shard, .intake] {
            var story = Story()
            story.give("job:1", way: way)
            story.give("job:2", way: way)
            story.send("job:2")
            story.send("job:1")
            expect(story, trips: .outOfOrder)
        }
    }

    @Test func aRowGoesBeforeWhateverComesLater() {
        var story = Story()
        story.give("job:1", way: .row)
        story.give("job:2", way: .shard)
        story.send("job:2")
        story.send("job:1")
        expect(story, trips: .outOfOrder)
    }

    @Test func oneConnectionKeepsItsOrderWithoutWaitingForConfirms() {
        var story = Story()
        story.give("job:1", way: .shard, lasting: 5, producer: 1)
        story.pass(-5)
        story.give("job:2", way: .shard, lasting: 5, producer: 1)
        story.send("job:2")
        story.send("job:1")
        expect(story, trips: .outOfOrder)
    }

    @Test func whatOverlapsOrTookAnotherWayHasNoOrder() {
        var story = Story()
        // Two connections at the same time.
        story.give("job:1", way: .shard, lasting: 5, producer: 1)
        story.pass(-5)
        story.give("job:2", way: .shard, lasting: 5, producer: 2)
        story.send("job:2")
        story.send("job:1")
        // Two queues.
        story.give("job:3", way: .shard, to: "b")
        story.give("job:4", way: .intake, to: "b")
        story.send("job:4")
        story.send("job:3")
        // Another person, another line.
        story.give("job:5", to: "c")
        story.give("job:6", to: "d")
        story.send("job:6")
        story.send("job:5")
        // A doubt: nobody knows when the first arrived.
        story.give("job:7", to: "e", answer: .unknown)
        story.give("job:8", to: "e")
        story.give("job:7", to: "e")
        story.send("job:8")
        story.send("job:7")
        // A repeat by another way overtook its own first message.
        story.give("job:9", way: .shard, to: "f")
        story.give("job:10", way: .shard, to: "f")
        story.give("job:10", way: .row, to: "f", lasting: 0)
        story.send("job:10")
        story.send("job:9")
        expect(story)
    }

    @Test func scheduledJobsGoByTheirTimes() {
        var story = Story()
        story.give("job:1", notBeforeIn: 40)
        story.give("job:2", notBeforeIn: 30)
        story.pass(60)
        story.send("job:1")
        story.send("job:2")
        expect(story, trips: .outOfOrder)
    }

    @Test func anOlderFactNeverFollowsANewerOne() {
        var story = Story()
        story.give("job:1", supersedeKey: "order", fact: 2, way: .shard)
        story.give("job:2", supersedeKey: "order", fact: 1, way: .intake)
        story.send("job:1")
        story.send("job:2")
        expect(story, trips: .olderFact)
    }

    // MARK: Times and ends

    @Test func whatCancelCalledCancelledIsNotSent() {
        var story = Story()
        story.give("cancel:1:1")
        story.cancel("cancel:1:*", saying: ["cancel:1:1": "cancelled"])
        story.send("cancel:1:1")
        expect(story, trips: .sentAfterCancel)
    }

    @Test func whatWasTooLateMayBeSent() {
        var story = Story()
        story.give("cancel:1:1")
        story.cancel("cancel:1:*", saying: ["cancel:1:1": "too_late"])
        story.send("cancel:1:1")
        expect(story)
    }

    @Test(arguments: [
        (FaultRecord.Kind.lineHold, 1.5, false), (.lineHold, 4, true), (.lineState, 28, false), (.lineState, 35, true),
    ])
    func nothingIsSentWhileALineIsHeld(kind: FaultRecord.Kind, after seconds: Double, isTooLate: Bool) {
        var story = Story()
        story.give("job:1")
        story.fault(kind, seconds: 60) { $0.line = "line-01" }
        story.pass(seconds - 60)
        story.send("job:1")
        if isTooLate { expect(story, trips: .sentWhileHeld) } else { expect(story) }
    }

    @Test func nothingIsSentBeforeItsTime() {
        var story = Story()
        story.give("job:1", notBeforeIn: 10)
        story.pass(5)
        story.send("job:1")
        expect(story, trips: .sentEarly)
    }

    @Test func aPaceIsKept() {
        var story = Story()
        story.evidence.paced = [.init(line: "line-01", interval: 1, concurrency: 1, gap: 0)]
        for number in 1...9 { story.give("job:\(number)", to: "p\(number)") }
        for number in 1...9 {
            story.send("job:\(number)", lasting: 0.01)
            story.pass(0.5)
        }
        expect(story, trips: .paceExceeded)
    }

    @Test func aPaceMayJitter() {
        var story = Story()
        story.evidence.paced = [.init(line: "line-01", interval: 1, concurrency: 1, gap: 0)]
        for number in 1...6 { story.give("job:\(number)", to: "p\(number)") }
        for number in 1...6 {
            story.send("job:\(number)", lasting: 0.01)
            story.pass(number == 3 ? 0.5 : 1)
        }
        expect(story)
    }

    @Test func noMoreCallsAtOnceThanAllowed() {
        var story = Story()
        story.evidence.paced = [.init(line: "line-01", interval: 1, concurrency: 1, gap: 0)]
        story.give("job:1", to: "a")
        story.give("job:2", to: "b")
        story.send("job:1", lasting: 5)
        story.pass(-3)
        story.send("job:2", lasting: 0.1)
        expect(story, trips: .paceExceeded)
    }

    @Test func aPersonIsLeftInPeaceForTheGap() {
        var story = Story()
        story.evidence.paced = [.init(line: "line-01", interval: 0.1, concurrency: 1, gap: 10)]
        story.give("job:1")
        story.give("job:2")
        story.send("job:1", lasting: 0.1)
        story.pass(5)
        story.send("job:2", lasting: 0.1)
        expect(story, trips: .paceExceeded)
    }

    // MARK: The rest

    @Test func aMessageNobodyGaveIsUnexpected() {
        var story = Story()
        story.send("job:1")
        expect(story, trips: .unexpected)
    }

    @Test func aMessageToSomebodyElseIsMisdirected() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", to: "b")
        expect(story, trips: .misdirected)
    }

    @Test func trunklineMustAgree() {
        var story = Story()
        story.give("job:1")
        story.send("job:1")
        story.evidence.finals["job:1"] = .init(state: "parked", reason: "unknown_too_long")
        expect(story, trips: .disagrees)
        story.evidence.finals = [:]
        story.evidence.checkAddsUp = false
        expect(story, trips: .disagrees)
    }

    @Test func processesMustBehave() {
        var story = Story()
        story.evidence.misbehaviour = ["a worker ended with 1 on SIGTERM"]
        expect(story, trips: .misbehaviour)
    }
}
