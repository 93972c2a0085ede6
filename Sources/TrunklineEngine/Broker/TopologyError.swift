internal import RabbitDriver

/// Why the broker's objects are not as they must be.
package enum TopologyError: ExplainedError, Hashable {
    /// One object that is not as it must be.
    package struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        package enum Kind: Sendable, Hashable {
            case missing
            /// It is exclusive to another connection.
            case locked
            /// It exists with another value of that argument (nil: the broker did not name one).
            case differs(argument: String?)
        }

        /// `queue trunkline.shard.00`.
        package let object: String
        package let kind: Kind
        /// What the broker said.
        package let words: String

        package var description: String {
            switch kind {
            case .missing: "the \(object) does not exist; run 'trunkline topology apply'"
            case .locked: "the \(object) belongs to another connection alone (the broker: \(words))"
            case .differs(let argument):
                "the \(object) exists with another \(argument.map { "'\($0)'" } ?? "declaration") than Trunkline needs "
                    + "(the broker: \(words)); empty and delete it, then run 'trunkline topology apply'"
            }
        }
    }

    case differs([Problem])
    case brokerRefused(version: String, reason: String)
    case tooFewChannels(limit: Int, needed: Int)

    package var isRefusal: Bool { true }

    /// Whether declaring everything again puts it right.
    package var isOnlyMissing: Bool {
        if case .differs(let problems) = self { return problems.allSatisfy { $0.kind == .missing } }
        return false
    }

    package var description: String {
        switch self {
        case .differs(let problems):
            problems.prefix(5).map(\.description).joined(separator: "\n")
                + (problems.count > 5 ? "\nand \(problems.count - 5) more" : "")
        case .brokerRefused(let version, let reason): "RabbitMQ \(version) cannot be used: \(reason)"
        case .tooFewChannels(let limit, let needed):
            "the broker allows \(limit) channels on a connection (channel_max), and a worker of this install needs \(needed): "
                + "raise channel_max, or lower the number of shards"
        }
    }
}
