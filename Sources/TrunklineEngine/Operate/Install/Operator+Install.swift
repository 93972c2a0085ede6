internal import TrunklineCore

/// What `migrate` has brought the install to.
package struct MigrationOutcome: Sendable {
    package let database: Migrations.Report
    /// Queues of shards that the install no longer has; nil when no broker was given.
    package let retired: [Topology.Retired]?
}

/// A change of the number of shards.
package struct ShardChange: Sendable, Hashable {
    package let before: Int
    package let now: Int
    package let retired: [Topology.Retired]
}

/// What nobody could reach from the database: messages that only the broker has.
package enum WaitingMessages: Sendable, Hashable {
    case count(Int)
    /// Why nobody can say.
    case unknown(String)
}

extension Operator {
    // MARK: Schema

    /// What ``migrate(amqpURL:shards:)`` would apply. Changes nothing.
    package func pendingMigrations() async throws -> Migrations.Pending {
        try await Migrations.pending(database.session())
    }

    /// Brings the database, and the broker if one is given, to what this program needs. Safe at any time and by several at
    /// once.
    ///
    /// - Parameter shards: see ``Migrations/migrate(_:shards:migrations:)``.
    package func migrate(amqpURL: String?, shards: Int?) async throws -> MigrationOutcome {
        let report = try await Migrations.migrate(database.session(), shards: shards)
        var retired: [Topology.Retired]?
        if let amqpURL {
            retired = try await BrokerSession.withSession(url: amqpURL, connectionName: name) { broker in
                try await broker.apply(shards: report.shards)
            }
        }
        return MigrationOutcome(database: report, retired: retired)
    }

    // MARK: Broker

    /// The install's number of shards.
    package func shards() async throws -> Int { try await Install.shards(session()) }

    /// Declares what is missing on the broker, and first changes the number of shards, if one is given, with all workers
    /// stopped.
    package func applyTopology(amqpURL: String, shards: Int?) async throws -> ShardChange {
        // The broker first: whether it can be reached and used must show before the database is changed.
        let broker = try await BrokerSession.open(url: amqpURL, connectionName: name)
        do {
            let before: Int
            if let shards {
                before = try await Install.changeShards(session(), to: shards)
            } else {
                before = try await self.shards()
            }
            let now = shards ?? before
            let retired = try await broker.apply(shards: now)
            await broker.close()
            return ShardChange(before: before, now: now, retired: retired)
        } catch {
            await broker.close()
            throw error
        }
    }

    /// Compares the broker with what the install needs. Throws a ``TopologyError`` that names what differs.
    ///
    /// - Returns: the install's number of shards.
    package func checkTopology(amqpURL: String) async throws -> Int {
        let shards = try await shards()
        try await BrokerSession.withSession(url: amqpURL, connectionName: name) { try await $0.check(shards: shards) }
        return shards
    }

    /// Messages that wait in the broker's queues from which jobs are taken. Wake-ups among them name rows that PostgreSQL
    /// has.
    ///
    /// - Parameter amqpURL: nil when no broker is configured.
    package func waitingMessages(amqpURL: String?) async -> WaitingMessages {
        guard let amqpURL else { return .unknown("no broker is configured here") }
        do {
            let shards = try await shards()
            let count = try await BrokerSession.withSession(url: amqpURL, connectionName: name) {
                try await $0.waitingMessages(shards: shards)
            }
            return .count(count)
        } catch {
            return .unknown(Explanation(error).words)
        }
    }

    /// Rebuilds what a wiped broker had.
    ///
    /// - Parameter progress: called after each chunk with what was done, and with about how many jobs there are.
    package func rehydrate(
        amqpURL: String,
        progress: @Sendable (Rehydration.Report, _ total: Int) -> Void
    ) async throws -> Rehydration.Report {
        try await Rehydration.run(databaseURL: databaseURL, amqpURL: amqpURL, progress: progress)
    }
}

extension BrokerSession {
    /// Messages that wait in the queues from which jobs are taken. Wake-ups among them name rows that PostgreSQL has.
    func waitingMessages(shards: Int) async throws -> Int {
        var sum = 0
        let queues =
            [Topology.intakeQueue, Topology.bulkQueue, Topology.unroutedQueue, Topology.deadQueue]
            + (0..<shards).map(Topology.shardQueue)
        for queue in queues { sum += try await messages(in: queue) ?? 0 }
        return sum
    }
}
