package import PostgresDriver

/// Facts that every program of an install must agree on: today, its number of shards.
package enum Install {
    /// How long after its last renewal a worker still counts as alive when shards are to be changed. Longer than the 5 s
    /// after which it stops acting by itself.
    package static let aliveFor: Duration = .seconds(10)

    /// The install's number of shards, nil before the first ``Migrations/migrate(_:shards:migrations:)``.
    package static func storedShards(_ session: PostgresSession) async throws -> Int? {
        let exists = try await session.query("select to_regclass('trunkline.settings') is not null")
        guard exists.bool(0, 0) == true else { return nil }
        let rows = try await session.query("select value from trunkline.settings where name = 'shards'")
        guard rows.count == 1, let text = rows.text(0, 0) else { return nil }
        guard let shards = Int(text), Topology.shardRange.contains(shards) else { throw InstallError.unreadable }
        return shards
    }

    /// The install's number of shards. Throws when the database has none.
    package static func shards(_ session: PostgresSession) async throws -> Int {
        guard let shards = try await storedShards(session) else { throw MigrationError.noSchema }
        return shards
    }

    /// Stores `shards` unless a number is stored, and makes the shards' rows. Returns the number that is stored.
    static func ensureShards(_ session: PostgresSession, _ shards: Int) async throws -> Int {
        try await session.transaction { session in
            try await session.query(
                "insert into trunkline.settings (name, value) values ('shards', $1) on conflict (name) do nothing",
                [.text(String(shards))]
            )
            let stored = try await self.shards(session)
            try await makeRows(session, stored)
            return stored
        }
    }

    /// Changes the install's number of shards, with every worker stopped. The broker's queues follow with
    /// ``BrokerSession/apply(shards:)``.
    ///
    /// - Returns: the number before.
    @discardableResult
    package static func changeShards(_ session: PostgresSession, to shards: Int) async throws -> Int {
        try check(shards: shards)
        return try await session.transaction { session in
            // A worker that starts now waits here for its first heartbeat, and reads the new number afterwards.
            try await session.query("lock table trunkline.workers in share row exclusive mode")
            let alive = try await session.query(
                """
                select host || ' (process ' || pid || ')' from trunkline.workers
                where renewed_at > now() - make_interval(secs => $1) order by 1
                """,
                [.float8(Double(aliveFor.components.seconds))]
            )
            guard alive.count == 0 else {
                throw InstallError.workersAlive((0..<alive.count).compactMap { alive.text($0, 0) })
            }
            let before = try await self.shards(session)
            guard before != shards else { return before }
            try await session.query(
                "update trunkline.settings set value = $1 where name = 'shards'",
                [.text(String(shards))]
            )
            // Whoever owned a shard of the old division owns nothing of the new one.
            try await session.query(
                "update trunkline.shards set owner = null, fence = fence + 1, changed_at = now() where owner is not null"
            )
            try await session.query("delete from trunkline.shards where shard >= $1", [.int4(Int32(shards))])
            try await makeRows(session, shards)
            return before
        }
    }

    static func check(shards: Int) throws(InstallError) {
        guard Topology.shardRange.contains(shards) else { throw .shardsOutOfRange(shards) }
    }

    private static func makeRows(_ session: PostgresSession, _ shards: Int) async throws {
        try await session.query(
            "insert into trunkline.shards (shard) select generate_series(0, $1 - 1) on conflict (shard) do nothing",
            [.int4(Int32(shards))]
        )
    }
}

/// Why a fact of the install cannot be read or changed.
package enum InstallError: ExplainedError, Hashable {
    case shardsOutOfRange(Int)
    case shardsAreStored(stored: Int, asked: Int)
    case unreadable
    /// Who is alive: host and process id.
    case workersAlive([String])

    package var isRefusal: Bool { self != .unreadable }

    package var description: String {
        switch self {
        case .shardsOutOfRange(let shards):
            "an install has \(Topology.shardRange.lowerBound) to \(Topology.shardRange.upperBound) shards, not \(shards)"
        case .shardsAreStored(let stored, let asked):
            "this install has \(stored) shards, not \(asked); change them with 'trunkline topology apply --shards \(asked)'"
        case .unreadable: "the setting 'shards' in trunkline.settings is not a number of shards; it was changed by hand"
        case .workersAlive(let workers):
            "the number of shards is changed with all workers stopped; alive: \(workers.prefix(5).joined(separator: ", "))"
                + (workers.count > 5 ? " and \(workers.count - 5) more" : "")
        }
    }
}
