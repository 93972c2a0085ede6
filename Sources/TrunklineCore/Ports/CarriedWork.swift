/// What carriers carry: given at the desk or taken from a queue, rendered by the carrier of its lane.
package enum CarriedWork: Sendable, Hashable {
    /// A notice to a person, on a line's lane.
    case send(SendJob)
    /// An event for a client's system, on a destination's lane.
    case deliver(DeliverJob)

    package var lane: LaneName {
        switch self {
        case .send(let job): .line(job.line)
        case .deliver(let job): .destination(job.destination)
        }
    }

    package var key: IdempotencyKey {
        switch self {
        case .send(let job): job.key
        case .deliver(let job): job.key
        }
    }

    /// 16 bytes that name the content: what a repeat has in common with the job that it repeats.
    package var contentDigest: [UInt8] {
        switch self {
        case .send(let job): job.contentDigest
        case .deliver(let job): job.contentDigest
        }
    }

    package var sendBefore: Timestamp? {
        switch self {
        case .send(let job): job.sendBefore
        case .deliver(let job): job.sendBefore
        }
    }

    /// Reads one message of either schema, strictly; at most 64 KiB.
    package static func decode(json: [UInt8]) throws(Refusal) -> CarriedWork {
        switch try MessageSchema.check(json, isOneOf: [.send, .deliver]) {
        case .deliver: .deliver(try DeliverJob.decodeChecked(json, key: nil))
        default: .send(try SendJob.decodeChecked(json, key: nil))
        }
    }

    /// The canonical message.
    package func encode() -> [UInt8] {
        switch self {
        case .send(let job): job.encode()
        case .deliver(let job): job.encode()
        }
    }

    /// The rules that need a clock.
    package func validate(now: Timestamp) throws(Refusal) {
        switch self {
        case .send(let job): try job.validate(now: now)
        case .deliver(let job): try job.validate(now: now)
        }
    }
}
