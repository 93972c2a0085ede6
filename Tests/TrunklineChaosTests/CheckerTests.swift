import TestKit
import Testing
import TrunklineChaos

/// A checker that cannot fail proves nothing: for each count there is a small story that must trip exactly it, and one
/// beside it that must not.
@Suite struct CheckerTests {
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

    @Test func poisonIsParkedAfterThreeDeathsOverIt() {
        for deaths in [3, 2] {
            var story = Story()
            story.give("job:1")
            for number in 1...3 {
                let port = UInt16(number)
                story.hangUp("job:1", after: 1, makesMessage: false, port: port)
                // The others are no death of its own.
                story.fault(.workerKill) {
                    $0.ports = number <= deaths ? [port] : [99]; $0.worker = number
                }
                if number > deaths { story.flow(port, "cut") }
                story.pass(40)
            }
            story.evidence.finals["job:1"] = .init(state: "parked", reason: "poison")
            if deaths == 3 { expect(story) } else { expect(story, trips: .lost) }
        }
    }

    @Test func whatWasRefusedEightTimesIsParked() {
        for status in [422, 500] {
            var story = Story()
            story.give("job:1")
            for _ in 1...8 { story.send("job:1", status: status, makesMessage: false) }
            story.evidence.finals["job:1"] = .init(state: "parked", reason: "tries_spent")
            if status == 422 { expect(story) } else { expect(story, trips: .lost) }
        }
    }

    @Test func anOlderFactIsParkedOnlyWhenItMayHaveBeenSent() {
        for isRefused in [false, true] {
            var story = Story()
            story.give("job:1", supersedeKey: "order", fact: 1)
            story.send("job:1", status: isRefused ? 429 : 500, makesMessage: false)
            story.give("job:2", supersedeKey: "order", fact: 2)
            story.send("job:2")
            story.evidence.finals["job:1"] = .init(state: "parked", reason: "superseded_unknown")
            if isRefused { expect(story, trips: .lost) } else { expect(story) }
        }
    }

    @Test func anAttemptThatEndedWithItsWorkerMayHaveBeenSent() {
        for isLost in [true, false] {
            var story = Story()
            story.give("job:1", supersedeKey: "order", fact: 1)
            if isLost { story.fault(.workerKill) { $0.worker = 1 } }
            story.give("job:2", supersedeKey: "order", fact: 2)
            story.send("job:2")
            story.evidence.finals["job:1"] = .init(state: "parked", reason: "superseded_unknown")
            if isLost { expect(story) } else { expect(story, trips: .lost) }
        }
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

    @Test(arguments: [(FaultRecord.Kind.workerKill, 0.01), (.workerFreeze, 38)])
    func anAnswerThatDiedWithItsWorkerIsExcused(kind: FaultRecord.Kind, lasting seconds: Double) {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(kind, seconds: seconds) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(kind == .workerKill ? 40 : 4)
        story.send("job:1", port: 8)
        expect(story)
        #expect(Checker.check(story.evidence)[.lostWithWorker] == 1)
    }

    @Test func aWorkerThatWentOnAfterItsFreezeReadItsAnswer() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(.workerFreeze, seconds: 5) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func aWorkerThatIsKilledRightAfterItsFreezeHasRecordedNothing() {
        for rest in [0.1, 12] {
            var story = Story()
            story.give("job:1")
            story.send("job:1", port: 7)
            story.pass(0.3)
            story.fault(.workerFreeze, seconds: 4) {
                $0.ports = [7]; $0.worker = 1
            }
            story.pass(rest)
            story.fault(.workerKill) {
                $0.ports = [7]; $0.worker = 1
            }
            story.pass(40)
            story.send("job:1", port: 8)
            if rest == 0.1 { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
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

    /// The request comes through when the wire goes on, and whoever made it is dead.
    @Test(arguments: [true, false])
    func whatADeadWorkerHadGivenToAFrozenWireIsExcused(isFrozen: Bool) {
        var story = Story()
        story.give("job:1")
        story.label(7, worker: 1)
        if isFrozen { story.flow(7, "frozen") }
        story.pass(1)
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(4)
        if isFrozen { story.flow(7, "frozen") }
        story.send("job:1", port: 7)
        story.pass(40)
        story.send("job:1", port: 8)
        if isFrozen { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
    }

    /// A connection that was made in a freeze is in no record: whose it was, nobody has seen.
    @Test(arguments: [(true, false), (false, false), (true, true)])
    func whatLayInTheKernelWhenAWorkerDiedIsExcused(isFrozen: Bool, isHungUp: Bool) {
        var story = Story()
        story.give("job:1")
        story.fault(.workerKill) {
            $0.ports = [9]; $0.worker = 1
        }
        story.pass(4)
        if isFrozen { story.past(.proxyFreeze, seconds: 5) { $0.part = .api } }
        if isHungUp { story.hangUp("job:1", after: 0.01, port: 7) } else { story.send("job:1", port: 7) }
        story.pass(40)
        story.send("job:1", port: 8)
        if isFrozen { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
    }

    @Test func twoCallsAtOnceBetrayAStaleOwner() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 10)
        story.pass(-5)
        story.send("job:1", makesMessage: false)
        expect(story, trips: .staleOwner)
    }

    /// The client has given up after its time-out, and the end of its connection is held back.
    @Test(arguments: [(16.0, false), (5, true)])
    func onAFrozenWireTheyMayOverlapOnceTheTimeoutIsOver(seconds: Double, isTooEarly: Bool) {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 20, status: nil, because: "closed", port: 7)
        story.pass(-10)
        story.flow(7, "frozen")
        story.pass(9)
        story.flow(7, "frozen")
        story.pass(seconds - 19.02)
        story.send("job:1", makesMessage: false, port: 8)
        if isTooEarly { expect(story, trips: .staleOwner) } else { expect(story) }
    }

    @Test func aSlowWireExcusesNoOverlap() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 18, port: 7)
        story.past(.proxySlow, seconds: 18) {
            $0.part = .api; $0.delay = 200_000_000
        }
        story.pass(-2)
        story.send("job:1", makesMessage: false, port: 8)
        expect(story, trips: .staleOwner)
    }

    @Test(arguments: [(FaultRecord.Kind.workerFreeze, 16.0, false), (.workerFreeze, 10, true)])
    func aLeaseThatIsOverMayBeTakenWhileTheOldCallHangs(kind: FaultRecord.Kind, seconds: Double, isTooEarly: Bool) {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lasting: 30, status: nil, because: "closed", port: 7)
        story.past(kind, seconds: 29) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(seconds - 30)
        story.send("job:1", makesMessage: false, port: 8)
        if isTooEarly { expect(story, trips: .staleOwner) } else { expect(story) }
    }

    /// A request lies in a frozen wire until its client has given it up and another one is under way; then it comes.
    @Test(arguments: [(20.0, false), (10, true)])
    func whatTheWireHeldBackBeyondItsTimeoutIsOverWhenItComes(seconds: Double, isTooEarly: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.partition(7, worker: 1, .toServer, began: 0, seconds: seconds)
        story.pass(-0.02)
        story.send("job:1", lasting: 0.1, port: 8)
        story.pass(-0.08)
        story.hangUp("job:1", after: 0.001, makesMessage: false, port: 7)
        if isTooEarly { expect(story, trips: .staleOwner) } else { expect(story) }
    }

    // MARK: Hang-ups

    @Test func whoHangsUpAndCallsAgainIsFound() {
        var story = Story()
        story.give("job:1")
        story.hangUp("job:1", after: 0.05)
        story.send("job:1")
        story.give("job:2")
        story.hangUp("job:2", after: 0.05, makesMessage: false)
        story.send("job:2")
        expect(story, trips: .hungUp, .sentTwice)
        let report = Checker.check(story.evidence)
        #expect(report[.hungUp] == 2 && report[.sentTwice] == 1 && report[.hangUps] == 2)
    }

    @Test func aWholeTimeoutIsACause() {
        var story = Story()
        story.give("job:1")
        story.hangUp("job:1", after: 14.9)
        story.send("job:1")
        expect(story)
    }

    @Test func aTimeoutCountsFromWhenTheRequestLeft() {
        for isFrozen in [true, false] {
            var story = Story()
            story.give("job:1")
            // The connection was made in the freeze: nobody told it of its begin.
            if isFrozen {
                story.fault(.proxyFreeze, seconds: 6) { $0.part = .api }
            } else {
                story.fault(.proxySlow, seconds: 6) {
                    $0.part = .api; $0.delay = 250_000_000
                }
            }
            story.hangUp("job:1", after: 9)
            story.send("job:1")
            if isFrozen { expect(story) } else { expect(story, trips: .hungUp, .sentTwice) }
        }
    }

    @Test func aCutConnectionIsACauseAndAnothersIsNot() {
        for port in [7, 8] as [UInt16] {
            var story = Story()
            story.give("job:1")
            story.hangUp("job:1", after: 0.05, port: 7)
            story.flow(port, "cut")
            story.pass(3)
            story.send("job:1", port: 9)
            if port == 7 { expect(story) } else { expect(story, trips: .hungUp, .sentTwice) }
        }
    }

    @Test(arguments: [FaultRecord.Kind.workerKill, .workerFreeze, .rollingDeploy])
    func theEndOfItsWorkerIsACauseAndAnothersIsNot(kind: FaultRecord.Kind) {
        for worker in [1, 2] {
            var story = Story()
            story.give("job:1")
            story.label(7, worker: 1)
            story.pass(5)
            story.send("job:1", lasting: 2, status: nil, because: "closed", port: 7)
            story.past(kind, seconds: 0.5) { $0.worker = worker }
            story.pass(40)
            story.send("job:1", port: 8)
            if worker == 1 { expect(story) } else { expect(story, trips: .hungUp, .sentTwice) }
        }
    }

    /// A worker gives a request to a frozen wire, on a connection that nobody has seen yet, and dies. Its port was another
    /// worker's before.
    @Test(arguments: [true, false])
    func theLabelOfAnEarlierConnectionSaysNothing(isAnother: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.pass(10)
        let earlier = story.now
        story.pass(10)
        story.give("job:1")
        story.fault(.proxyFreeze, seconds: 6) { $0.part = .api }
        story.pass(-3.5)
        story.fault(.workerKill, seconds: 0) {
            $0.ports = [9]; $0.worker = 2
        }
        story.pass(3.5)
        story.hangUp("job:1", after: 0.003, port: 7)
        if isAnother { story.evidence.calls[0].earlierUse = earlier }
        story.pass(60)
        story.send("job:1", port: 8)
        if isAnother { expect(story) } else { expect(story, trips: .hungUp, .sentTwice) }
    }

    /// A number comes back to a connection that was made in a freeze, lay in the kernel and was never labelled.
    @Test(arguments: [(2.0, false), (9, true)])
    func theLabelOfADeadWorkersConnectionSaysNothing(diedBefore seconds: Double, isFinding: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.pass(5)
        story.fault(.workerKill) {
            $0.worker = 1; $0.ports = [7]
        }
        story.pass(20)
        story.give("job:1")
        story.fault(.proxyFreeze, seconds: 5) { $0.part = .api }
        story.pass(-seconds)
        story.fault(.workerKill) { $0.worker = 2 }
        story.pass(seconds)
        story.hangUp("job:1", after: 0.001, port: 7)
        story.pass(3)
        story.send("job:1", port: 8)
        if isFinding { expect(story, trips: .hungUp, .sentTwice) } else { expect(story) }
    }

    @Test func aDeathLongAfterTheHangUpIsNoCause() {
        var story = Story()
        story.give("job:1")
        story.hangUp("job:1", after: 0.05, port: 7)
        story.pass(5)
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story, trips: .hungUp, .sentTwice)
    }

    // MARK: The wire

    @Test func aSlowWireExcusesNoRepeat() {
        var story = Story()
        story.give("job:1")
        story.flow(7, "slowed")
        story.pass(4)
        story.send("job:1", port: 7)
        story.pass(4)
        story.flow(7, "slowed")
        story.past(.proxySlow, seconds: 8) {
            $0.part = .api; $0.delay = 200_000_000
        }
        story.pass(3)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    @Test func anAnswerThatCameThroughAfterTheTimeoutIsExcused() {
        for seconds in [15.0, 6] {
            var story = Story()
            story.give("job:1")
            story.send("job:1", port: 7)
            story.pass(-0.03)
            story.flow(7, "frozen")
            story.pass(seconds)
            story.flow(7, "frozen")
            story.pass(3)
            story.send("job:1", port: 8)
            if seconds == 15 { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
        }
    }

    @Test func anAnswerThatWasHeldBackUntilItsConnectionWasCutIsExcused() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.pass(-0.03)
        story.flow(7, "frozen")
        story.pass(5)
        story.flow(7, "undelivered")
        story.pass(3)
        story.send("job:1", port: 8)
        expect(story)
        #expect(Checker.check(story.evidence)[.lostOnWire] == 1)
    }

    @Test func aCutLongAfterTheAnswerExcusesNothing() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.pass(3)
        story.flow(7, "cut")
        story.pass(3)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    // MARK: Partitions

    /// What the worker says is held back, and what the API says comes through, or the other way round.
    @Test(arguments: FaultProxy.Direction.allCases)
    func aPartitionHoldsBackWhatGoesItsWay(direction: FaultProxy.Direction) {
        // The answer came through when the worker had given it up.
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.send("job:1", port: 7)
        story.partition(7, worker: 1, direction, began: 0.03, seconds: 16)
        story.pass(3)
        story.send("job:1", port: 8)
        if direction == .toServer { expect(story, trips: .sentTwice, .calledAgain) } else { expect(story) }

        // The end of a call that was given up was held back.
        story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.send("job:1", lasting: 20, status: nil, because: "closed", port: 7)
        story.partition(7, worker: 1, direction, began: 19, seconds: 18.9)
        story.pass(-4)
        story.send("job:1", makesMessage: false, port: 8)
        if direction == .toClient { expect(story, trips: .staleOwner) } else { expect(story) }

        // The request was held back, and left before the hold.
        story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.fault(.lineHold, seconds: 60) { $0.lane = "line:line-01" }
        story.pass(-50)
        story.partition(7, worker: 1, direction, began: 10, seconds: 10)
        story.pass(0.1)
        story.send("job:1", port: 7)
        if direction == .toClient { expect(story, trips: .sentWhileHeld) } else { expect(story) }
    }

    /// A request that a partition holds back runs into a freeze before it comes through, and its client has given it up when
    /// it is answered. In a longer peace between the two it would have come.
    @Test(arguments: [(0.3, false), (3, true)])
    func whatOneFaultHeldBackRunsIntoTheNext(between seconds: Double, isFinding: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.partition(7, worker: 1, .toServer, began: 0, seconds: 9)
        story.pass(seconds)
        story.flow(7, "frozen")
        story.fault(.proxyFreeze, seconds: 7) { $0.part = .api }
        story.flow(7, "frozen")
        story.pass(0.1)
        story.send("job:1", lasting: 0.001, port: 7)
        story.pass(3)
        story.send("job:1", makesMessage: false, port: 8)
        if isFinding { expect(story, trips: .calledAgain) } else { expect(story) }
    }

    /// The first request lies in a partition until its client has given it up and the second was answered.
    @Test(arguments: [(20.0, false), (10, true)])
    func whatComesAfterItsOwnRepeatIsNoRepeat(seconds: Double, isFinding: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.partition(7, worker: 1, .toServer, began: 0, seconds: seconds)
        story.pass(-2)
        story.send("job:1", port: 8)
        story.pass(2)
        story.hangUp("job:1", after: 0.001, makesMessage: false, port: 7)
        if isFinding { expect(story, trips: .calledAgain) } else { expect(story) }
    }

    @Test(arguments: [(20.0, false), (10, true)])
    func anOlderFactThatTheWireHeldBackHadLeftBeforeTheNewerOne(seconds: Double, isFinding: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1", supersedeKey: "order:1", fact: 1)
        story.give("job:2", supersedeKey: "order:1", fact: 2, to: "b")
        story.partition(7, worker: 1, .toServer, began: 0, seconds: seconds)
        story.pass(-2)
        story.send("job:2", port: 8)
        story.pass(2)
        story.send("job:1", port: 7)
        if isFinding { expect(story, trips: .olderFact) } else { expect(story) }
    }

    @Test func anotherWorkersPartitionExcusesNothing() {
        var story = Story()
        story.label(7, worker: 1)
        story.give("job:1")
        story.send("job:1", port: 7)
        story.partition(9, worker: 2, .both, began: 0.03, seconds: 16)
        story.pass(3)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    /// A connection is told of one interval, whatever overlaps in it; with a freeze it is both ways.
    @Test func aFreezeInAPartitionHoldsBackBothWays() {
        for isFrozen in [true, false] {
            var story = Story()
            story.label(7, worker: 1)
            story.give("job:1")
            story.send("job:1", port: 7)
            story.partition(7, worker: 1, .toServer, began: 0.03, seconds: 16)
            if isFrozen { story.past(.proxyFreeze, seconds: 5) { $0.part = .api } }
            story.pass(3)
            story.send("job:1", port: 8)
            if isFrozen { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
        }
    }

    /// Cut off from its database a worker cannot record; from its broker it can.
    @Test(arguments: [(FaultRecord.Part.database, true), (.broker, false)])
    func onlyThePartitionFromTheDatabaseKeepsFromRecording(part: FaultRecord.Part, isExcused: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.label(8, worker: 2)
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(.partition, seconds: 60) {
            $0.part = part; $0.worker = 1; $0.direction = .toClient
        }
        story.pass(-10)
        story.send("job:1", port: 8)
        if isExcused { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
    }

    // MARK: A worker without its database

    @Test func aChainOfTroublesEndsSomewhere() {
        for seconds in [60.0, 150] {
            var story = Story()
            story.give("job:1")
            story.send("job:1", port: 7)
            for _ in 0..<Int(seconds / 10) {
                story.fault(.proxyFreeze, seconds: 9) {
                    $0.part = .database; $0.worker = 1
                }
                story.pass(1)
            }
            story.fault(.workerKill) {
                $0.ports = [7]; $0.worker = 1
            }
            story.pass(40)
            story.send("job:1", port: 8)
            if seconds == 60 { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
        }
    }

    @Test(arguments: [(FaultRecord.Kind.proxySlow, 1), (.proxyFreeze, 2)])
    func aSlowDatabaseOrAnothersKeepsNobodyFromRecording(kind: FaultRecord.Kind, worker: Int) {
        var story = Story()
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(kind, seconds: 9) {
            $0.part = .database; $0.worker = worker
        }
        story.fault(.workerKill) {
            $0.ports = [7]; $0.worker = 1
        }
        story.pass(40)
        story.send("job:1", port: 8)
        expect(story, trips: .sentTwice, .calledAgain)
    }

    /// Cut off from its database it cannot record, and another has to ask again once the lease is over.
    @Test(arguments: [(2, 45.0, true), (1, 45, false), (2, 8, false), (2, 120, false)])
    func whoIsCutOffFromItsDatabaseMayBeAskedForAgainByAnother(worker: Int, after seconds: Double, isExcused: Bool) {
        var story = Story()
        story.label(7, worker: 1)
        story.label(8, worker: worker)
        story.give("job:1")
        story.send("job:1", port: 7)
        story.fault(.proxyFreeze, seconds: 50) {
            $0.part = .database; $0.worker = 1
        }
        story.pass(seconds - 50)
        story.send("job:1", port: 8)
        if isExcused { expect(story) } else { expect(story, trips: .sentTwice, .calledAgain) }
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

    @Test(arguments: ["shard.01", "shard.02"]) func aDeletedQueueSplitsItsOwnMessagesOnly(queue: String) {
        var story = Story()
        story.give("job:1", way: .shard)
        story.fault(.brokerQueueDeleted) { $0.queue = queue }
        story.give("job:2", way: .shard)
        story.evidence.faults[0].begin -= 150_000_000
        story.send("job:2")
        story.send("job:1")
        if queue == "shard.01" { expect(story) } else { expect(story, trips: .outOfOrder) }
    }

    /// Committed, it has its place; what only the broker has gets one when a worker takes it.
    @Test(arguments: ["row", nil]) func aPostIsWhereItsAnswerSays(queue: String?) {
        var story = Story()
        story.give("job:1", way: .posted, known: queue)
        story.give("job:2", way: .shard)
        story.send("job:2")
        story.send("job:1")
        if queue == "row" { expect(story, trips: .outOfOrder) } else { expect(story) }
    }

    @Test(arguments: [ProducerRecord.Way.row, .shard]) func whatOnlyTheBrokerHadMayBeTakenLate(way: ProducerRecord.Way)
    {
        var story = Story()
        story.give("job:1", way: way, notBeforeIn: 40)
        story.give("job:2", way: way, notBeforeIn: 30)
        story.pass(60)
        story.send("job:1")
        story.send("job:2")
        if way == .row { expect(story, trips: .outOfOrder) } else { expect(story) }
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
        story.fault(kind, seconds: 60) { $0.lane = "line:line-01" }
        story.pass(seconds - 60)
        story.send("job:1")
        if isTooLate { expect(story, trips: .sentWhileHeld) } else { expect(story) }
    }

    @Test func whatAFreezeHeldBackLeftBeforeTheHold() {
        for isFrozen in [true, false] {
            var story = Story()
            story.give("job:1")
            story.flow(7, isFrozen ? "frozen" : "slowed")
            story.fault(.lineHold, seconds: 60) { $0.lane = "line:line-01" }
            story.pass(-54)
            story.flow(7, isFrozen ? "frozen" : "slowed")
            if !isFrozen {
                story.past(.proxySlow, seconds: 6) {
                    $0.part = .api; $0.delay = 250_000_000
                }
            }
            story.pass(0.2)
            story.send("job:1", port: 7)
            if isFrozen { expect(story) } else { expect(story, trips: .sentWhileHeld) }
            // Long after the freeze it held nothing back any more.
            story.pass(8)
            story.give("job:2", to: "b")
            story.send("job:2", port: 7)
            expect(story, trips: .sentWhileHeld)
            #expect(Checker.check(story.evidence)[.sentWhileHeld] == (isFrozen ? 1 : 2))
        }
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
        story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
        for number in 1...9 { story.give("job:\(number)", to: "p\(number)") }
        for number in 1...9 {
            story.send("job:\(number)", lasting: 0.01)
            story.pass(0.5)
        }
        expect(story, trips: .paceExceeded)
    }

    @Test func aPaceMayJitter() {
        var story = Story()
        story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
        for number in 1...6 { story.give("job:\(number)", to: "p\(number)") }
        for number in 1...6 {
            story.send("job:\(number)", lasting: 0.01)
            story.pass(number == 3 ? 0.5 : 1)
        }
        expect(story)
    }

    @Test func noMoreCallsAtOnceThanAllowed() {
        var story = Story()
        story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
        story.give("job:1", to: "a")
        story.give("job:2", to: "b")
        story.send("job:1", lasting: 5)
        story.pass(-3)
        story.send("job:2", lasting: 0.1)
        expect(story, trips: .paceExceeded)
    }

    @Test func aPersonIsLeftInPeaceForTheGap() {
        var story = Story()
        story.evidence.paced = [.init(lane: "line:line-01", interval: 0.1, concurrency: 1, gap: 10)]
        story.give("job:1")
        story.give("job:2")
        story.send("job:1", lasting: 0.1)
        story.pass(5)
        story.send("job:2", lasting: 0.1)
        expect(story, trips: .paceExceeded)
    }

    @Test func afterAFreezeAPaceMayBunchOnlyWhatItHeldBack() {
        for seconds in [4.0, 1] {
            var story = Story()
            story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 9, gap: 0)]
            for number in 1...6 { story.give("job:\(number)", to: "p\(number)") }
            story.send("job:1", lasting: 0.01, port: 7)
            story.flow(7, "frozen")
            story.pass(seconds)
            story.flow(7, "frozen")
            for number in 2...6 { story.send("job:\(number)", lasting: 0.01, port: 7) }
            if seconds == 4 { expect(story) } else { expect(story, trips: .paceExceeded) }
            #expect(Checker.check(story.evidence)[.paced] == 5)
        }
    }

    @Test func aSlowWireExcusesNoPaceAndNoGap() {
        var story = Story()
        story.evidence.paced = [.init(lane: "line:line-01", interval: 0.1, concurrency: 1, gap: 10)]
        story.give("job:1")
        story.give("job:2")
        story.send("job:1", lasting: 0.1, port: 7)
        story.pass(5)
        story.past(.proxySlow, seconds: 6) {
            $0.part = .api; $0.delay = 250_000_000
        }
        story.send("job:2", lasting: 0.1, port: 7)
        expect(story, trips: .paceExceeded)
    }

    @Test func aGapCountsFromWhenTheFirstLeft() {
        for isHeldBack in [true, false] {
            var story = Story()
            story.evidence.paced = [.init(lane: "line:line-01", interval: 0.1, concurrency: 9, gap: 10)]
            story.give("job:1")
            story.give("job:2")
            if isHeldBack { story.flow(7, "frozen") }
            story.pass(6)
            if isHeldBack { story.flow(7, "frozen") }
            story.send("job:1", lasting: 0.1, port: 7)
            story.pass(5)
            story.send("job:2", lasting: 0.1, port: 7)
            if isHeldBack { expect(story) } else { expect(story, trips: .paceExceeded) }
        }
    }

    /// A worker that is lost leaves its call to its lease, and whoever has its lane begins others meanwhile: not at once.
    @Test(arguments: [(8.0, 7 as UInt16, false), (3, 7, true), (8, 9, true)])
    func aLostWorkersCallIsNotCountedWithItsSuccessors(seconds: Double, port: UInt16, isTooMany: Bool) {
        var story = Story()
        story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
        story.give("job:1", to: "a")
        story.give("job:2", to: "b")
        story.send("job:1", lasting: 12, port: 7)
        story.past(.workerFreeze, seconds: 11) {
            $0.ports = [port]; $0.worker = 1
        }
        story.pass(seconds - 12)
        story.send("job:2", lasting: 0.1, port: 8)
        if isTooMany { expect(story, trips: .paceExceeded) } else { expect(story) }
    }

    @Test func aWorkerWithoutItsDatabaseLeavesItsCallsToo() {
        for worker in [1, 2] {
            var story = Story()
            story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
            story.label(7, worker: 1)
            story.give("job:1", to: "a")
            story.give("job:2", to: "b")
            story.send("job:1", lasting: 12, port: 7)
            story.past(.proxyFreeze, seconds: 12) {
                $0.part = .database; $0.worker = worker
            }
            story.pass(-4)
            story.send("job:2", lasting: 0.1, port: 8)
            if worker == 1 { expect(story) } else { expect(story, trips: .paceExceeded) }
        }
    }

    @Test func aWorkerThatCannotReachTheAPILeavesItsCallsToo() {
        for worker in [1, 2] {
            var story = Story()
            story.evidence.paced = [.init(lane: "line:line-01", interval: 1, concurrency: 1, gap: 0)]
            story.label(7, worker: 1)
            story.give("job:1", to: "a")
            story.give("job:2", to: "b")
            story.send("job:1", lasting: 12, port: 7)
            story.past(.partition, seconds: 12) {
                $0.part = .api; $0.worker = worker; $0.direction = .toClient
            }
            story.pass(-4)
            story.send("job:2", lasting: 0.1, port: 8)
            if worker == 1 { expect(story) } else { expect(story, trips: .paceExceeded) }
        }
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

    @Test func aMessageOnAnotherLineIsMisdirected() {
        var story = Story()
        story.give("job:1")
        story.send("job:1", lane: "line:line-02")
        expect(story, trips: .misdirected)
    }

    @Test func aJobOfTheHarnessThatIsRefusedIsAFinding() {
        var story = Story()
        story.give("job:1", answer: .refused)
        expect(story, trips: .misbehaviour)
    }

    @Test func whatMayHaveBeenSentEndsAsParkedOnly() {
        for state in ["cancelled", "superseded", "expired", "parked"] {
            var story = Story()
            story.give("job:1")
            story.send("job:1", status: nil)
            story.evidence.finals["job:1"] = .init(state: state, reason: "unknown_horizon")
            if state == "parked" { expect(story) } else { expect(story, trips: .disagrees) }
        }
    }

    @Test func aFindingOfTrunklineCheckIsOneHere() {
        var story = Story()
        story.evidence.checkFindings = ["a tally is wrong"]
        expect(story, trips: .disagrees)
    }

    @Test func trunklineMustAgree() {
        var story = Story()
        story.give("job:1")
        story.send("job:1")
        story.evidence.finals["job:1"] = .init(state: "parked", reason: "unknown_horizon")
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
