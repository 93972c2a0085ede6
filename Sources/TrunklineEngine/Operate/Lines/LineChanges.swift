package import TrunklineCore
package import TrunklineIntegrations

/// What changes of a line; nil: nothing.
package struct LineChanges: Sendable {
    package var baseURL: EZWhatsApp.BaseURL?
    package var token: LineToken?
    package var pace: PaceChange
    package var dailyCap: DailyCap?
    package var timeZone: String?

    package init(
        baseURL: EZWhatsApp.BaseURL? = nil,
        token: LineToken? = nil,
        pace: PaceChange = PaceChange(),
        dailyCap: DailyCap? = nil,
        timeZone: String? = nil
    ) {
        self.baseURL = baseURL
        self.token = token
        self.pace = pace
        self.dailyCap = dailyCap
        self.timeZone = timeZone
    }

    package var isEmpty: Bool {
        baseURL == nil && token == nil && pace == PaceChange() && dailyCap == nil && timeZone == nil
    }
}

/// What an operator said about a line's pace; nil: nothing.
package struct PaceChange: Sendable, Hashable {
    package var interval: Duration?
    package var concurrency: Int?
    package var recipientGap: Duration?

    package init(interval: Duration? = nil, concurrency: Int? = nil, recipientGap: Duration? = nil) {
        self.interval = interval
        self.concurrency = concurrency
        self.recipientGap = recipientGap
    }

    /// `pace` with the change. A line that becomes unlimited has sixteen sends in the air and no gap between two messages
    /// to one person, and one that becomes paced has the usual values again, unless the operator said otherwise.
    ///
    /// Throws a refusal for a concurrency outside 1…256.
    package func applied(to pace: Pace) throws(Refusal) -> Pace {
        var pace = pace
        if let interval {
            let wasUnlimited = pace.isUnlimited
            pace.interval = interval
            if pace.isUnlimited, !wasUnlimited {
                pace.concurrency = 16
                pace.recipientGap = .zero
            } else if wasUnlimited, !pace.isUnlimited {
                pace.concurrency = Pace.standard.concurrency
                pace.recipientGap = Pace.standard.recipientGap
            }
        }
        if let concurrency {
            guard (1...256).contains(concurrency) else {
                throw Refusal(
                    kind: .invalid,
                    field: "concurrency",
                    reason: "a line has 1 to 256 sends in the air at once"
                )
            }
            pace.concurrency = concurrency
        }
        if let recipientGap { pace.recipientGap = recipientGap }
        return pace
    }
}

/// Why a line cannot be made or changed.
package enum LineError: ExplainedError, Hashable {
    case unknown(LineID)
    case exists(LineID)
    case ofAnotherWorkspace(LineID)
    case removed(LineID)
    case unfinishedJobs(LineID, count: Int64)
    case holdWithoutReason
    case holdIsOver
    case holdTooLong
    case unknownTimeZone
    case tokenOfAnotherAddress(LineID)
    case addressNotProven(LineID, origin: String)

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .unknown(let id): "there is no line \(id)"
        case .exists(let id): "the line \(id) exists already; change it with 'trunkline line set \(id)'"
        case .ofAnotherWorkspace(let id):
            "the id \(id) belongs to another workspace for ever, because its keys do; take another id"
        case .removed(let id): "the line \(id) was removed; 'trunkline line add \(id)' brings it back"
        case .unfinishedJobs(let id, let count):
            "the line \(id) has \(count) unfinished \(count == 1 ? "job" : "jobs"); a line is removed when its jobs have ended"
        case .holdWithoutReason:
            "a hold needs a reason of 1 to 200 characters without control characters: somebody will read it at night"
        case .holdIsOver: "the end of the hold has passed already"
        case .unknownTimeZone: "there is no such time zone; they are written like Europe/Madrid, Asia/Jerusalem or UTC"
        case .tokenOfAnotherAddress(let id):
            "the token of line \(id) is for its present address only and does not follow it elsewhere: give the token again, "
                + "with --token-file or another of --token-…"
        case .addressNotProven(let id, let origin):
            "the row of line \(id) says \(origin), which the stored token does not confirm (another master key, or the row was "
                + "changed by something else than 'trunkline line'): say the line's address too, with --base-url"
        case .holdTooLong: "a hold ends within a year; without --until it lasts until it is resumed"
        }
    }
}
