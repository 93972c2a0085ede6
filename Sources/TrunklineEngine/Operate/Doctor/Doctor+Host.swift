extension Doctor {
    static func timeouts(_ timing: WorkerConfiguration.Timing) -> Finding {
        func s(_ duration: Duration) -> String { "\(duration / .seconds(1)) s".replacing(".0 s", with: " s") }
        let order =
            "connect \(s(timing.connectTimeout)) < call \(s(timing.callTimeout)), with a margin of \(s(timing.leaseMargin)) < "
            + "lease \(s(timing.lease)); two heartbeats \(s(timing.heartbeat * 2)) < stops acting \(s(timing.actingLimit)) < "
            + "counts as dead \(s(timing.silenceLimit))"
        guard timing.isSound, timing.connectTimeout < timing.callTimeout else {
            return .failed(
                "time-outs",
                "contradict each other: \(order)",
                "a call must end before its lease does, and a worker must stop before others take over"
            )
        }
        return .ok("time-outs", order)
    }

    static func openFiles(_ budget: DescriptorBudget) -> Finding {
        let wanted = WorkerConfiguration.usualCalls
        let words =
            budget.limit == .max ? "no limit" : "at most \(budget.limit), enough for \(budget.calls) calls at once"
        guard budget.calls < wanted else { return .ok("open files", words) }
        let advice =
            "raise the hard limit (ulimit -Hn, LimitNOFILE=) to \(DescriptorBudget.needed(forCalls: wanted)): a worker "
            + "that is started from here takes fewer than the usual \(wanted) calls"
        return budget.calls == 0
            ? .failed("open files", words, advice) : .warning("open files", words, advice)
    }
}
