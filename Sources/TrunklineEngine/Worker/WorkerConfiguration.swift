package import Logging
package import TrunklineCore

/// What a worker process is told at its start.
package struct WorkerConfiguration: Sendable {
    /// libpq URI or conninfo.
    package var databaseURL: String
    /// `amqp://` or `amqps://`.
    package var amqpURL: String
    /// Opens the lines' tokens.
    package var masterKey: MasterKey?
    /// Paths of files that hold secrets of the program itself: no line's token is read from them.
    package var ownFiles: Set<String> = []
    /// Shown in `trunkline status`.
    package var host: String
    /// Shown in `trunkline status`.
    package var version: String
    /// Calls in the air at once, preflights included; 1…4,096.
    package var maximumCalls = usualCalls
    static let usualCalls = 1_024
    /// Rows that a new owner reads and takes into memory at once, so that nothing else waits for a large shard.
    package var loadSlice = 5_000
    /// A PEM file to trust instead of the system's authorities, for the carriers' HTTPS.
    package var certificateAuthorities: String?
    /// What is dropped once a day, by one worker of the fleet.
    package var retention = RetentionAges()
    /// What lines and destinations are carried by.
    package var carriers: CarrierRegistry
    /// What reads received events; nil: they wait for a worker that has one.
    package var events: (any EventRunner)?
    /// Spans of time of the protocol between workers. All workers of a fleet must agree.
    package var timing = Timing()

    package init(
        databaseURL: String,
        amqpURL: String,
        masterKey: MasterKey?,
        host: String,
        version: String,
        carriers: CarrierRegistry
    ) {
        self.carriers = carriers
        self.databaseURL = databaseURL
        self.amqpURL = amqpURL
        self.masterKey = masterKey
        self.host = host
        self.version = version
    }

    /// Takes fewer calls at once where the descriptors do not suffice, and says so.
    ///
    /// - Throws: when there is not even room for one.
    package mutating func fitCalls(into budget: DescriptorBudget, _ logger: Logger) throws(WorkerError) {
        guard budget.calls < maximumCalls, !Faults.isOff(.descriptorBudget) else { return }
        let needed = DescriptorBudget.needed(forCalls: maximumCalls)
        guard budget.calls > 0 else {
            throw WorkerError(
                "this process may have \(budget.limit) files open, and a worker with \(maximumCalls) calls at once needs "
                    + "\(needed): raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)"
            )
        }
        logger.warning(
            "fewer calls at once than wanted: the hard limit of open files is too low",
            metadata: [
                "wanted": "\(maximumCalls)", "taken": "\(budget.calls)", "open_files": "\(budget.limit)",
                "needed": "\(needed)", "advice": "raise ulimit -Hn or LimitNOFILE=",
            ]
        )
        maximumCalls = budget.calls
    }

    /// Design D2 and section 3. ``init()`` has the values of the design; `isSound` says what must hold between them.
    package struct Timing: Sendable, Hashable {
        /// Between two raises of the own heartbeat.
        package var heartbeat: Duration = .seconds(2)
        /// Between two looks at the fleet, the lines and foreign attempts.
        package var look: Duration = .milliseconds(500)
        /// A worker whose last good renewal was sent longer ago stops acting.
        package var actingLimit: Duration = .seconds(5)
        /// A heartbeat that stood still for that long is a dead worker's.
        package var silenceLimit: Duration = .seconds(7)
        /// From before a claim was sent; the attempt's call must have ended by then.
        package var lease: Duration = .seconds(30)
        /// Connect time-out of a call.
        package var connectTimeout: Duration = .seconds(5)
        /// Total time-out of a call.
        package var callTimeout: Duration = .seconds(15)
        /// Total time-out of a question for a line's health: it takes no effect, and can be asked again.
        package var questionTimeout: Duration = .seconds(5)
        /// What a call's lease must have left beyond the total time-out when the bytes leave.
        package var leaseMargin: Duration = .seconds(2)
        /// How long a new owner sees a foreign attempt expired and unchanged before it takes it over.
        package var foreignPatience: Duration = .seconds(10)
        /// Between two looks for rows that no owner has seen (their wake-up was lost), and their least age.
        package var sweep: Duration = .seconds(1)
        package var sweepAge: Duration = .seconds(2)
        /// Between two looks for queues that have messages and deliver none.
        package var queueLook: Duration = .seconds(10)
        /// How long SIGTERM waits for calls in the air.
        package var drainLimit: Duration = .seconds(20)
        package init() {}

        /// Whether a woken worker can never begin a call that outlives its lease.
        package var isSound: Bool {
            callTimeout + leaseMargin < lease && heartbeat * 2 < actingLimit && actingLimit < silenceLimit
        }
    }
}
