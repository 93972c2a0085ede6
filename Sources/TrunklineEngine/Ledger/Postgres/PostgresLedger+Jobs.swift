package import PostgresDriver
internal import TrunklineCore

/// Places, attempts, and what comes too late: adopt, place, claim, abandon, expire.
extension PostgresLedger {
    package func adopt(
        _ owner: LedgerOwner,
        age: Duration,
        after start: Int64,
        limit: Int32,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        run(
            Statements.adopt,
            owner.parameters + [.int4(age.int4Milliseconds), .int4(limit), .int8(start)],
            done,
            SeenJob.all
        )
    }

    package func place(_ jobs: [Int64], _ owner: LedgerOwner, _ done: @escaping LedgerReply<[SeenJob]>) {
        run(Statements.placeDue, owner.parameters + [.int8Array(jobs)], done, SeenJob.all)
    }

    package func claim(_ request: ClaimRequest, _ done: @escaping LedgerReply<[ClaimAnswer]>) {
        run(
            Statements.claim,
            request.owner.parameters + [
                .int4(request.lease.int4Milliseconds), .int8Array(request.jobs), .int4Array(request.pace.lanes),
                .int4Array(request.pace.next),
            ],
            done,
            ClaimAnswer.all
        )
    }

    package func abandon(
        _ attempts: [JobAttempt],
        _ owner: LedgerOwner,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        run(
            Statements.abandon,
            owner.parameters + [.int8Array(attempts.map(\.job)), .int4Array(attempts.map(\.attempt))],
            done,
            SeenJob.all
        )
    }

    package func expire(_ owner: LedgerOwner, limit: Int32, _ done: @escaping LedgerReply<[JobOfPerson]>) {
        run(Statements.expire, owner.parameters + [.int4(limit)], done) { rows in
            rows.each { row in
                guard let job = rows.int8(row, 0), let lane = rows.int4(row, 1), let person = rows.int8(row, 2) else {
                    return nil
                }
                return JobOfPerson(job: job, lane: lane, person: person)
            }
        }
    }
}

extension Statements {
    static let adopt = PostgresStatement(
        name: "adopt",
        sql: "select \(seen) from trunkline.adopt($1, $2, $3, $4, $5, $6, $7)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4, .int4, .int8]
    )
    static let placeDue = PostgresStatement(
        name: "place_due",
        sql: "select \(seen) from trunkline.place_due($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int8Array]
    )
    static let claim = PostgresStatement(
        name: "claim",
        sql: """
            select job, verdict, attempt, tries, key, request, send_before, wait_ms
            from trunkline.claim($1, $2, $3, $4, $5, $6, $7, $8)
            """,
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4, .int8Array, .int4Array, .int4Array]
    )
    static let abandon = PostgresStatement(
        name: "abandon",
        sql: "select \(seen) from trunkline.abandon($1, $2, $3, $4, $5, $6)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int8Array, .int4Array]
    )
    static let expire = PostgresStatement(
        name: "expire",
        sql: "select job, lane, person from trunkline.expire($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4]
    )
}

extension ClaimAnswer {
    /// The columns of ``Statements/claim``.
    static func all(_ rows: PostgresRows) -> [ClaimAnswer] {
        rows.each { row in
            guard let job = rows.int8(row, 0), let word = rows.text(row, 1) else { return nil }
            return ClaimAnswer(job: job, verdict: verdict(word, rows, row))
        }
    }

    /// A word whose columns are missing is one that this program does not know.
    private static func verdict(_ word: String, _ rows: PostgresRows, _ row: Int) -> ClaimVerdict {
        switch word {
        case "claimed", "claimed_quietly":
            guard let attempt = rows.int4(row, 2), let tries = rows.int4(row, 3),
                let key = rows.text(row, 4).flatMap({ try? IdempotencyKey($0) }), let request = rows.bytes(row, 5)
            else { return .unheard(word) }
            return .claimed(
                ClaimedJob(
                    attempt: attempt,
                    tries: tries,
                    key: key,
                    request: request,
                    sendBefore: rows.timestamp(row, 6),
                    isQuiet: word == "claimed_quietly"
                )
            )
        case "lost": return .lost
        case "gone": return .gone
        case "busy": return .busy
        case "held": return .held
        case "overtaken": return .overtaken
        case "early": return .early
        case "expired": return .expired
        case "superseded": return .superseded
        case "horizon": return .horizon
        case "capped": return .capped(wait: .milliseconds(rows.int4(row, 7) ?? 0))
        default: return .unheard(word)
        }
    }
}

extension SeenJob {
    /// Every row of a result: the columns of ``Statements/seen``.
    package static func all(_ rows: PostgresRows) -> [SeenJob] {
        rows.each { row in
            guard let id = rows.int8(row, 0), let lane = rows.int4(row, 1), let person = rows.int8(row, 2),
                let jobClass = rows.int4(row, 3), let state = rows.text(row, 4), let place = rows.int8(row, 5),
                let attempt = rows.int4(row, 7), let tries = rows.int4(row, 8), let isStamped = rows.bool(row, 9)
            else { return nil }
            return SeenJob(
                id: id,
                lane: lane,
                person: person,
                jobClass: jobClass == 1 ? .bulk : .single,
                state: JobState(word: state),
                place: place,
                dueIn: rows.milliseconds(row, 6) ?? .zero,
                attempt: attempt,
                tries: tries,
                isStamped: isStamped,
                claimedBy: rows.boot(row, 10),
                leaseLeft: rows.milliseconds(row, 11),
                isSuspect: rows.bool(row, 12) ?? false,
                claimedAgo: rows.milliseconds(row, 13)
            )
        }
    }
}
