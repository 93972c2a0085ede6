package import TrunklineCore

/// What changes of a line; nil: nothing.
package struct LineChanges: Sendable {
    /// As the lines' carrier read it; a line's API may run beside Trunkline.
    package var baseURL: CarrierAddress?
    package var token: LaneSecret?
    package var pace: PaceChange
    package var dailyCap: DailyCap?
    package var timeZone: String?

    package init(
        baseURL: CarrierAddress? = nil,
        token: LaneSecret? = nil,
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

    package var isEmpty: Bool { ofLane.isEmpty }

    var ofLane: LaneChanges {
        LaneChanges(
            address: baseURL,
            secret: token,
            pace: pace,
            dailyCap: dailyCap,
            timeZone: timeZone
        )
    }
}
