internal import PostgresDriver
package import TrunklineCore
internal import TrunklinePhones

/// Gives refused messages again, as if they came now: a line was missing and is there, a message of a newer version came
/// before its program. Their keys make sure that nothing is done twice.
package enum RefusalReplay {
    /// Which refusals are meant. Those that were accepted before are passed over.
    package enum Choice: Sendable, Hashable {
        case named([Int64])
        /// All that fit; nil fits all.
        case filter(kind: String?, lane: LaneName?, via: String?)
    }

    package enum Verdict: Sendable, Hashable {
        /// It is that job now, or it was already; nil for an event that is stored already.
        case accepted(JobID?)
        /// It was accepted before, by an earlier call.
        case done(JobID?)
        /// Why it cannot be accepted.
        case refused(String)
        case unknown
    }

    package struct Item: Sendable, Hashable {
        package let id: Int64
        package let verdict: Verdict
    }

    fileprivate static func run(
        _ choice: Choice,
        _ database: PatientDatabase,
        _ acceptor: Acceptor,
        _ runner: any EventRunner,
        by: String,
        why: String?,
        isDryRun: Bool,
        tell: (Item) -> Void
    ) async throws -> Bool {
        var all = true
        for id in try await ids(choice, database) {
            let verdict = try await replay(id, database, acceptor, runner, isDryRun)
            if case .accepted(let job) = verdict, !isDryRun { try await mark(id, job, by, why, database) }
            switch verdict {
            case .accepted, .done: break
            case .refused, .unknown: all = false
            }
            tell(Item(id: id, verdict: verdict))
        }
        return all
    }

    private static func ids(_ choice: Choice, _ database: PatientDatabase) async throws -> [Int64] {
        switch choice {
        case .named(let ids): return ids
        case .filter(let kind, let lane, let via):
            func text(_ value: String?) -> PostgresParameter { value.map { .text($0) } ?? .null }
            let rows = try await database.perform {
                try await $0.query(
                    """
                    select id from trunkline.refusals
                    where replayed_at is null and ($1::text is null or kind = $1) and ($2::text is null or lane = $2)
                      and ($3::text is null or via = $3)
                    order by id
                    """,
                    [text(kind), text(lane?.value), text(via)]
                )
            }
            return (0..<rows.count).compactMap { rows.int8($0, 0) }
        }
    }

    private static func replay(
        _ id: Int64,
        _ database: PatientDatabase,
        _ acceptor: Acceptor,
        _ runner: any EventRunner,
        _ isDryRun: Bool
    ) async throws -> Verdict {
        let rows = try await database.perform {
            try await $0.query(
                "select raw, raw_length, replayed_at is not null, replayed_job from trunkline.refusals where id = $1",
                [.int8(id)]
            )
        }
        guard rows.count == 1, let raw = rows.bytes(0, 0) else { return .unknown }
        if rows.bool(0, 2) == true { return .done(rows.int8(0, 3).map(JobID.init)) }
        guard Int64(raw.count) == rows.int8(0, 1) else {
            return .refused("only its first \(raw.count) bytes were kept")
        }
        do {
            switch try QueueMessage.decode(raw) {
            case .wake: return .refused("it is a wake-up, which nobody needs any more")
            case .webhook(let event):
                return try await take(event, database, runner, isDryRun)
            case .send(let job):
                try PhoneNumbers.check(.send(job))
                return try await take(.send(job), acceptor, isDryRun)
            case .deliver(let job): return try await take(.deliver(job), acceptor, isDryRun)
            }
        } catch let refusal as Refusal {
            return .refused(refusal.description)
        }
    }

    private static func take(_ work: CarriedWork, _ acceptor: Acceptor, _ isDryRun: Bool) async throws -> Verdict {
        try work.validate(now: .now)
        if isDryRun { return .accepted(nil) }
        guard let verdict = try await acceptor.accept([work]).first else { return .unknown }
        switch verdict {
        case .new(let job), .repeat(let job, _, _): return .accepted(job)
        case .refused(let refusal): return .refused(refusal.description)
        case .conflict, .unknownLane, .removedLane: return .refused(verdict.refusal(of: work)?.description ?? "")
        case .confirmed, .unroutable, .rejected, .notSent, .unknown:
            preconditionFailure("row first has no such verdict")
        }
    }

    private static func take(
        _ event: WebhookJob,
        _ database: PatientDatabase,
        _ runner: any EventRunner,
        _ isDryRun: Bool
    ) async throws -> Verdict {
        let lane = LaneName.source(event.source)
        let kinds = try await database.perform {
            try await $0.query("select carrier from trunkline.carriers($1)", [.textArray([lane.value])])
        }
        guard kinds.count == 1, let kind = kinds.text(0, 0) else { return .refused("there is no \(lane)") }
        guard runner.reads(kind) else { return .refused(LaneError.kindUnknownHere(lane, kind: kind).description) }
        if isDryRun { return .accepted(nil) }
        let named = NamedEvent(event, runner.name(ReceivedEvent(event), from: event.source, kind: kind))
        let rows = try await database.perform {
            try await $0.query(Statements.acceptEvents.sql, Statements.parameters(of: [named]))
        }
        let answer = EventAnswer.all(rows).first
        switch answer?.verdict {
        case .new, .repeat: return .accepted(answer?.job.map(JobID.init))
        case .conflict: return .refused("this event of \(lane) came before with other bytes")
        case .unknownLane: return .refused("there is no \(lane)")
        case .removedLane: return .refused("the \(lane) was removed")
        case .unheard, nil:
            // Never silently: nobody knows what became of it.
            throw PostgresError(
                code: .protocolViolation,
                message: "trunkline.accept_events gave no verdict that is known here"
            )
        }
    }

    private static func mark(
        _ id: Int64,
        _ job: JobID?,
        _ by: String,
        _ why: String?,
        _ database: PatientDatabase
    ) async throws {
        _ = try await database.perform {
            try await $0.query(
                """
                with marked as (
                    update trunkline.refusals set replayed_at = now(), replayed_job = $2
                    where id = $1 and replayed_at is null returning id
                )
                insert into trunkline.actions (run, job, refusal, action, done_by, why)
                select gen_random_uuid(), $2, id, 'accept_refused', $3, $4 from marked
                """,
                [
                    .int8(id), job.map { .int8($0.value) } ?? .null, .text(by), why.map { .text($0) } ?? .null,
                ]
            )
        }
    }
}

extension Operator {
    /// Gives refused messages again.
    ///
    /// - Parameters:
    ///   - isDryRun: says what can be read, and accepts nothing.
    ///   - by: who decides. Kept, like `why`.
    ///   - carriers: what renders the requests.
    ///   - events: what names received events.
    ///   - tell: gets each as it is done.
    /// - Returns: whether all were accepted.
    package func replayRefusals(
        _ choice: RefusalReplay.Choice,
        by: String,
        why: String?,
        isDryRun: Bool,
        carriers: CarrierRegistry,
        events: any EventRunner,
        tell: (RefusalReplay.Item) -> Void
    ) async throws -> Bool {
        var configuration = Acceptor.Configuration(
            databaseURL: databaseURL,
            applicationName: name,
            carriers: carriers
        )
        // It is recorded already.
        configuration.recordsRefusals = false
        let acceptor = Acceptor(configuration: configuration)
        do {
            let all = try await patiently { database in
                try await RefusalReplay.run(
                    choice,
                    database,
                    acceptor,
                    events,
                    by: by,
                    why: why,
                    isDryRun: isDryRun,
                    tell: tell
                )
            }
            await acceptor.close()
            return all
        } catch {
            await acceptor.close()
            throw error
        }
    }
}
