internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore

/// Any error of the engine or of what it stands on, as whoever asked needs it: a sentence, and what kind of end it is.
package struct Explanation: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Something failed.
        case failed
        /// What was given cannot be used: an address that is none, say.
        case usage
        /// Refused by a rule: validation, policy, or a state that does not allow it.
        case refused
        /// Broker or database cannot be reached.
        case unreachable
    }

    package let kind: Kind
    /// One sentence without a secret or a customer's data.
    package let words: String
    /// Whether the same may go well a moment later.
    package let mayPass: Bool

    package init(_ error: any Error) {
        switch error {
        case let error as Refusal: self.init(.refused, error.reason)
        case let error as PostgresError where error.code == .invalidURL: self.init(.usage, error.message)
        case let error as PostgresError:
            let isAway = error.isConnectionLost || error.code == .cannotConnect
            self.init(
                isAway ? .unreachable : .failed,
                "database: \(error.message)" + (error.sqlState.map { " (\($0))" } ?? ""),
                mayPass: error.isRetriable
            )
        case let error as RabbitError:
            let configuration = error.code == .invalidConfiguration
            let isAway = error.isConnectionLost || [.tlsRefused, .loginRefused, .timedOut].contains(error.code)
            self.init(configuration ? .usage : isAway ? .unreachable : .failed, "broker: \(error.message)")
        case let error as any ExplainedError:
            self.init(error.isRefusal ? .refused : .failed, error.description)
        default: self.init(.failed, String(describing: error))
        }
    }

    private init(_ kind: Kind, _ words: String, mayPass: Bool = false) {
        self.kind = kind
        self.words = words
        self.mayPass = mayPass
    }
}
