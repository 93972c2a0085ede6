package import TrunklineCore

/// What a lane is made with.
package struct NewLane: Sendable {
    package let workspace: WorkspaceID
    package let carrier: CarrierKind
    package let address: CarrierAddress
    package let secret: LaneSecret
    package let pace: Pace
    package let dailyCap: DailyCap
    package let timeZone: String
    /// Its carrier's; see ``LanePolicy/unknownHorizon``.
    package let unknownHorizon: Duration
    /// Its carrier's; see ``LanePolicy/beginsQuietly``.
    package let beginsQuietly: Bool

    package init(
        workspace: WorkspaceID,
        carrier: CarrierKind,
        address: CarrierAddress,
        secret: LaneSecret,
        pace: Pace,
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC",
        policy: LanePolicy
    ) {
        self.workspace = workspace
        self.carrier = carrier
        self.address = address
        self.secret = secret
        self.pace = pace
        self.dailyCap = dailyCap
        self.timeZone = timeZone
        unknownHorizon = policy.unknownHorizon
        beginsQuietly = policy.beginsQuietly
    }
}

/// What changes of a lane; nil: nothing.
package struct LaneChanges: Sendable {
    package var address: CarrierAddress?
    package var secret: LaneSecret?
    package var pace: PaceChange
    package var dailyCap: DailyCap?
    package var timeZone: String?

    package init(
        address: CarrierAddress? = nil,
        secret: LaneSecret? = nil,
        pace: PaceChange = PaceChange(),
        dailyCap: DailyCap? = nil,
        timeZone: String? = nil
    ) {
        self.address = address
        self.secret = secret
        self.pace = pace
        self.dailyCap = dailyCap
        self.timeZone = timeZone
    }

    package var isEmpty: Bool {
        address == nil && secret == nil && pace == PaceChange() && dailyCap == nil && timeZone == nil
    }
}

/// What an operator said about a lane's pace; nil: nothing.
package struct PaceChange: Sendable, Hashable {
    package var interval: Duration?
    package var concurrency: Int?
    package var recipientGap: Duration?

    package init(interval: Duration? = nil, concurrency: Int? = nil, recipientGap: Duration? = nil) {
        self.interval = interval
        self.concurrency = concurrency
        self.recipientGap = recipientGap
    }

    /// `pace` with the change. A lane that becomes unlimited has sixteen calls in the air and no gap between two messages
    /// to one person, and one that becomes paced has the usual values again, unless the operator said otherwise.
    ///
    /// - Parameter usual: what lanes of its kind have; ``LanePolicy/pace``.
    /// - Throws: a refusal for a concurrency outside 1…256.
    package func applied(to pace: Pace, usual: Pace = .standard) throws(Refusal) -> Pace {
        var pace = pace
        if let interval {
            let wasUnlimited = pace.isUnlimited
            pace.interval = interval
            if pace.isUnlimited, !wasUnlimited {
                pace.concurrency = usual.isUnlimited ? usual.concurrency : 16
                pace.recipientGap = .zero
            } else if wasUnlimited, !pace.isUnlimited {
                pace.concurrency = usual.concurrency
                pace.recipientGap = usual.recipientGap
            }
        }
        if let concurrency {
            guard (1...256).contains(concurrency) else {
                throw Refusal(
                    kind: .invalid,
                    field: "concurrency",
                    reason: "concurrency is a number of calls in the air at once, from 1 to 256"
                )
            }
            pace.concurrency = concurrency
        }
        if let recipientGap { pace.recipientGap = recipientGap }
        return pace
    }
}
