package import Logging
internal import PostgresDriver
internal import RabbitDriver

/// What a worker looks at before it begins: is the database there, can it be written to, does it keep its promises, is the
/// schema the right one, does the key open the tokens.
package enum WorkerGround {
    /// Waits for a database that is away, has no connection free, or is a standby, and says so once per state. Ends with
    /// an error where only a person can help.
    ///
    /// - Parameter readReplicas: names of standbys that are never promoted.
    /// - Returns: the install's number of shards.
    package static func wait(
        databaseURL: String,
        masterKey: MasterKey?,
        readReplicas: Set<String>,
        logger: Logger
    ) async throws -> Int {
        var absence = Absence()
        var pause = Duration.milliseconds(250)
        while true {
            do {
                let shards = try await look(databaseURL, masterKey, readReplicas, logger)
                if absence.ended() { logger.notice("the database can be used again") }
                return shards
            } catch let error as PostgresError where error.isRetriable {
                if absence.began(error) {
                    logger.warning("the database cannot be used; waiting for it", metadata: ["error": "\(error)"])
                }
            }
            // Jittered, so that a fleet that waits together does not ask together.
            try await Task.sleep(for: pause * Double.random(in: 0.5...1))
            pause = min(pause * 2, .seconds(4))
        }
    }

    private static func look(
        _ databaseURL: String,
        _ masterKey: MasterKey?,
        _ readReplicas: Set<String>,
        _ logger: Logger
    ) async throws -> Int {
        try await Operator.with(databaseURL: databaseURL, name: "trunkline worker check") { install in
            let server = try await DatabaseServer.read(install.database.session())
            // In the words and with the code that a write would meet.
            guard !server.isInRecovery else {
                throw PostgresError(code: .server, sqlState: "25006", message: "the server is a standby (in recovery)")
            }
            if let refusal = server.refusal(readReplicas: readReplicas) { throw refusal }
            try await install.requireMasterKey(masterKey)
            let shards = try await install.shards()
            for warning in server.warnings(readReplicas: readReplicas) {
                logger.warning("database", metadata: ["warning": "\(warning)"])
            }
            return shards
        }
    }

    /// Exchanges and queues must be as this program needs them; missing ones are declared. A broker that is away stops
    /// nothing: a worker sends what PostgreSQL has and connects when it is back.
    ///
    /// - Parameter shards: the install's number of shards.
    package static func checkBroker(amqpURL: String, shards: Int, logger: Logger) async throws {
        do {
            try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline worker check") { broker in
                do {
                    try await broker.check(shards: shards)
                } catch let error as TopologyError where error.isOnlyMissing {
                    // Somebody deleted a queue, or the broker was wiped: as a running worker does.
                    logger.warning("declaring exchanges and queues again", metadata: ["because": "\(error)"])
                    _ = try await broker.apply(shards: shards)
                }
            }
        } catch let error as RabbitError where error.isConnectionLost || error.code == .timedOut {
            logger.warning("the broker cannot be reached; its queues are not checked", metadata: ["error": "\(error)"])
        }
    }
}

/// Says once per state that something is away: what is repeated every few seconds is read by nobody. No clock.
struct Absence {
    private var kind: String?

    /// - Returns: whether this is another state than the last one.
    mutating func began(_ error: PostgresError) -> Bool {
        let kind = error.sqlState ?? error.code.rawValue
        defer { self.kind = kind }
        return kind != self.kind
    }

    /// - Returns: whether something was away.
    mutating func ended() -> Bool {
        defer { kind = nil }
        return kind != nil
    }
}
