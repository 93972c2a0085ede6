internal import Glibc

/// Faults of the process itself, for tests: consumers that get nothing, and a loop that does not turn.
extension Faults {
    /// How far a subscription that gets nothing must be renewed until it gets something (TRUNKLINE_SILENT_CONSUMERS).
    enum Silence: String {
        /// A queue's first subscription is silent.
        case subscription
        /// All subscriptions of the first connection are silent.
        case connection
        /// All are.
        case process
    }

    #if Faults
        private static let silence = getenv("TRUNKLINE_SILENT_CONSUMERS").flatMap {
            Silence(rawValue: String(cString: $0))
        }
        private static let hangAt = getenv("TRUNKLINE_HANG_AT").flatMap {
            Step(rawValue: String(cString: $0))
        }

        /// Where calls to the API really go, so that each worker of a test has a way of its own (TRUNKLINE_CONNECT_TO,
        /// HOST:PORT:OTHER_HOST:OTHER_PORT).
        static let connectTo = getenv("TRUNKLINE_CONNECT_TO").map { String(cString: $0) }

        /// Whether a subscription must get nothing: the queue's n-th, on a connection before which so many were lost.
        static func isSilent(subscription: Int, lostConnections: Int) -> Bool {
            switch silence {
            case nil: false
            case .subscription: subscription == 1
            case .connection: lostConnections == 0
            case .process: true
            }
        }

        /// Hangs the calling thread for ever at the step that the environment names (TRUNKLINE_HANG_AT).
        static func hang(at step: Step) {
            guard hangAt == step else { return }
            while true { sleep(1) }
        }
    #else
        static var connectTo: String? { nil }
        @inline(__always) static func isSilent(subscription: Int, lostConnections: Int) -> Bool { false }
        @inline(__always) static func hang(at step: Step) {}
    #endif
}
