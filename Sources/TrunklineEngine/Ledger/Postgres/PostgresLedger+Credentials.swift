internal import PostgresDriver
internal import TrunklineCore

/// Credentials of lanes.
extension PostgresLedger {
    package func credentials(_ lane: Int32, _ done: @escaping LedgerReply<StoredCredentials?>) {
        run(Statements.credentials, [.int4(lane)], done) { rows in
            guard rows.count == 1, let generation = rows.int8(0, 0), let sealed = rows.bytes(0, 1),
                let keyVersion = rows.int4(0, 2), let lasts = rows.milliseconds(0, 3)
            else { return nil }
            return StoredCredentials(
                generation: generation,
                sealed: SealedCredentials(bytes: sealed, keyVersion: keyVersion),
                lastsFor: lasts
            )
        }
    }

    package func beginRefresh(_ request: RefreshRequest, _ done: @escaping LedgerReply<RefreshVerdict>) {
        run(
            Statements.beginRefresh,
            request.owner.parameters + [
                .int4(request.lane), .int8(request.generation), .int4(request.lease.int4Milliseconds),
            ],
            done
        ) { RefreshVerdict(word: $0.text(0, 0) ?? "") }
    }

    package func endRefresh(_ end: RefreshEnd, by boot: BootID, _ done: @escaping LedgerReply<Bool>) {
        run(
            Statements.endRefresh,
            [
                .uuid(boot.bytes), .int4(end.lane), .int8(end.generation),
                end.renewed.map { .bytes($0.bytes) } ?? .null, end.renewed.map { .int4($0.keyVersion) } ?? .null,
                .int8(end.lastsFor.wholeMilliseconds),
            ],
            done
        ) { $0.bool(0, 0) ?? false }
    }
}

extension Statements {
    static let credentials = PostgresStatement(
        name: "credentials",
        sql: """
            select generation, sealed, key_version, trunc(extract(epoch from expires_at - now()) * 1000)::int8
            from trunkline.lane_credentials where lane = $1 and sealed is not null
            """,
        parameterTypes: [.int4]
    )
    static let beginRefresh = PostgresStatement(
        name: "begin_refresh",
        sql: "select trunkline.begin_refresh($1, $2, $3, $4, $5, $6, $7)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4, .int8, .int4]
    )
    static let endRefresh = PostgresStatement(
        name: "end_refresh",
        sql: "select trunkline.end_refresh($1, $2, $3, $4, $5, $6)",
        parameterTypes: [.uuid, .int4, .int8, .bytea, .int4, .int8]
    )
}
