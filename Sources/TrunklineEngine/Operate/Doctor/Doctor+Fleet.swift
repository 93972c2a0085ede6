extension Doctor {
    static func workers(_ status: FleetStatus) -> Finding {
        let alive = status.workers.filter(\.isAlive)
        guard !alive.isEmpty else {
            return .warning("workers", "none is alive: nothing is sent", "start one with 'trunkline worker'")
        }
        let without = alive.filter { !$0.isBrokerConnected }
        let versions = Set(alive.map(\.version)).sorted()
        var words = "\(alive.count) alive"
        if versions.count > 1 { words += ", of versions \(versions.joined(separator: ", "))" }
        if status.shardsWithoutOwner > 0 {
            return .warning(
                "workers",
                words + "; \(status.shardsWithoutOwner) of \(status.shards) shards have no live worker",
                "wait ten seconds and look again; if it stays, look at the workers' logs"
            )
        }
        if !without.isEmpty {
            return .warning(
                "workers",
                words + "; \(without.count) without a broker",
                "look at the network between these hosts and the broker: "
                    + Set(without.map(\.host)).sorted().prefix(5).joined(separator: ", ")
            )
        }
        return .ok("workers", words + ", and every shard has one")
    }
}
