internal import PostgresDriver

/// The day partitions of `finished` and `attempts`, made ahead of their days.
enum Partitions {
    /// How many days ahead.
    static let days = 7

    /// A day that has no partition of its own.
    struct Trouble: Sendable, Hashable, CustomStringConvertible {
        let table: String
        let day: String
        let reason: String
        var description: String { "\(table) of \(day): \(reason)" }
    }

    /// Makes what is missing of today and the coming days: a statement per day, the farthest first, so that trouble with
    /// today takes no later day with it. Returns the days without a partition, in words.
    static func make(_ session: PostgresSession) async throws -> [Trouble] {
        var troubles: [Trouble] = []
        for ahead in (0...days).reversed() {
            let rows = try await session.query("select ((now() at time zone 'UTC')::date + \(ahead))::text")
            let day = rows.text(0, 0) ?? ""
            for table in ["finished", "attempts"] {
                if let reason = try await make(table, day, session) {
                    troubles.append(Trouble(table: table, day: day, reason: reason))
                }
            }
        }
        return troubles
    }

    /// - Returns: why there is none, in words; nil when there is one.
    private static func make(_ table: String, _ day: String, _ session: PostgresSession) async throws -> String? {
        var tries = 0
        while true {
            do {
                try Task.checkCancellation()
                let rows = try await session.query("select trunkline.make_day($1, $2)", [.text(table), .text(day)])
                return rows.text(0, 0) == "crowded"
                    ? "too many of its rows lie in the default partition to be moved while others wait" : nil
            } catch let error as PostgresError where error.code == .server && !error.isConnectionLost {
                tries += 1
                // The lock was not granted at once, or a row of that day came to the default partition in this very moment.
                guard tries < 5, ["55P03", "40P01", "23514"].contains(error.sqlState) else { return "\(error)" }
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...500)))
            }
        }
    }
}
