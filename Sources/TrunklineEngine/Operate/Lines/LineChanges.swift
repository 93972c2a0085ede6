internal import TrunklineCore
package import TrunklineIntegrations

extension LaneSecret {
    /// A line's token.
    package static func sealed(_ token: EZWhatsApp.Token, _ key: MasterKey) -> LaneSecret {
        .sealed(Array(token.value.utf8), hint: token.lastFour, key)
    }

    /// Where the workers find a line's token; `current` is what is there, if this program can see it.
    package static func reference(_ place: SecretReference, current: EZWhatsApp.Token?, _ key: MasterKey) -> LaneSecret
    {
        .reference(place, hint: current?.lastFour ?? "", key)
    }
}

/// What changes of a line; nil: nothing.
package struct LineChanges: Sendable {
    package var baseURL: EZWhatsApp.BaseURL?
    package var token: LaneSecret?
    package var pace: PaceChange
    package var dailyCap: DailyCap?
    package var timeZone: String?

    package init(
        baseURL: EZWhatsApp.BaseURL? = nil,
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
            address: baseURL.map { CarrierAddress($0) },
            secret: token,
            pace: pace,
            dailyCap: dailyCap,
            timeZone: timeZone
        )
    }
}

extension CarrierAddress {
    /// A line's; its API may run beside Trunkline.
    init(_ base: EZWhatsApp.BaseURL) {
        self.init(value: base.value, origin: base.origin, shown: base.value, mayBePrivate: true)
    }
}
