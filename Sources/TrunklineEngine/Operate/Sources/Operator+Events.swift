internal import PostgresDriver
package import TrunklineCore

/// A received event and what became of it. Holds no customer's data.
package struct EventRecord: Sendable, Hashable {
    package let source: String
    package let key: String
    package let receivedAt: Timestamp
    /// How often it came again.
    package let repeats: Int32
    /// How often a person had it run anew.
    package let replays: Int32
    /// The last job that was made to run it.
    package let job: JobID?
    /// Of that job while it is unfinished, and why it waits or was put aside.
    package let jobState: String?
    package let jobReason: String?
    /// `planned`, `ignored`, `refused`; nil while it has not run.
    package let outcome: String?
    package let reason: String?
    package let ranAt: Timestamp?
    /// Of its body.
    package let length: Int64
    /// Retention has dropped its bytes.
    package let isEmptied: Bool
    /// What was planned at its last run; nil where nothing was.
    package let plan: EventPlanRecord?

    /// In a word: the state of the job that runs it, else what came of it.
    package var state: String { jobState ?? outcome ?? "not run" }

    /// Why, for people.
    package var sentence: String {
        if jobState != nil { return jobReason.map { JobStory.words(forReason: $0) } ?? "" }
        let own = reason.map { reason in
            IgnoredEvent(rawValue: reason)?.sentence ?? PolicyAsk(rawValue: reason)?.sentence ?? reason
        }
        return [plan?.trouble, own].compactMap { $0 }.joined(separator: "; ")
    }
}

/// What became of an event that was to be run anew. The raw value is the stored word.
package enum EventReplayVerdict: LedgerWord {
    case replayed
    /// The job that runs it has not ended.
    case unfinished
    /// Retention has dropped its bytes.
    case emptied
    case unknownEvent
    case unknownLane
    case removedLane
    case unheard(String)

    package static let known: [(word: String, value: EventReplayVerdict)] = [
        ("replayed", .replayed), ("unfinished", .unfinished), ("emptied", .emptied), ("unknown_event", .unknownEvent),
        ("unknown_lane", .unknownLane), ("removed_lane", .removedLane),
    ]
}

/// Which events of a source are meant.
package enum EventChoice: Sendable, Hashable {
    case named([String])
    /// All that were received since then; nil: all.
    case since(Timestamp?)
}

extension Operator {
    private static let chunk = 200

    /// The latest events first.
    ///
    /// - Parameters:
    ///   - source, outcome: only of this source, with this outcome; nil for all.
    ///   - since: only what was received since then.
    package func events(
        source: SourceID? = nil,
        outcome: String? = nil,
        since: Timestamp? = nil,
        limit: Int
    ) async throws -> [EventRecord] {
        try await events(
            where: """
                ($1::text is null or b.source = $1) and ($2::text is null or b.outcome = $2)
                and ($3::timestamptz is null or b.received_at >= $3)
                """,
            [
                source.map { .text($0.value) } ?? .null, outcome.map { .text($0) } ?? .null,
                since.map { .timestamp(microseconds: $0.microseconds) } ?? .null, .int8(Int64(limit)),
            ]
        )
    }

    /// One event; nil when there is none of that key.
    package func event(_ key: String, of source: SourceID) async throws -> EventRecord? {
        try await events(
            where: "b.source = $1 and b.event_key = $2 and $3::text is null",
            [.text(source.value), .text(key), .null, .int8(1)]
        ).first
    }

    /// Headers and bytes of an event as it is stored; nil when there is none. Customers' data.
    package func eventBytes(_ key: String, of source: SourceID) async throws -> ReceivedEvent? {
        let rows = try await query(
            "select headers::text, body, received_at from trunkline.inbox where source = $1 and event_key = $2",
            [.text(source.value), .text(key)]
        )
        guard rows.count == 1, let headers = WebhookJob.headers(text: rows.text(0, 0) ?? "") else { return nil }
        return ReceivedEvent(
            headers: headers,
            body: rows.bytes(0, 1) ?? [],
            receivedAt: Timestamp(microseconds: rows.timestamp(0, 2) ?? 0)
        )
    }

    private func events(where condition: String, _ parameters: [PostgresParameter]) async throws -> [EventRecord] {
        let rows = try await query(
            """
            select b.source, b.event_key, b.received_at, b.repeats, b.replays, b.job, j.state, j.reason, b.outcome, b.reason,
                b.ran_at, length(b.body)::int8, b.emptied_at is not null, b.plan::text
            from trunkline.inbox b left join trunkline.jobs j on j.id = b.job
            where \(condition) order by b.stored_at desc, b.event_key limit $4
            """,
            parameters
        )
        return (0..<rows.count).map { row in
            EventRecord(
                source: rows.text(row, 0) ?? "",
                key: rows.text(row, 1) ?? "",
                receivedAt: Timestamp(microseconds: rows.timestamp(row, 2) ?? 0),
                repeats: rows.int4(row, 3) ?? 0,
                replays: rows.int4(row, 4) ?? 0,
                job: rows.int8(row, 5).map(JobID.init),
                jobState: rows.text(row, 6),
                jobReason: rows.text(row, 7),
                outcome: rows.text(row, 8),
                reason: rows.text(row, 9),
                ranAt: rows.timestamp(row, 10).map(Timestamp.init(microseconds:)),
                length: rows.int8(row, 11) ?? 0,
                isEmptied: rows.bool(row, 12) ?? false,
                plan: rows.text(row, 13).flatMap { EventPlanRecord(json: $0) }
            )
        }
    }

    /// Has events of a source run anew, oldest first, each by a job of its own; workers take them within seconds. What they did
    /// already is not done twice.
    ///
    /// - Parameters:
    ///   - events: what names them.
    ///   - isDryRun: says which are meant, and changes nothing.
    ///   - tell: gets each with its verdict; nil in a dry run.
    package func replayEvents(
        _ choice: EventChoice,
        of id: SourceID,
        events runner: any EventRunner,
        isDryRun: Bool,
        tell: (_ key: String, EventReplayVerdict?) -> Void
    ) async throws {
        let kind = try await lane(.source(id)).carrier
        guard runner.reads(kind) else { throw LaneError.kindUnknownHere(.source(id), kind: kind) }
        let keys = try await keys(choice, of: id)
        for start in stride(from: 0, to: keys.count, by: Self.chunk) {
            let chunk = Array(keys[start..<min(start + Self.chunk, keys.count)])
            if isDryRun {
                for key in chunk { tell(key, nil) }
                continue
            }
            var persons: [Int64] = []
            for key in chunk {
                // One that is not there is told so by its verdict.
                let event = try await eventBytes(key, of: id)
                let name = event.map { runner.name($0, from: id, kind: kind) }
                persons.append(TakeBatch.person(name?.orderingName ?? id.laneName))
            }
            let rows = try await query(
                "select item, verdict from trunkline.replay_events($1, $2, $3) order by item",
                [.text(id.value), .textArray(chunk), .int8Array(persons)]
            )
            for row in 0..<rows.count {
                guard let item = rows.int4(row, 0), chunk.indices.contains(Int(item) - 1) else { continue }
                tell(chunk[Int(item) - 1], EventReplayVerdict(word: rows.text(row, 1) ?? "null"))
            }
        }
    }

    private func keys(_ choice: EventChoice, of id: SourceID) async throws -> [String] {
        switch choice {
        case .named(let keys): return keys
        case .since(let since):
            let rows = try await query(
                """
                select event_key from trunkline.inbox
                where source = $1 and ($2::timestamptz is null or received_at >= $2) and emptied_at is null
                order by stored_at, event_key
                """,
                [.text(id.value), since.map { .timestamp(microseconds: $0.microseconds) } ?? .null]
            )
            return (0..<rows.count).compactMap { rows.text($0, 0) }
        }
    }
}
