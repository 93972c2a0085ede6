internal import Crypto
package import PostgresDriver
package import TrunklineCore

/// Accepting: take, received events, refusals, and messages that may be deadly to read.
extension PostgresLedger {
    package func take(_ request: TakeRequest, _ done: @escaping LedgerReply<[TakeAnswer]>) {
        run(TakeBatch.statement, request.batch.parameters(request), done, TakeAnswer.all)
    }

    package func takeEvents(_ events: [WebhookJob], _ done: @escaping LedgerReply<[EventAnswer]>) {
        run(Statements.takeEvents, Statements.parameters(of: events), done, EventAnswer.all)
    }

    package func refuse(_ refusals: [RefusalRow], _ done: @escaping LedgerReply<Void>) {
        run(Statements.refuse, RefusalRow.parameters(refusals), done)
    }

    package func suspect(_ message: SuspectMessage, by boot: BootID, _ done: @escaping LedgerReply<Int32>) {
        run(
            Statements.suspect,
            [
                .uuid(boot.bytes), .bytes(message.digest), .text(message.via), .bytes(message.raw),
                .int8(message.rawLength),
            ],
            done
        ) { $0.int4(0, 0) ?? 1 }
    }

    package func unsuspect(digest: [UInt8], _ done: @escaping LedgerReply<Void>) {
        run(Statements.unsuspect, [.bytes(digest)], done)
    }
}

extension Statements {
    static let takeEvents = PostgresStatement(
        name: "take_events",
        sql: "select item, verdict from trunkline.take_events($1, $2, $3, $4, $5, $6)",
        parameterTypes: [.textArray, .textArray, .textArray, .byteaArray, .byteaArray, .timestamptzArray]
    )
    static let refuse = PostgresStatement(
        name: "refuse",
        sql: "select trunkline.refuse($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        parameterTypes: [
            .textArray, .textArray, .textArray, .textArray, .textArray, .textArray, .byteaArray, .byteaArray,
            .int8Array,
        ]
    )
    static let suspect = PostgresStatement(
        name: "suspect",
        sql: "select trunkline.suspect($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .bytea, .text, .bytea, .int8]
    )
    static let unsuspect = PostgresStatement(
        name: "unsuspect",
        sql: "delete from trunkline.suspects where digest = $1",
        parameterTypes: [.bytea]
    )

    /// The parameters of ``takeEvents``.
    static func parameters(of events: [WebhookJob]) -> [PostgresParameter] {
        [
            .textArray(events.map(\.source.value)), .textArray(events.map(\.eventKey)),
            .textArray(events.map(\.headersText)), .byteaArray(events.map(\.body)),
            .byteaArray(events.map { Array(SHA256.hash(data: $0.body)) }),
            .timestampArray(events.map(\.receivedAt.microseconds)),
        ]
    }
}

extension EventAnswer {
    /// The columns of ``Statements/takeEvents``.
    static func all(_ rows: PostgresRows) -> [EventAnswer] {
        rows.each { row in
            rows.int4(row, 0).map {
                EventAnswer(item: Int($0) - 1, verdict: EventVerdict(word: rows.text(row, 1) ?? "null"))
            }
        }
    }
}

extension TakeAnswer {
    /// What `trunkline.take` and `trunkline.accept` yield: the columns of ``TakeBatch/statement``.
    package static func all(_ rows: PostgresRows) -> [TakeAnswer] {
        rows.each { row in
            guard let item = rows.int4(row, 0), let word = rows.text(row, 1) else { return nil }
            return TakeAnswer(item: Int(item) - 1, verdict: verdict(word, rows, row))
        }
    }

    /// What `trunkline.accept` says is stored under the keys of conflicts: content digests, by item from 0.
    static func storedDigests(_ rows: PostgresRows) -> [Int: [UInt8]] {
        var digests: [Int: [UInt8]] = [:]
        for row in 0..<rows.count where !rows.isNull(row, 10) {
            if let item = rows.int4(row, 0) { digests[Int(item) - 1] = rows.bytes(row, 10) }
        }
        return digests
    }

    /// A word whose columns are missing is one that this program does not know.
    private static func verdict(_ word: String, _ rows: PostgresRows, _ row: Int) -> TakeVerdict {
        switch word {
        case "new":
            guard let job = rows.int8(row, 2), let lane = rows.int4(row, 3), let state = rows.text(row, 4),
                let place = rows.int8(row, 5), let dueIn = rows.milliseconds(row, 6), let attempt = rows.int4(row, 7)
            else { return .unheard(word) }
            return .new(
                TakenJob(
                    job: job,
                    lane: lane,
                    state: JobState(word: state),
                    place: place,
                    dueIn: dueIn,
                    attempt: attempt
                )
            )
        case "repeat":
            guard let job = rows.int8(row, 2) else { return .unheard(word) }
            return .repeat(job: job, lane: lane(rows, row), finalState: rows.text(row, 8))
        case "conflict":
            guard let job = rows.int8(row, 2) else { return .unheard(word) }
            return .conflict(job: job, lane: lane(rows, row))
        case "unknown_lane": return .unknownLane
        case "removed_lane": return .removedLane
        case "lost": return .lost
        default: return .unheard(word)
        }
    }
    private static func lane(_ rows: PostgresRows, _ row: Int) -> LaneName? {
        rows.text(row, 9).flatMap { LaneName(stored: $0) }
    }
}
