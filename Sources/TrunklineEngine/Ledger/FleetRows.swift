package import PostgresDriver
package import TrunklineCore

/// A worker's boot id as a rank: compared byte by byte. 16 bytes.
package struct BootID: Hashable, Comparable, Sendable {
    package let bytes: [UInt8]
    package init(bytes: [UInt8]) { self.bytes = bytes }
    package static func < (left: BootID, right: BootID) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

/// What a worker says of itself.
package struct Heartbeat: Sendable {
    package let boot: BootID
    package let host: String
    package let processID: Int32
    package let version: String
    /// Its sessions, which may have to be ended when it falls silent.
    package let backends: [PostgresBackend]
    package let hasBroker: Bool
    package let isStopping: Bool
    /// Origins that its lines called lately or that are silent.
    package let origins: [OriginReport]

    package init(
        boot: BootID,
        host: String,
        processID: Int32,
        version: String,
        backends: [PostgresBackend],
        hasBroker: Bool,
        isStopping: Bool,
        origins: [OriginReport]
    ) {
        self.boot = boot
        self.host = host
        self.processID = processID
        self.version = version
        self.backends = backends
        self.hasBroker = hasBroker
        self.isStopping = isStopping
        self.origins = origins
    }
}

/// What a worker's calls say of an origin.
package struct OriginReport: Sendable, Hashable {
    package let origin: String
    package let counts: CallCounts
    /// Whether it answers; nil: not known.
    package let reach: Reach.Word?
    package init(origin: String, counts: CallCounts, reach: Reach.Word?) {
        self.origin = origin
        self.counts = counts
        self.reach = reach
    }
}

package struct WorkerRow: Sendable, Hashable {
    package let boot: BootID
    /// Rises with every heartbeat.
    package let beat: Int64
    package let isStopping: Bool
    package let hasBroker: Bool
    package let origins: [OriginReport]
    package init(boot: BootID, beat: Int64, isStopping: Bool, hasBroker: Bool, origins: [OriginReport]) {
        self.boot = boot
        self.beat = beat
        self.isStopping = isStopping
        self.hasBroker = hasBroker
        self.origins = origins
    }
}

package struct ShardRow: Sendable, Hashable {
    package let shard: Int32
    package let owner: BootID?
    package let fence: Int64
    package init(shard: Int32, owner: BootID?, fence: Int64) {
        self.shard = shard
        self.owner = owner
        self.fence = fence
    }
}

package struct ShardFence: Sendable, Hashable {
    package let shard: Int32
    package let fence: Int64
    package init(shard: Int32, fence: Int64) {
        self.shard = shard
        self.fence = fence
    }
}

package struct BreakerRow: Sendable, Hashable {
    package let origin: String
    package let isProbeDue: Bool
    package init(origin: String, isProbeDue: Bool) {
        self.origin = origin
        self.isProbeDue = isProbeDue
    }
}

package struct BreakerOpening: Sendable, Hashable {
    package let origin: String
    /// For people.
    package let reason: String
    package let nextProbeIn: Duration
    package init(origin: String, reason: String, nextProbeIn: Duration) {
        self.origin = origin
        self.reason = reason
        self.nextProbeIn = nextProbeIn
    }
}

package struct ProbeEnd: Sendable, Hashable {
    package let origin: String
    /// Closes the breaker.
    package let isAnswered: Bool
    package let nextProbeIn: Duration
    package init(origin: String, isAnswered: Bool, nextProbeIn: Duration) {
        self.origin = origin
        self.isAnswered = isAnswered
        self.nextProbeIn = nextProbeIn
    }
}

/// A line as it is stored.
package struct LineRow: Sendable, Hashable {
    package let id: String
    package let lane: Int32
    package let shardHash: Int64
    package let baseURL: String
    package let sealedToken: [UInt8]
    package let tokenReference: String?
    package let keyVersion: Int32
    package let interval: Duration
    package let concurrency: Int32
    package let recipientGap: Duration
    package let dailyCap: Int32?
    package let isHeld: Bool
    /// Nil: the hold does not end by itself.
    package let holdLeft: Duration?
    package let isRemoved: Bool
    package let revision: Int64

    package init(
        id: String,
        lane: Int32,
        shardHash: Int64,
        baseURL: String,
        sealedToken: [UInt8],
        tokenReference: String?,
        keyVersion: Int32,
        interval: Duration,
        concurrency: Int32,
        recipientGap: Duration,
        dailyCap: Int32?,
        isHeld: Bool,
        holdLeft: Duration?,
        isRemoved: Bool,
        revision: Int64
    ) {
        self.id = id
        self.lane = lane
        self.shardHash = shardHash
        self.baseURL = baseURL
        self.sealedToken = sealedToken
        self.tokenReference = tokenReference
        self.keyVersion = keyVersion
        self.interval = interval
        self.concurrency = concurrency
        self.recipientGap = recipientGap
        self.dailyCap = dailyCap
        self.isHeld = isHeld
        self.holdLeft = holdLeft
        self.isRemoved = isRemoved
        self.revision = revision
    }
}

/// What a former owner left of a lane.
package struct LaneRow: Sendable, Hashable {
    package let lane: Int32
    package let nextSendIn: Duration
    package let pausedFor: Duration
    package let gate: GateWord
    package let gateReason: String?
    package let probes: Int32
    package let nextProbeIn: Duration?
    package let rampingFor: Duration?
    /// Since the gate has its word, or since the hold began.
    package let gateFor: Duration
    package let isHoldTold: Bool

    package init(
        lane: Int32,
        nextSendIn: Duration,
        pausedFor: Duration,
        gate: GateWord,
        gateReason: String?,
        probes: Int32,
        nextProbeIn: Duration?,
        rampingFor: Duration?,
        gateFor: Duration,
        isHoldTold: Bool
    ) {
        self.lane = lane
        self.nextSendIn = nextSendIn
        self.pausedFor = pausedFor
        self.gate = gate
        self.gateReason = gateReason
        self.probes = probes
        self.nextProbeIn = nextProbeIn
        self.rampingFor = rampingFor
        self.gateFor = gateFor
        self.isHoldTold = isHoldTold
    }
}

/// A gate that is to be shown, and kept for the next owner.
package struct GateRow: Sendable, Hashable {
    package let lane: Int32
    package let gate: Gate.Word
    package let reason: String?
    package let probes: Int32
    package let nextProbeIn: Duration?
    package let rampingFor: Duration?
    package init(
        lane: Int32,
        gate: Gate.Word,
        reason: String?,
        probes: Int32,
        nextProbeIn: Duration?,
        rampingFor: Duration?
    ) {
        self.lane = lane
        self.gate = gate
        self.reason = reason
        self.probes = probes
        self.nextProbeIn = nextProbeIn
        self.rampingFor = rampingFor
    }
}
