/// What a line says of itself in `GET /health`, and whether it takes sends.
struct LineState: Sendable, Hashable {
    /// How `line.sendable` is written.
    enum Sendability: Sendable, Hashable {
        case yes
        case no
        /// The string `"true"` where a boolean belongs.
        case string
    }

    /// The word by which it was asked for, or `custom`.
    var name: String
    var lifecycle: String
    var effective: String
    var sendable: Sendability
    var code: Int
    var text: String
    /// The answer has no `line` at all.
    var missingLine = false
    /// Whether a send counts as one to a sendable line (else profile A, B or C decides).
    var acceptsSends: Bool

    static let lifecycles = ["connected", "connecting", "reconnecting", "qr_required", "disconnected", "disabled"]
    static let effectives = ["sendable", "temporarily_unavailable", "qr_required", "disabled"]

    static let sendable = LineState(
        name: "sendable",
        lifecycle: "connected",
        effective: "sendable",
        sendable: .yes,
        code: 4,
        text: "AUTH",
        acceptsSends: true
    )

    private static func sick(
        _ name: String,
        lifecycle: String,
        effective: String = "temporarily_unavailable",
        code: Int,
        text: String
    ) -> LineState {
        LineState(
            name: name,
            lifecycle: lifecycle,
            effective: effective,
            sendable: .no,
            code: code,
            text: text,
            acceptsSends: false
        )
    }

    /// Every state that can be asked for by one word, in the order in which they are listed.
    static let presets: [LineState] = {
        var missing = sendable
        missing.name = "missing_line"
        missing.missingLine = true
        var string = sendable
        string.name = "sendable_string"
        string.sendable = .string
        var contradiction = sick("contradiction", lifecycle: "connected", code: 4, text: "AUTH")
        contradiction.sendable = .yes
        return [
            sendable,
            sick("temporarily_unavailable", lifecycle: "connected", code: 4, text: "AUTH"),
            sick("connecting", lifecycle: "connecting", code: 1, text: "INIT"),
            sick("reconnecting", lifecycle: "reconnecting", code: 2, text: "LAUNCH"),
            sick("qr_required", lifecycle: "qr_required", effective: "qr_required", code: 3, text: "QR"),
            sick("disconnected", lifecycle: "disconnected", code: 5, text: "ERROR"),
            sick("disabled", lifecycle: "disabled", effective: "disabled", code: 6, text: "STOP"),
            sick("unknown_word", lifecycle: "hibernating", effective: "dozing", code: 77, text: "SNOOZE"),
            missing,
            string,
            contradiction,
        ]
    }()

    func write(to writer: inout JSONWriter) {
        writer.object("health") { writer in
            writer.object("status") { writer in
                writer.member("code", code)
                writer.member("text", text)
            }
        }
        guard !missingLine else { return }
        writer.object("line") { writer in
            writer.member("lifecycleState", lifecycle)
            writer.member("effectiveSendState", effective)
            switch sendable {
            case .yes: writer.member("sendable", true)
            case .no: writer.member("sendable", false)
            case .string: writer.member("sendable", "true")
            }
        }
    }
}

/// The state of a line over time: one state, or two that alternate.
struct LineCondition: Sendable, Hashable {
    var state: LineState = .sendable
    /// While flapping: the other state, and how long each lasts.
    var flapping: Flapping?

    struct Flapping: Sendable, Hashable {
        var other: LineState
        var periodMilliseconds: Int
        /// Wall-clock microseconds at which the first period began.
        var since: Int64
    }

    static let flappingWord = "flapping"
    static var knownWords: [String] { LineState.presets.map(\.name) + [flappingWord] }

    func state(at wall: Int64) -> LineState {
        guard let flapping else { return state }
        let periods = max(0, wall - flapping.since) / (Int64(flapping.periodMilliseconds) * 1_000)
        return periods.isMultiple(of: 2) ? state : flapping.other
    }

    var name: String { flapping == nil ? state.name : Self.flappingWord }

    /// Reads `{"state":"qr_required"}`, `{"state":"flapping","periodMs":500,"other":"disconnected"}`, or the three fields
    /// one by one; a word that is not known is refused.
    static func parse(_ json: JSON, now: Int64) throws(ControlRefusal) -> LineCondition {
        var fields = try ControlFields(json, what: "state")
        let condition = try parse(&fields, now: now)
        try fields.refuseOthers()
        guard let condition else {
            throw .invalid("state: give 'state', or 'lifecycleState', 'effectiveSendState' and 'sendable'")
        }
        return condition
    }

    static func parse(_ fields: inout ControlFields, now: Int64) throws(ControlRefusal) -> LineCondition? {
        let word = try fields.string("state")
        let period = try fields.integer("periodMs", in: 1...86_400_000)
        let other = try fields.string("other")
        let lifecycle = try fields.string("lifecycleState")
        let effective = try fields.string("effectiveSendState")
        let sendable = try fields.bool("sendable")
        if lifecycle != nil || effective != nil || sendable != nil {
            guard word == nil || word == "custom" else {
                throw .invalid("state: 'state' and single fields exclude each other")
            }
            guard let lifecycle, let effective, let sendable else {
                throw .invalid("state: 'lifecycleState', 'effectiveSendState' and 'sendable' come together")
            }
            guard LineState.lifecycles.contains(lifecycle) else {
                throw .unknown("lifecycleState", lifecycle, known: LineState.lifecycles)
            }
            guard LineState.effectives.contains(effective) else {
                throw .unknown("effectiveSendState", effective, known: LineState.effectives)
            }
            var custom = LineState.sendable
            custom.name = "custom"
            custom.lifecycle = lifecycle
            custom.effective = effective
            custom.sendable = sendable ? .yes : .no
            custom.acceptsSends = sendable && effective == "sendable"
            return LineCondition(state: custom)
        }
        guard let word else { return nil }
        if word == flappingWord {
            guard let period else { throw .invalid("state: 'flapping' needs 'periodMs'") }
            let other = try preset(other ?? "temporarily_unavailable")
            return LineCondition(
                state: .sendable,
                flapping: Flapping(other: other, periodMilliseconds: period, since: now)
            )
        }
        guard period == nil, other == nil else { throw .invalid("state: 'periodMs' and 'other' belong to 'flapping'") }
        return LineCondition(state: try preset(word))
    }

    private static func preset(_ word: String) throws(ControlRefusal) -> LineState {
        guard let state = LineState.presets.first(where: { $0.name == word }) else {
            throw .unknown("state", word, known: knownWords)
        }
        return state
    }

    /// In the form that `parse` reads.
    func writeRequest(to writer: inout JSONWriter) {
        if let flapping {
            writer.member("state", Self.flappingWord)
            writer.member("periodMs", flapping.periodMilliseconds)
            writer.member("other", flapping.other.name)
        } else if state.name == "custom" {
            writer.member("lifecycleState", state.lifecycle)
            writer.member("effectiveSendState", state.effective)
            writer.member("sendable", state.sendable == .yes)
        } else {
            writer.member("state", state.name)
        }
    }
}
