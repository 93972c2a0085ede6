import Foundation
import TestKit
import Testing
import TrunklineChaos

/// What must be found of deliveries, and what beside it must not: as ``CheckerTests`` does for sends.
@Suite struct DeliveryCheckerTests {
    @Test func aQuietRunIsClean() {
        var story = Story()
        for number in 1...4 {
            story.giveEvent("event:\(number)", in: number < 4 ? "order:1" : nil)
            story.deliver("event:\(number)")
        }
        story.give("job:1")
        story.send("job:1")
        expect(story)
        let report = Checker.check(story.evidence)
        #expect(report[.deliveries] == 4 && report[.messages] == 1 && report[.promised] == 5)
        #expect(report[.orderedDeliveries] == 3 && report[.ordered] == 3)
    }

    @Test func whatWasPromisedAndNeverCameIsLost() {
        var story = Story()
        story.giveEvent("event:1")
        story.giveEvent("event:2")
        story.deliver("event:2")
        // It was refused by its receiver: that is no delivery.
        story.deliver("event:1", status: 503, isNew: false)
        expect(story, trips: .lost)
    }

    // MARK: Twice

    /// A receiver that forgets takes it twice; one that remembers is asked again all the same.
    @Test(arguments: [true, false]) func aDeliveryAfterAnAnswerIsAvoidable(isForgotten: Bool) {
        var story = Story()
        story.giveEvent("event:1")
        story.deliver("event:1")
        story.deliver("event:1", isNew: isForgotten)
        if isForgotten { expect(story, trips: .sentTwice, .calledAgain) } else { expect(story, trips: .calledAgain) }
    }

    @Test func aDeliveryWhoseAnswerWasLostMayBeRepeated() {
        var story = Story()
        story.giveEvent("event:1")
        story.deliver("event:1", status: nil)
        story.deliver("event:1")
        story.giveEvent("event:2")
        story.deliver("event:2", status: 502)
        story.deliver("event:2")
        expect(story)
        #expect(Checker.check(story.evidence)[.ambiguousTwice] == 2)
    }

    @Test func twoDeliveriesOfOneKeyAtOnceBetrayAStaleOwner() {
        var story = Story()
        story.giveEvent("event:1")
        story.deliver("event:1", lasting: 10)
        story.pass(-5)
        story.deliver("event:1", isNew: false)
        expect(story, trips: .staleOwner)
    }

    // MARK: Order

    @Test(arguments: [ProducerRecord.Way.row, .shard, .intake])
    func theOrderOfArrivalHoldsForOneOrderingKey(way: ProducerRecord.Way) {
        var story = Story()
        story.giveEvent("event:1", in: "order:1", way: way)
        story.giveEvent("event:2", in: "order:1", way: way)
        story.deliver("event:2")
        story.deliver("event:1")
        expect(story, trips: .outOfOrder)
    }

    @Test func withoutOneOrAtAnotherDestinationThereIsNoOrder() {
        var story = Story()
        for key in [nil, "order:1"] as [String?] {
            story.giveEvent("event:1\(key ?? "")", in: key)
            story.giveEvent("event:2\(key ?? "")", in: key, lane: key == nil ? "destination:crm" : "destination:erp")
            story.deliver("event:2\(key ?? "")", lane: key == nil ? "destination:crm" : "destination:erp")
            story.deliver("event:1\(key ?? "")")
        }
        // Two ordering keys, and one that is spelled like somebody's number.
        story.giveEvent("event:3", in: "order:2")
        story.giveEvent("event:4", in: "a")
        story.deliver("event:4")
        story.deliver("event:3")
        expect(story)
    }

    @Test func anOlderFactNeverFollowsANewerOne() {
        var story = Story()
        story.giveEvent("event:1", supersedeKey: "stock:1", fact: 2)
        story.giveEvent("event:2", supersedeKey: "stock:1", fact: 1)
        story.deliver("event:1")
        story.deliver("event:2")
        expect(story, trips: .olderFact)
    }

    // MARK: Holds, cancels, places

    @Test(arguments: [
        (FaultRecord.Kind.destinationHold, 1.5, false), (.destinationHold, 4, true), (.lineHold, 4, false),
    ])
    func nothingIsDeliveredWhileADestinationIsHeld(kind: FaultRecord.Kind, after seconds: Double, isTooLate: Bool) {
        var story = Story()
        story.giveEvent("event:1")
        story.fault(kind, seconds: 60) { $0.lane = kind == .lineHold ? "line:crm" : "destination:crm" }
        story.pass(seconds - 60)
        story.deliver("event:1")
        if isTooLate { expect(story, trips: .sentWhileHeld) } else { expect(story) }
        #expect(Checker.check(story.evidence)[.destinationHolds] == (kind == .destinationHold ? 1 : 0))
    }

    /// Nobody but its answers says that a receiver is sick.
    @Test func aSickReceiverMayBeAsked() {
        var story = Story()
        story.giveEvent("event:1")
        story.fault(.destinationState, seconds: 60) {
            $0.lane = "destination:crm"; $0.word = "gone"
        }
        story.pass(-10)
        story.deliver("event:1", status: 410, isNew: false)
        story.pass(30)
        story.deliver("event:1")
        expect(story)
    }

    @Test func whatCancelCalledCancelledIsNotDelivered() {
        var story = Story()
        story.giveEvent("cancel:1:1")
        story.cancel("cancel:1:*", at: "destination:crm", saying: ["cancel:1:1": "cancelled"])
        story.deliver("cancel:1:1")
        expect(story, trips: .sentAfterCancel)
    }

    /// Without a destination, or with another, a cancel means other jobs.
    @Test(arguments: ["destination:crm", "destination:erp", nil]) func onlyItsOwnCancelIsACause(at destination: String?)
    {
        var story = Story()
        story.giveEvent("cancel:1:1")
        story.cancel("cancel:1:*", at: destination, saying: [:])
        story.evidence.finals["cancel:1:1"] = .init(state: "cancelled")
        if destination == "destination:crm" { expect(story) } else { expect(story, trips: .lost) }
    }

    @Test(arguments: ["destination:erp", "line:crm"]) func whatCameElsewhereIsMisdirected(lane: String) {
        var story = Story()
        story.giveEvent("event:1")
        story.deliver("event:1", lane: lane)
        expect(story, trips: .misdirected)
    }

    @Test(arguments: ["one", "two"]) func aRepeatSaysTheSameBytes(again: String) {
        var story = Story()
        story.giveEvent("event:1")
        story.deliver("event:1", status: 503, isNew: false, bytes: "one")
        story.deliver("event:1", bytes: again)
        if again == "one" { expect(story) } else { expect(story, trips: .misdirected) }
    }

    @Test func nothingComesThatNobodyGave() {
        var story = Story()
        story.deliver("event:1")
        expect(story, trips: .unexpected)
    }

    @Test func aDestinationsPaceIsKept() {
        var story = Story()
        story.evidence.paced = [.init(lane: "destination:crm", interval: 1, concurrency: 1, gap: 0)]
        for number in 1...9 { story.giveEvent("event:\(number)") }
        for number in 1...9 {
            story.deliver("event:\(number)", lasting: 0.01)
            story.pass(0.5)
        }
        expect(story, trips: .paceExceeded)
    }

    // MARK: The journal

    @Test func theJournalTellsDeliveriesFromSends() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("journal-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let lines = [
            #"{"seq":1,"t":10,"mono":1000,"kind":"start"}"#,
            #"{"seq":2,"t":20,"mono":2000,"kind":"delivery","conn":1,"peer":7,"on":"hook","hook":"crm","key":"e","bodyHash":"aa","verdict":"fault","fault":"status"}"#,
            #"{"seq":3,"t":30,"mono":3000,"kind":"answer","conn":1,"req":2,"on":"hook","hook":"crm","key":"e","status":503}"#,
            #"{"seq":4,"t":40,"mono":4000,"kind":"delivery","conn":1,"peer":7,"on":"hook","hook":"crm","key":"e","bodyHash":"aa","verdict":"accepted"}"#,
            #"{"seq":5,"t":50,"mono":5000,"kind":"noAnswer","conn":1,"req":4,"on":"hook","hook":"crm","key":"e","reason":"closed"}"#,
            #"{"seq":6,"t":60,"mono":6000,"kind":"delivery","conn":2,"peer":8,"on":"hook","hook":"crm","key":"e","bodyHash":"aa","verdict":"replay"}"#,
            #"{"seq":7,"t":70,"mono":7000,"kind":"request","conn":2,"peer":8,"on":"text","line":"acme","key":"n","to":"+1","verdict":"accepted"}"#,
            #"{"seq":8,"t":70,"mono":7001,"kind":"effect","conn":2,"req":7,"on":"text","line":"acme","key":"n","to":"+1"}"#,
        ]
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        var evidence = Evidence()
        try evidence.readJournal(path: path)
        #expect(evidence.calls.map(\.lane) == ["destination:crm", "destination:crm", "destination:crm", "line:acme"])
        #expect(evidence.calls.map(\.effect) == [nil, 4, nil, 8])
        #expect(evidence.calls.map(\.status) == [503, nil, nil, nil])
        #expect(evidence.calls.map(\.reason) == [nil, "closed", nil, nil])
        #expect(evidence.calls.map(\.end) == [3000, 5000, nil, nil])
        #expect(evidence.calls.map(\.bodyHash) == ["aa", "aa", "aa", nil])
        #expect(evidence.apiFaults == ["hooks.status": 1])
    }
}
