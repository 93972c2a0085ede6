public import TrunklineCore

/// The broker has the job: on disk, on a majority of its nodes.
public struct Accepted: Sendable, Hashable {
    /// The job's key, by which it can be asked for.
    public let key: IdempotencyKey
    /// The line it will be sent from.
    public let line: LineID
}

/// Why a job is not known to be safe.
///
/// Every case but ``refused(_:)`` and ``unroutable(_:)`` is worth sending again, with the same key: the key makes it one
/// job however often it is sent.
public enum SendError: Error, Sendable, Hashable, CustomStringConvertible {
    /// It breaks a rule; nothing was sent. The reason names the field, never what a customer wrote.
    case refused(Refusal)
    /// The broker has no queue for it: wrong number of shards, or `trunkline topology apply` was never run.
    case unroutable(String)
    /// The broker did not keep it, for example because its queue is full.
    case rejected(String)
    /// It never left this process: no connection, a blocked broker, a missing exchange, a full window.
    case notSent(String)
    /// It left and no confirm came: it may be queued or not.
    case unknown(String)

    /// Whether the broker may have it nevertheless.
    public var mayBeQueued: Bool {
        if case .unknown = self { return true }
        return false
    }

    /// Whether sending the same job again, unchanged, can help.
    public var isRetriable: Bool {
        switch self {
        case .refused, .unroutable: false
        case .rejected, .notSent, .unknown: true
        }
    }

    /// Safe to log.
    public var description: String {
        switch self {
        case .refused(let refusal): "refused: \(refusal)"
        case .unroutable(let reason): "unroutable: \(reason)"
        case .rejected(let reason): "not accepted by the broker: \(reason)"
        case .notSent(let reason): "not sent: \(reason)"
        case .unknown(let reason): "unknown, may be queued; send it again with the same key: \(reason)"
        }
    }
}

/// The producer's settings are not usable. Never names a password.
public struct ProducerConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
}
