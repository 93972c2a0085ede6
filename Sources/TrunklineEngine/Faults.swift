internal import Glibc
internal import Synchronization

/// Named steps of a job's way, in order (design, section 7).
package enum Step: String, Sendable, CaseIterable {
    /// A delivery is decoded; nothing is written yet.
    case accepted
    /// The take is committed; the delivery is not acknowledged yet.
    case taken
    /// A claim is committed; nothing has left yet.
    case claimed
    /// The bytes of a call that takes no effect may leave now: of a look-up, or of asking for credentials.
    case asked
    /// New credentials of a lane are committed; nothing has used them yet.
    case refreshed
    /// It is committed that a quiet attempt may take effect from now on; nothing of that has left yet.
    case marked
    /// The bytes of a call that may take effect may leave now.
    case carried
    /// The answer of a call is read; nothing is recorded yet.
    case answered
    /// The settlement is committed.
    case settled
    /// Deliveries are acknowledged.
    case acked
}

/// Mechanisms that a test build can turn off one by one, so that each has a test which fails without it.
package enum Mechanism: String, Sendable, CaseIterable {
    /// Lease, renewal, gate and hold are compared once more right before the bytes leave.
    case lastLook = "last_look"
    /// Deliveries are acknowledged after the commit, not at arrival.
    case ackAfterCommit = "ack_after_commit"
    /// After a lost COMMIT reply the rows are read again before anything else.
    case reread
    /// A silent owner's database backends are ended when they hold its locks.
    case terminate
    /// libcurl's silent second POST is stopped.
    case replayGuard = "replay_guard"
    /// Retries are woken by the tiers in the broker.
    case retryTiers = "retry_tiers"
    /// The owner's own timers look at a lane when something in it is due.
    case ownerTimer = "owner_timer"
    /// Queues that have messages and deliver none are noticed.
    case consumerWatch = "consumer_watch"
    /// An answer about a line's health that is older than what closed its gate opens nothing.
    case youngAnswer = "young_answer"
    /// Lanes with ready work take turns for the call slots.
    case rotation
    /// Attempts of a lost worker are left alone until their lease has run out and 10 s more.
    case foreignLease = "foreign_lease"
    /// What a living former owner has in the air counts against a lane's concurrency.
    case othersInAir = "others_in_air"
    /// A worker that may not act, or lacks a database session, gives up its subscriptions.
    case giveBack = "give_back"
    /// Who leaves a queue gives what it has not taken back at once, in order, by closing the channel.
    case drainGivesBack = "drain_gives_back"
    /// A worker that cannot reach the API while others can gives its shards to them.
    case reach
    /// A worker takes no more calls at once than its descriptors suffice for.
    case descriptorBudget = "descriptor_budget"
}

/// What a test can make deadly (TRUNKLINE_POISON=message:TEXT or job:TEXT).
enum PoisonKind: String {
    /// Reading a message that contains the text.
    case message
    /// Reading the answer to a send whose request contains it.
    case job
}

/// Crash and freeze points, and switches. In builds without the trait `Faults` all of it is empty.
enum Faults {
    #if Faults
        private struct Plan {
            var crash: (step: Step, after: Int)?
            var freeze: (step: Step, after: Int)?
            var off: Set<Mechanism> = []
            var poison: (kind: PoisonKind, text: [UInt8])?
        }

        // Read once: a test sets the environment of the process it starts.
        private static let plan: Plan = {
            func point(_ name: String) -> (step: Step, after: Int)? {
                guard let raw = getenv(name) else { return nil }
                let parts = String(cString: raw).split(separator: ":")
                guard parts.count == 2, let step = Step(rawValue: String(parts[0])), let count = Int(parts[1]),
                    count > 0
                else {
                    refuse(
                        "\(name) is STEP:N with STEP one of \(Step.allCases.map(\.rawValue).joined(separator: ", "))"
                    )
                }
                return (step, count)
            }
            var plan = Plan()
            plan.crash = point("TRUNKLINE_CRASH_AT")
            plan.freeze = point("TRUNKLINE_FREEZE_AT")
            if let raw = getenv("TRUNKLINE_POISON") {
                let parts = String(cString: raw).split(separator: ":", maxSplits: 1)
                guard parts.count == 2, let kind = PoisonKind(rawValue: String(parts[0])) else {
                    refuse("TRUNKLINE_POISON is message:TEXT or job:TEXT")
                }
                plan.poison = (kind, Array(parts[1].utf8))
            }
            if let raw = getenv("TRUNKLINE_TURN_OFF") {
                for word in String(cString: raw).split(separator: ",") {
                    guard let mechanism = Mechanism(rawValue: String(word)) else {
                        refuse("TRUNKLINE_TURN_OFF: no mechanism is called '\(word)'")
                    }
                    plan.off.insert(mechanism)
                }
            }
            return plan
        }()

        private static func refuse(_ sentence: String) -> Never {
            let line = Array((sentence + "\n").utf8)
            _ = write(STDERR_FILENO, line, line.count)
            exit(2)
        }

        private static let counts = Mutex<[Step: Int]>([:])

        /// Ends or freezes this process when the environment says so. A freeze waits for SIGCONT from outside.
        static func reached(_ step: Step, times: Int = 1) {
            guard plan.crash?.step == step || plan.freeze?.step == step, times > 0 else { return }
            let (before, after) = counts.withLock { counts in
                let before = counts[step, default: 0]
                counts[step] = before + times
                return (before, before + times)
            }
            func hit(_ point: (step: Step, after: Int)?) -> Bool {
                guard let point, point.step == step else { return false }
                return before < point.after && point.after <= after
            }
            if hit(plan.crash) { kill(getpid(), SIGKILL) }
            // To this thread: sent to the process, another one may take it, and this one runs on for a moment.
            if hit(plan.freeze) { raise(SIGSTOP) }
        }

        static func isOff(_ mechanism: Mechanism) -> Bool { plan.off.contains(mechanism) }

        /// Ends this process when the bytes contain what is deadly.
        static func poison(_ kind: PoisonKind, _ bytes: [UInt8]) {
            guard let poison = plan.poison, poison.kind == kind, bytes.count >= poison.text.count else { return }
            for start in 0...(bytes.count - poison.text.count)
            where bytes[start..<start + poison.text.count].elementsEqual(poison.text) {
                kill(getpid(), SIGKILL)
            }
        }
    #else
        @inline(__always) static func poison(_ kind: PoisonKind, _ bytes: [UInt8]) {}
        @inline(__always) static func reached(_ step: Step, times: Int = 1) {}
        @inline(__always) static func isOff(_ mechanism: Mechanism) -> Bool { false }
    #endif
}
