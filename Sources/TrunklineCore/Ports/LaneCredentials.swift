/// What proves to the other side who calls, for as long as it lasts. Its description shows nothing of it.
package struct Credentials: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    /// Goes into a header and nowhere else.
    package let accessToken: String
    package init(accessToken: String) { self.accessToken = accessToken }
    package var description: String { "credentials" }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// Credentials that expire, as a lane keeps them for the whole fleet.
package struct LaneCredentials: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    package let credentials: Credentials
    /// What the next ones are asked for with, in the carrier's own form: a refresh token. Whoever has it is the lane.
    package let renewal: [UInt8]
    /// From when they were given.
    package let lifetime: Duration

    /// - Parameter lifetime: as the other side says; the engine asks for the next ones before it ends.
    package init(credentials: Credentials, renewal: [UInt8], lifetime: Duration) {
        self.credentials = credentials
        self.renewal = renewal
        self.lifetime = lifetime
    }

    package var description: String { "credentials of a lane" }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// Asking the other side for the next credentials: one call, which takes no effect on any job.
package struct CredentialRefresh: Sendable {
    package let call: OutsideCall
    /// What came of it, and when.
    package let read: @Sendable (CallResult, Timestamp) -> RefreshResult

    package init(_ call: OutsideCall, read: @escaping @Sendable (CallResult, Timestamp) -> RefreshResult) {
        self.call = call
        self.read = read
    }
}

package enum RefreshResult: Sendable, Hashable {
    case renewed(LaneCredentials)
    /// The other side says that it never will, `invalid_grant`: the lane is held for a person.
    case refused
    /// Not this time: no answer, or one that says nothing about the lane.
    case failed
}
