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

/// A lane as people configured it: of a line, a destination, or something of a later version.
package struct ConfiguredLane: Sendable, Hashable {
    package let number: Int32
    /// A ``LaneName``'s value, if this program knows the noun.
    package let name: String
    package let shardHash: Int64
    /// A ``CarrierKind``'s value, of a carrier that this program may not know.
    package let carrier: String
    package let address: String
    /// Whether the address may be in a private network.
    package let mayBePrivate: Bool
    package let secret: StoredSecret
    package let unknownHorizon: Duration
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
        number: Int32,
        name: String,
        shardHash: Int64,
        carrier: String,
        address: String,
        mayBePrivate: Bool,
        secret: StoredSecret,
        unknownHorizon: Duration,
        interval: Duration,
        concurrency: Int32,
        recipientGap: Duration,
        dailyCap: Int32?,
        isHeld: Bool,
        holdLeft: Duration?,
        isRemoved: Bool,
        revision: Int64
    ) {
        self.number = number
        self.name = name
        self.shardHash = shardHash
        self.carrier = carrier
        self.address = address
        self.mayBePrivate = mayBePrivate
        self.secret = secret
        self.unknownHorizon = unknownHorizon
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
