/// What happened, added up from the journal's records: the running simulator and a reader of the file use the same sums.
struct Tally: Sendable {
    struct KeyID: Hashable, Sendable {
        var workspace: String
        var key: String
    }

    struct PerKey: Sendable {
        var effects = 0
        /// An answer of the 200s left.
        var answered = false
        var askedAgain = false
        /// Calls that became an effect and have not ended yet.
        var open = 0
    }

    struct PerLine: Sendable {
        var requests = 0
        var messages = 0
        var replays = 0
        var conflicts = 0
        var refused = 0
        var answers = 0
        var noAnswers = 0
        var whileNotSendable = 0
        var wakeupTrue = 0
        var wakeupFalse = 0
        var wakeupAbsent = 0
    }

    private(set) var keys: [KeyID: PerKey] = [:]
    private(set) var lines: [String: PerLine] = [:]
    private(set) var total = PerLine()
    private(set) var hooks: [String: HookTally] = [:]
    private(set) var sentTwiceAfterAnswer = 0
    private(set) var sentTwiceOverlapping = 0
    private(set) var sentTwiceAfterLostAnswer = 0
    private(set) var healthAnswers = 0
    private(set) var healthNoAnswers = 0
    private(set) var statuses: [Int: Int] = [:]
    private(set) var faults: [String: Int] = [:]
    private(set) var webhooks: [String: Int] = [:]
    private(set) var firstMessage: Int64?
    private(set) var lastMessage: Int64?
    private(set) var lastSequence: Int64 = 0

    mutating func apply(_ record: JournalRecord) {
        lastSequence = record.seq
        if let hook = record.hook { return applyToHook(record, hook) }
        switch record.kind {
        case .request: requestReceived(record)
        case .effect: messageAccepted(record)
        case .answer, .noAnswer: callEnded(record)
        case .health:
            count(record) { line in
                switch record.wakeup {
                case "true": line.wakeupTrue += 1
                case "false": line.wakeupFalse += 1
                default: line.wakeupAbsent += 1
                }
            }
            if let fault = record.fault { faults[fault, default: 0] += 1 }
        case .reset:
            self = Tally()
            lastSequence = record.seq
        case .webhook:
            webhooks[record.reason ?? "delivered", default: 0] += 1
        case .start:
            // The calls in the air died with the process that served them.
            for id in keys.keys where keys[id]?.open != 0 { keys[id]?.open = 0 }
        case .line, .settings, .fault, .hold, .forget, .delivery: break
        }
    }

    private mutating func applyToHook(_ record: JournalRecord, _ hook: String) {
        hooks[hook, default: HookTally()].apply(record)
        switch record.kind {
        case .delivery: if let fault = record.fault { faults[fault, default: 0] += 1 }
        case .answer: if let status = record.status { statuses[status, default: 0] += 1 }
        default: break
        }
    }

    private mutating func count(_ record: JournalRecord, _ change: (inout PerLine) -> Void) {
        change(&total)
        if let line = record.line { change(&lines[line, default: PerLine()]) }
    }

    private mutating func requestReceived(_ record: JournalRecord) {
        count(record) { line in
            line.requests += 1
            switch record.verdict {
            case .replay: line.replays += 1
            case .conflict: line.conflicts += 1
            case .accepted, nil: break
            default: line.refused += 1
            }
        }
        if let fault = record.fault { faults[fault, default: 0] += 1 }
        guard let workspace = record.workspace, let key = record.key else { return }
        let id = KeyID(workspace: workspace, key: key)
        if let known = keys[id], known.answered, !known.askedAgain { keys[id]?.askedAgain = true }
    }

    private mutating func messageAccepted(_ record: JournalRecord) {
        count(record) { line in
            line.messages += 1
            if record.unsendable { line.whileNotSendable += 1 }
        }
        if firstMessage == nil { firstMessage = record.t }
        lastMessage = record.t
        guard let workspace = record.workspace, let key = record.key else { return }
        let id = KeyID(workspace: workspace, key: key)
        var entry = keys[id] ?? PerKey()
        if entry.effects > 0 {
            if entry.answered {
                sentTwiceAfterAnswer += 1
            } else if entry.open > 0 {
                sentTwiceOverlapping += 1
            } else {
                sentTwiceAfterLostAnswer += 1
            }
        }
        entry.effects += 1
        entry.open += 1
        keys[id] = entry
    }

    private mutating func callEnded(_ record: JournalRecord) {
        if record.kind == .answer, let status = record.status { statuses[status, default: 0] += 1 }
        if record.endpoint == APIEndpoint.health.rawValue {
            if record.kind == .answer { healthAnswers += 1 } else { healthNoAnswers += 1 }
            return
        }
        count(record) { line in
            if record.kind == .answer { line.answers += 1 } else { line.noAnswers += 1 }
        }
        guard let workspace = record.workspace, let key = record.key else { return }
        let id = KeyID(workspace: workspace, key: key)
        guard var entry = keys[id] else { return }
        if record.verdict == .accepted, entry.open > 0 { entry.open -= 1 }
        if record.kind == .answer, let status = record.status, (200..<300).contains(status) { entry.answered = true }
        keys[id] = entry
    }
}
