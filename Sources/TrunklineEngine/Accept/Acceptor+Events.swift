internal import PostgresDriver
internal import TrunklineCore

/// Received events, whose sender's proof was seen by whoever gives them.
extension Acceptor {
    /// Stores events, in order, and gives one verdict per event in the same order. Safe to repeat, and throws like
    /// ``accept(_:)-([CarriedWork])``.
    func accept(_ events: [NamedEvent]) async throws -> [EventAcceptance] {
        begin()
        var verdicts: [EventAcceptance] = []
        var start = 0
        while start < events.count {
            let end = min(start + TakeBatch.usualLimit, events.count)
            let taken = try await take(events[start..<end])
            verdicts += taken
            if configuration.recordsRefusals { try await record(events[start..<end], taken) }
            start = end
        }
        return verdicts
    }

    private func take(_ events: ArraySlice<NamedEvent>) async throws -> [EventAcceptance] {
        let parameters = Statements.parameters(of: Array(events))
        do {
            let rows = try await persistently { session in
                try await session.query(Statements.acceptEvents.sql, parameters)
            }
            return try await verdicts(EventAnswer.all(rows), of: Array(events))
        } catch let error as PostgresError where Self.isDataFault(error) || isLockFault(error) {
            // As of jobs: one that the server cannot store, or not now, must not fail its neighbours.
            if isLockFault(error) {
                begin()
                if events.count == 1 { return [.notTaken("an open transaction holds its key")] }
            }
            if events.count == 1 {
                let reason = "the database cannot store this event (\(error.sqlState ?? "no code"))"
                return [.refused(Refusal(kind: .invalid, reason: reason))]
            }
            let middle = events.startIndex + events.count / 2
            let first = try await take(events[..<middle])
            return try await first + take(events[middle...])
        }
    }

    private func verdicts(_ answers: [EventAnswer], of events: [NamedEvent]) async throws -> [EventAcceptance] {
        var verdicts = [EventAcceptance?](repeating: nil, count: events.count)
        var newest: [LaneName: JobID] = [:]
        let conflicts = answers.filter { $0.verdict == .conflict && events.indices.contains($0.item) }.map(\.item)
        let stored = try await storedDigests(of: conflicts.map { events[$0] })
        for answer in answers where events.indices.contains(answer.item) {
            let event = events[answer.item]
            switch answer.verdict {
            case .new, .repeat:
                verdicts[answer.item] = .stored
                guard let job = answer.job.map(JobID.init) else { continue }
                let lane = LaneName.source(event.event.source)
                newest[lane] = max(job, newest[lane] ?? job)
            case .conflict:
                let name = EventName(event)
                verdicts[answer.item] = .conflict(
                    .init(stored: stored[name] ?? [], given: Array(Digest.sha256(event.event.body).prefix(16)))
                )
            case .unknownLane: verdicts[answer.item] = .unknownLane
            case .removedLane: verdicts[answer.item] = .removedLane
            case .unheard: break
            }
        }
        wake(newest)
        return try verdicts.map { verdict in
            // Never silently: an event without a verdict would be one that nobody knows of.
            guard let verdict else {
                throw PostgresError(
                    code: .protocolViolation,
                    message: "trunkline.accept_events gave no verdict for an event"
                )
            }
            return verdict
        }
    }

    private struct EventName: Hashable {
        let source: String
        let key: String

        init(source: String, key: String) {
            self.source = source
            self.key = key
        }

        init(_ event: NamedEvent) { self.init(source: event.event.source.value, key: event.key.value) }
    }

    /// The first 16 bytes of the digests of what is stored under the keys.
    private func storedDigests(of events: [NamedEvent]) async throws -> [EventName: [UInt8]] {
        if events.isEmpty { return [:] }
        let names = events.map(EventName.init)
        let rows = try await persistently { session in
            try await session.query(
                """
                select b.source, b.event_key, substring(b.digest for 16)
                from unnest($1, $2) as e (source, event_key)
                join trunkline.inbox b on b.source = e.source and b.event_key = e.event_key
                """,
                [.textArray(names.map(\.source)), .textArray(names.map(\.key))]
            )
        }
        var digests: [EventName: [UInt8]] = [:]
        for row in 0..<rows.count {
            digests[EventName(source: rows.text(row, 0) ?? "", key: rows.text(row, 1) ?? "")] = rows.bytes(row, 2)
        }
        return digests
    }

    /// As the message that a worker would have taken, so that a person can give it again.
    private func record(_ events: ArraySlice<NamedEvent>, _ verdicts: [EventAcceptance]) async throws {
        var refusals: [RefusalRow] = []
        for (event, verdict) in zip(events, verdicts) {
            let refusal: Refusal
            switch verdict {
            case .conflict(let contents):
                refusal = Refusal(
                    kind: .conflict,
                    reason: "this event came before with other bytes: stored \(contents.stored), now \(contents.given)"
                )
            case .refused(let reason): refusal = reason
            case .stored, .unknownLane, .removedLane, .confirmed, .notTaken: continue
            }
            let raw = event.event.encode()
            refusals.append(
                RefusalRow(
                    via: configuration.via,
                    refusal: refusal,
                    lane: .source(event.event.source),
                    key: nil,
                    raw: raw,
                    rawLength: Int64(raw.count),
                    identity: Array("\(event.event.source)\n\(event.key.value)\n".utf8)
                        + Digest.sha256(event.event.body)
                )
            )
        }
        try await record(refusals)
    }
}
