package import TestKit

/// What the harness did to the system: one object per line.
package struct FaultRecord: Codable, Sendable, Hashable {
    package enum Kind: String, Codable, Sendable, CaseIterable {
        case workerKill = "worker.kill"
        case workerFreeze = "worker.freeze"
        case rollingDeploy = "worker.deploy"
        case gatewayKill = "gateway.kill"
        case gatewayFreeze = "gateway.freeze"
        /// A gateway was partitioned from its database or its broker (`part`), both ways.
        case gatewayCutOff = "gateway.partitioned"
        case brokerRestart = "broker.restart"
        case brokerKill = "broker.kill"
        case brokerMemory = "broker.memory_alarm"
        case brokerQueueDeleted = "broker.queue_deleted"
        case databaseCrash = "database.crash"
        case databaseRestart = "database.restart"
        case proxyCut = "proxy.cut"
        case proxySlow = "proxy.slow"
        case proxyFreeze = "proxy.freeze"
        case proxyCutAfter = "proxy.cut_after_bytes"
        case proxyReply = "proxy.swallowed_reply"
        case proxyConfirm = "proxy.swallowed_confirm"
        case proxyAnswer = "proxy.swallowed_answer"
        case proxyInFrame = "proxy.cut_in_frame"
        /// One worker was partitioned from one server (`part`), in `direction`, from `begin` until it was healed at `end`.
        case partition = "worker.partitioned"
        case lineState = "line.state"
        case lineHold = "line.hold"
        case destinationState = "destination.state"
        case destinationHold = "destination.hold"
        /// No fault of its own: what another did to one connection of the API.
        case flow
        /// No fault: which worker a connection of the API belongs to.
        case owner
        /// No fault: moments of the run, such as its drain.
        case phase

        /// Those that harm.
        static let faults = allCases.filter { ![.flow, .owner, .phase].contains($0) }
    }

    /// The parts between which a proxy stands.
    package enum Part: String, Codable, Sendable {
        /// Worker or gateway, and PostgreSQL.
        case database
        /// Worker or gateway, and broker.
        case broker
        /// Workers and the API.
        case api
        /// Producers and the broker.
        case producer
        /// `trunkline enqueue` and PostgreSQL.
        case rows
    }

    package var kind: Kind
    /// ``Moment/now``.
    package var begin: Int64
    package var end: Int64
    /// Number of the worker; nil for faults of others.
    package var worker: Int?
    package var part: Part?
    /// `line:ID` or `destination:ID`.
    package var lane: String?
    /// Of a partition: which way nothing passed.
    package var direction: FaultProxy.Direction?
    /// Of a line's or destination's state, a flow's event, a phase, an SQL statement, or the name of a gateway.
    package var word: String?
    /// Of API connections: ports as the simulator sees them.
    package var ports: [UInt16]?
    /// What it hit: calls in the air, connections, messages.
    package var hits: Int
    /// Shard of a deleted queue.
    package var queue: String?
    /// Of a slow time: by how many nanoseconds everything was late.
    package var delay: Int64?

    /// The word of the phase in which nothing is harmed any more.
    static let healed = "healed"

    package init(_ kind: Kind, begin: Int64 = Moment.now, hits: Int = 0) {
        self.kind = kind
        self.begin = begin
        end = begin
        self.hits = hits
    }

    /// The same, ended now.
    func ended() -> FaultRecord {
        var record = self
        record.end = Moment.now
        return record
    }
}
