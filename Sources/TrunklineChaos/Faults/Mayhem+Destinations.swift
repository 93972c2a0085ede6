internal import TestKit

extension Mayhem {
    /// What a receiver does to everybody for a while, by the simulator's words, and what the fault log calls it.
    private static let receiverStates: [(word: String, fault: String)] = [
        ("failing", #""kind":"status","status":500"#),
        ("overloaded", #""kind":"status","status":503"#),
        ("throttled", #""kind":"status","status":429,"retryAfter":3"#),
        ("missing", #""kind":"status","status":404"#),
        ("gone", #""kind":"status","status":410"#),
        ("hanging", #""kind":"hang""#),
        ("hanging up before", #""kind":"dropBefore""#),
        ("hanging up after", #""kind":"acceptThenDrop""#),
    ]

    /// Sick receivers, and destinations that are held by hand.
    func destinationLane() async {
        var random = SeededGenerator(seed: stage.options.seed, part: "destinations")
        var states: [(word: String, fault: String)] = []
        let every = max(4, seconds / 60)
        await withTaskGroup(of: Void.self) { group in
            while await pause(random.span(every * 0.5...every * 1.5)) {
                // All of them, before one comes again.
                if states.isEmpty { states = Self.receiverStates.shuffled(using: &random) }
                let destination = random.pick(stage.plan.destinations)
                let (sick, held, isHold) = (random.span(5...40), random.span(5...20), random.chance(0.4))
                guard troubles(destination, atMost: stage.plan.destinations.count / 3) else { continue }
                let state = isHold ? nil : states.removeLast()
                group.addTask {
                    if let state {
                        await self.makeSick(destination, state.word, state.fault, for: sick)
                    } else {
                        await self.hold(destination, .destinationHold, for: held)
                    }
                    self.calms(destination)
                }
            }
        }
    }

    private func makeSick(_ destination: LoadPlan.Lane, _ word: String, _ fault: String, for span: Duration) async {
        var record = FaultRecord(.destinationState, hits: 1)
        record.lane = destination.name
        record.word = word
        let milliseconds = span.components.seconds * 1_000
        let body = #"{\#(fault),"hook":"\#(destination.id)","forMs":\#(milliseconds)}"#
        guard (try? await stage.simulator.control("POST", "/faults", body)) != nil else {
            return miss("destination.state: the simulator refused it")
        }
        record.begin = Moment.now
        _ = await pause(span)
        count(record.ended())
        // Whoever said that it is gone for ever is not asked again by itself.
        if word == "gone" { await resume(destination) }
    }
}
