internal import TrunklineCore
internal import TrunklineEngine

/// What became of parked notices, as people read it.
enum DecisionWords {
    static func item(_ item: ParkedDecision.Item, _ action: ParkedAction) -> String {
        guard item.verdict == .done else { return "job \(item.job): \(refusal(item.verdict, item.state))" }
        switch action {
        case .sent: return "job \(item.job): ended as sent"
        case .notSent:
            return
                "job \(item.job): surely not sent, still parked; 'trunkline parked replay \(item.job)' sends it, 'discard' ends it"
        case .discard: return "job \(item.job): ended as discarded"
        case .replay:
            var text = "job \(item.job): goes again"
            if item.behind > 0 {
                text += ", behind \(item.behind) \(item.behind == 1 ? "notice" : "notices") of the same person"
            }
            switch item.overtakenBy {
            case nil: text += "; what overtook it was not looked for, because much has ended since"
            case let others? where !others.isEmpty:
                let shown = others.prefix(10).map(\.description).joined(separator: ", ")
                text +=
                    "; accepted after it and sent before it: \(shown)\(others.count > 10 ? " and \(others.count - 10) more" : "")"
            default: break
            }
            return text
        }
    }

    private static func refusal(_ verdict: ParkedVerdict, _ state: String?) -> String {
        switch verdict {
        case .inDoubt:
            "it may have been sent: look whether it was, and say so with 'trunkline parked resolve --as sent|not-sent' first"
        case .notInDoubt: "it was surely not sent, there is nothing to resolve: replay it or discard it"
        case .tooLate: "its sendBefore has passed, it can never be sent: discard it"
        case .replaced: "a newer fact replaced it, it can never be sent: discard it"
        case .cancelled: "a cancel had come for it: it ended as cancelled instead"
        case .notParked: "it is not parked, it is \(state ?? "unfinished")"
        case .gone: "it is not parked" + (state.map { ", it ended as \($0)" } ?? "; there is no such unfinished job")
        case .done, .unknown: verdict.word
        }
    }

    static func report(_ report: ParkedDecision.Report, _ action: ParkedAction, isDryRun: Bool) -> String {
        guard !report.isEmpty else { return "nothing of the kind is parked" }
        let verb =
            switch action {
            case .sent: "resolved as sent"
            case .notSent: "resolved as not sent"
            case .discard: "discarded"
            case .replay: "replayed"
            }
        var parts = ["\(report.done) \(isDryRun ? "would be " : "")\(verb)"]
        for (verdict, count) in report.counts.sorted(by: { $0.key.word < $1.key.word }) where verdict != .done {
            let word =
                switch verdict {
                case .inDoubt: "may have been sent and must be resolved first"
                case .notInDoubt: "surely not sent, nothing to resolve"
                case .tooLate: "too late, their sendBefore has passed"
                case .replaced: "replaced by a newer fact"
                case .cancelled: "\(isDryRun ? "would end" : "ended") as cancelled"
                case .done, .notParked, .gone, .unknown: "not parked"
                }
            parts.append("\(count) \(word)")
        }
        return parts.joined(separator: "; ")
    }
}

/// The same as programs read it.
struct DecisionDocument: Encodable {
    struct Job: Encodable {
        let job: String
        let verdict: String
        let state: String?
        let behind: Int64
        let overtakenBy: [String]?
    }

    let dryRun: Bool
    let counts: [String: Int]
    let jobs: [Job]

    init(_ report: ParkedDecision.Report, _ items: [ParkedDecision.Item], isDryRun: Bool) {
        dryRun = isDryRun
        counts = Dictionary(uniqueKeysWithValues: report.counts.map { ($0.key.word, $0.value) })
        jobs = items.map { item in
            Job(
                job: item.job.description,
                verdict: item.verdict.word,
                state: item.state,
                behind: item.behind,
                overtakenBy: item.overtakenBy?.map(\.description)
            )
        }
    }
}
