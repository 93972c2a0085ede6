internal import PostgresDriver
internal import TrunklineCore

/// Received events: accepting and running them.
extension PostgresLedger: EventLedger {
    package func acceptEvents(_ events: [NamedEvent], _ done: @escaping LedgerReply<[EventAnswer]>) {
        run(Statements.acceptEvents, Statements.parameters(of: events), done, EventAnswer.all)
    }

    package func loadEvents(_ attempts: [EventAttempt], _ done: @escaping LedgerReply<[LoadedEvent]>) {
        run(
            Statements.loadEvents,
            [
                .int8Array(attempts.map(\.job)), .textArray(attempts.map(\.source.value)),
                .textArray(attempts.map(\.key)),
            ],
            done,
            LoadedEvent.all
        )
    }

    package func runEvents(_ runs: [EventRun], by boot: BootID, _ done: @escaping LedgerReply<EventRunAnswer>) {
        run(Statements.runEvents, [.uuid(boot.bytes)] + Statements.parameters(of: runs), done) { EventRunAnswer($0) }
    }
}

extension Statements {
    static let ofEvents = [acceptEvents, loadEvents, knowledge, runEvents]

    static let acceptEvents = PostgresStatement(
        name: "accept_events",
        sql: "select item, verdict, job from trunkline.accept_events($1, $2, $3, $4, $5, $6, $7)",
        parameterTypes: [
            .textArray, .textArray, .textArray, .byteaArray, .byteaArray, .timestamptzArray, .int8Array,
        ]
    )
    static let loadEvents = PostgresStatement(
        name: "load_events",
        sql: """
            select u.job, b.source, n.workspace, n.carrier, s.settings::text, s.country, b.event_key, b.headers::text, b.body,
                b.received_at, b.emptied_at is not null
            from unnest($1, $2, $3) as u (job, source, event_key)
            join trunkline.inbox b on b.source = u.source and b.event_key = u.event_key
            join trunkline.sources s on s.id = u.source
            join trunkline.lanes n on n.number = s.lane
            """,
        parameterTypes: [.int8Array, .textArray, .textArray]
    )
    static let runEvents = PostgresStatement(
        name: "run_events",
        sql: """
            select job, verdict, attempt, lane
            from trunkline.run_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
            """,
        parameterTypes: [
            .uuid, .int8Array, .int4Array, .textArray, .textArray, .textArray, .textArray,
            .int4Array, .textArray, .textArray, .textArray, .timestamptzArray,
            .int4Array, .textArray, .textArray, .textArray, .timestamptzArray, .textArray,
        ]
    )

    /// The parameters of ``acceptEvents``.
    static func parameters(of events: [NamedEvent]) -> [PostgresParameter] {
        [
            .textArray(events.map(\.event.source.value)), .textArray(events.map(\.key.value)),
            .textArray(events.map(\.event.headersText)), .byteaArray(events.map(\.event.body)),
            .byteaArray(events.map { Digest.sha256($0.event.body) }),
            .timestampArray(events.map(\.event.receivedAt.microseconds)), .int8Array(events.map(\.person)),
        ]
    }

    /// The parameters of ``runEvents`` behind the boot.
    static func parameters(of runs: [EventRun]) -> [PostgresParameter] {
        func records(_ records: [(item: Int, id: String, facts: any RecordFacts)]) -> [PostgresParameter] {
            [
                .int4Array(records.map { Int32($0.item + 1) }),
                .textArray(records.map { runs[$0.item].workspace.value }),
                .textArray(records.map(\.id)),
                .textArray(records.map { String(decoding: $0.facts.document, as: UTF8.self) }),
                .timestampArray(records.map { $0.facts.factAt?.microseconds }),
            ]
        }
        let contacts = runs.indices.flatMap { item in
            runs[item].plan.contacts.map { (item, $0.phone.value, $0.facts as any RecordFacts) }
        }
        let orders = runs.indices.flatMap { item in
            runs[item].plan.orders.map { (item, $0.id.value, $0.facts as any RecordFacts) }
        }
        return [
            .int8Array(runs.map(\.attempt.job)), .int4Array(runs.map(\.attempt.attempt)),
            .textArray(runs.map(\.attempt.source.value)), .textArray(runs.map(\.attempt.key)),
            .textArray(runs.map(\.word.rawValue)), .textArray(runs.map(\.reason)),
        ] + records(contacts) + records(orders) + [.textArray(runs.map { document(of: $0) })]
    }
}

extension EventAnswer {
    /// The columns of ``Statements/acceptEvents``.
    static func all(_ rows: PostgresRows) -> [EventAnswer] {
        rows.each { row in
            rows.int4(row, 0).map {
                EventAnswer(
                    item: Int($0) - 1,
                    verdict: EventVerdict(word: rows.text(row, 1) ?? "null"),
                    job: rows.int8(row, 2)
                )
            }
        }
    }
}

extension EventRunAnswer {
    /// The columns of ``Statements/runEvents``: those of settle, and a new job with its lane.
    init(_ rows: PostgresRows) {
        for row in 0..<rows.count {
            guard let job = rows.int8(row, 0), let word = rows.text(row, 1), let attempt = rows.int4(row, 2) else {
                continue
            }
            if let lane = rows.int4(row, 3) {
                made.append(NewJob(job: job, lane: lane))
            } else {
                settled.append(SettleAnswer(job: job, attempt: attempt, verdict: SettleVerdict(word: word)))
            }
        }
    }
}

extension LoadedEvent {
    /// The columns of ``Statements/loadEvents``. A row that another program has spoiled is left out, and its job parked.
    static func all(_ rows: PostgresRows) -> [LoadedEvent] {
        rows.each { row in
            guard let job = rows.int8(row, 0), let source = rows.text(row, 1).flatMap({ try? SourceID($0) }),
                let workspace = rows.text(row, 2).flatMap({ try? WorkspaceID($0) }), let kind = rows.text(row, 3),
                let settings = try? SourceSettingsText.read(rows.text(row, 4)), let key = rows.text(row, 6),
                let headers = WebhookJob.headers(text: rows.text(row, 7) ?? ""), let body = rows.bytes(row, 8),
                let receivedAt = rows.timestamp(row, 9)
            else { return nil }
            return LoadedEvent(
                job: job,
                event: StoredEvent(
                    source: source,
                    workspace: workspace,
                    kind: kind,
                    settings: SourceSettings(settings),
                    country: rows.text(row, 5),
                    key: key,
                    event: ReceivedEvent(
                        headers: headers,
                        body: body,
                        receivedAt: Timestamp(microseconds: receivedAt)
                    )
                ),
                isEmptied: rows.bool(row, 10) ?? false
            )
        }
    }
}
