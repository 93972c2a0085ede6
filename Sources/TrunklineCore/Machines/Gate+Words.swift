// What a gate says, and what it leaves behind.

extension Gate {
    /// Stored in a lane's row and shown by `status`: words are added, never renamed.
    package enum Word: String, Sendable, Hashable, CaseIterable {
        /// No health answer that is young enough.
        case unknown
        case open
        case heldTransient = "held_transient"
        case heldHuman = "held_human"
        /// Held, and a health question is under way, or the next job is the probe.
        case probing
        case ramping

        /// Whether it is one of a hold, which goes on while it is asked or probed.
        package var isHold: Bool {
            switch self {
            case .heldTransient, .heldHuman, .probing: true
            case .unknown, .open, .ramping: false
            }
        }
    }

    package struct Change: Sendable, Hashable {
        package let before: Word
        package let after: Word
        var isOne: Bool { before != after }
    }

    /// What is to be done after a gate was told something.
    package struct Effects: Sendable, Hashable {
        static let none = Effects()
        /// Its row may have to say something else, for `status` and for the next owner.
        package let isToBeWritten: Bool
        /// A job or a question may begin that could not before, or waits for another moment.
        package let isToBeLookedAt: Bool
        /// Worth a line in the log.
        package let change: Change?

        init(isToBeWritten: Bool = false, isToBeLookedAt: Bool = false, change: Change? = nil) {
            self.isToBeWritten = isToBeWritten
            self.isToBeLookedAt = isToBeLookedAt
            self.change = change
        }
    }

    /// Why the gate is closed.
    package struct Hold: Sendable, Hashable {
        package let kind: HoldKind
        package let reason: Reason
        /// State words of the answer, safe to log; nil when a call of a job told us.
        package let detail: String?
        package init(kind: HoldKind, reason: Reason, detail: String?) {
            self.kind = kind
            self.reason = reason
            self.detail = detail
        }

        /// Nothing was heard at all: that says something about the wire, and nothing about the line.
        var isSilence: Bool { reason == .unreachable || reason == .timedOut }
        /// The other side wants nothing any more: no probe is made unless a person asks for one.
        var isFinal: Bool { kind == .human && reason == .endpointGone }
        var word: Word { kind == .human ? .heldHuman : .heldTransient }
    }

    /// What must survive the owner of a lane.
    package struct Memory: Sendable, Hashable {
        package var hold: Hold?
        /// Questions or probes that found it held, since it was open last.
        package var probes: Int
        /// When a held lane is asked or probed next; nil: at once, or only when a person wants it.
        package var nextProbe: ContinuousClock.Instant?
        /// When the ramp began, while it lasts.
        package var rampBegan: ContinuousClock.Instant?
        package init(
            hold: Hold? = nil,
            probes: Int = 0,
            nextProbe: ContinuousClock.Instant? = nil,
            rampBegan: ContinuousClock.Instant? = nil
        ) {
            self.hold = hold
            self.probes = probes
            self.nextProbe = nextProbe
            self.rampBegan = rampBegan
        }
    }
}

/// The pace after a hold: it grows from a tenth to all of it.
struct Ramp: Sendable, Hashable {
    static let steps = 10

    let began: ContinuousClock.Instant
    let length: Duration

    func lasts(at now: ContinuousClock.Instant) -> Bool { began + length > now }

    /// 1…10.
    func tenths(at now: ContinuousClock.Instant) -> Int {
        guard lasts(at: now) else { return Self.steps }
        let step = (now - began).wholeMilliseconds * Int64(Self.steps) / length.wholeMilliseconds
        return min(Self.steps, max(1, Int(step) + 1))
    }

    func nextStep(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        lasts(at: now) ? began + length / Self.steps * tenths(at: now) : nil
    }
}

/// How long a closed gate waits for its next question or probe: 15 s, doubling to 5 min, each a fifth more or less.
enum GateBackoff {
    static let shortest: Duration = .seconds(15)
    static let longest: Duration = .seconds(300)

    /// - Parameter probes: those that found it closed before.
    static func wait(afterProbes probes: Int, from shortest: Duration, upTo longest: Duration) -> Duration {
        min(longest, shortest * (1 << min(probes, 6)))
    }

    /// - Parameter jitter: 0…1.
    static func jittered(_ wait: Duration, _ jitter: Double) -> Duration { wait * (0.8 + 0.4 * min(max(jitter, 0), 1)) }
}
