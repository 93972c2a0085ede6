public import PostgresDriver
public import TrunklineCore
public import TrunklineIntegrations

/// A line as the database has it. Holds no secret: of the token only what may be shown.
public struct Line: Sendable, Hashable {
    /// Where the token is.
    public enum TokenPlace: Sendable, Hashable {
        /// In the database, sealed under a master key of this version.
        case sealed(keyVersion: Int32)
        /// Outside, read by the worker: the text of a ``SecretReference``, as the row has it.
        case reference(String)
    }

    /// What a person said about a line.
    public struct Hold: Sendable, Hashable {
        public let reason: String
        public let since: Timestamp
        /// Nil: until somebody resumes it.
        public let until: Timestamp?
    }

    public let id: LineID
    public let workspace: WorkspaceID
    public let baseURL: String
    public let tokenPlace: TokenPlace
    /// `…abcd`, or empty when the token was not at hand.
    public let tokenHint: String
    public let pace: Pace
    public let dailyCap: DailyCap
    /// Whose midnight ends a day of the cap: a name of the database's `pg_timezone_names`.
    public let timeZone: String
    /// Sends that count against the cap today.
    public let capUsed: Int
    /// The operator's hold, also one whose time is over; see ``isHeld(at:)``.
    public let hold: Hold?
    /// The automatic gate as its owner last wrote it, and why.
    public let gate: String
    public let gateReason: String?
    public let gateSince: Timestamp
    /// When a held line is asked next.
    public let nextProbeAt: Timestamp?
    public let createdAt: Timestamp
    public let removedAt: Timestamp?
    /// The number of the line's lane, which its jobs name.
    public let lane: Int32
    /// Unfinished jobs by state.
    public let unfinished: [String: Int64]
    /// The database's clock when this was read.
    public let readAt: Timestamp

    /// Whether the operator's hold counts at `now`.
    public func isHeld(at now: Timestamp) -> Bool {
        guard let hold else { return false }
        return hold.until.map { $0 > now } ?? true
    }
}

/// How many sends a line may have in a day.
public enum DailyCap: Sendable, Hashable, CustomStringConvertible {
    case unlimited
    case sends(Int)

    /// Reads a number from 1 to 1,000,000, or `none`.
    public init(parsing text: String) throws(Refusal) {
        if text == "none" {
            self = .unlimited
        } else if let number = Int(text), (1...1_000_000).contains(number) {
            self = .sends(number)
        } else {
            throw Refusal(
                kind: .invalid,
                field: "daily-cap",
                reason: "a daily cap is a number of sends from 1 to 1000000, or none"
            )
        }
    }

    public var description: String {
        switch self {
        case .unlimited: "none"
        case .sends(let number): String(number)
        }
    }

    /// Nil when there is none.
    public var number: Int? {
        if case .sends(let number) = self { number } else { nil }
    }

    init(stored number: Int32?) { self = number.map { .sends(Int($0)) } ?? .unlimited }

    var parameter: PostgresParameter {
        switch self {
        case .unlimited: .null
        case .sends(let number): .int4(Int32(clamping: number))
        }
    }
}

/// What changes of a line; nil: nothing.
public struct LineChanges: Sendable {
    public var baseURL: EZWhatsApp.BaseURL?
    public var token: LineToken?
    public var pace: PaceChange
    public var dailyCap: DailyCap?
    public var timeZone: String?

    public init(
        baseURL: EZWhatsApp.BaseURL? = nil,
        token: LineToken? = nil,
        pace: PaceChange = PaceChange(),
        dailyCap: DailyCap? = nil,
        timeZone: String? = nil
    ) {
        self.baseURL = baseURL
        self.token = token
        self.pace = pace
        self.dailyCap = dailyCap
        self.timeZone = timeZone
    }

    public var isEmpty: Bool {
        baseURL == nil && token == nil && pace == PaceChange() && dailyCap == nil && timeZone == nil
    }
}

/// What an operator said about a line's pace; nil: nothing.
public struct PaceChange: Sendable, Hashable {
    public var interval: Duration?
    public var concurrency: Int?
    public var recipientGap: Duration?

    public init(interval: Duration? = nil, concurrency: Int? = nil, recipientGap: Duration? = nil) {
        self.interval = interval
        self.concurrency = concurrency
        self.recipientGap = recipientGap
    }

    /// `pace` with the change. A line that becomes unlimited has sixteen sends in the air and no gap between two messages
    /// to one person, and one that becomes paced has the usual values again, unless the operator said otherwise.
    ///
    /// Throws a refusal for a concurrency outside 1…256.
    public func applied(to pace: Pace) throws(Refusal) -> Pace {
        var pace = pace
        if let interval {
            let wasUnlimited = pace.isUnlimited
            pace.interval = interval
            if pace.isUnlimited, !wasUnlimited {
                pace.concurrency = 16
                pace.recipientGap = .zero
            } else if wasUnlimited, !pace.isUnlimited {
                pace.concurrency = Pace.standard.concurrency
                pace.recipientGap = Pace.standard.recipientGap
            }
        }
        if let concurrency {
            guard (1...256).contains(concurrency) else {
                throw Refusal(
                    kind: .invalid,
                    field: "concurrency",
                    reason: "a line has 1 to 256 sends in the air at once"
                )
            }
            pace.concurrency = concurrency
        }
        if let recipientGap { pace.recipientGap = recipientGap }
        return pace
    }
}

/// Why a line cannot be made or changed.
public enum LineError: ExplainedError, Hashable {
    case unknown(LineID)
    case exists(LineID)
    case ofAnotherWorkspace(LineID)
    case removed(LineID)
    case unfinishedJobs(LineID, count: Int64)
    case holdWithoutReason
    case holdIsOver
    case holdTooLong
    case unknownTimeZone
    case tokenOfAnotherAddress(LineID)
    case addressNotProven(LineID, origin: String)

    public var isRefusal: Bool { true }

    public var description: String {
        switch self {
        case .unknown(let id): "there is no line \(id)"
        case .exists(let id): "the line \(id) exists already; change it with 'trunkline line set \(id)'"
        case .ofAnotherWorkspace(let id):
            "the id \(id) belongs to another workspace for ever, because its keys do; take another id"
        case .removed(let id): "the line \(id) was removed; 'trunkline line add \(id)' brings it back"
        case .unfinishedJobs(let id, let count):
            "the line \(id) has \(count) unfinished \(count == 1 ? "job" : "jobs"); a line is removed when its jobs have ended"
        case .holdWithoutReason:
            "a hold needs a reason of 1 to 200 characters without control characters: somebody will read it at night"
        case .holdIsOver: "the end of the hold has passed already"
        case .unknownTimeZone: "there is no such time zone; they are written like Europe/Madrid, Asia/Jerusalem or UTC"
        case .tokenOfAnotherAddress(let id):
            "the token of line \(id) is for its present address only and does not follow it elsewhere: give the token again, "
                + "with --token-file or another of --token-…"
        case .addressNotProven(let id, let origin):
            "the row of line \(id) says \(origin), which the stored token does not confirm (another master key, or the row was "
                + "changed by something else than 'trunkline line'): say the line's address too, with --base-url"
        case .holdTooLong: "a hold ends within a year; without --until it lasts until it is resumed"
        }
    }
}

extension PostgresSession {
    // MARK: Making

    /// Makes a line with its lane and its lane's state; a line that was removed from the same workspace comes back.
    ///
    /// The token is sealed here, for this line and the address's origin. Throws ``LineError`` when the id is taken.
    public func addLine(
        _ id: LineID,
        workspace: WorkspaceID,
        baseURL: EZWhatsApp.BaseURL,
        token: LineToken,
        pace: Pace,
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC"
    ) async throws -> Line {
        let stored = try StoredToken(token, line: id, base: baseURL)
        try await transaction { session in
            try await session.requireTimeZone(timeZone)
            let lane = try await session.query(
                """
                insert into trunkline.lanes (name, shard_hash) values ($1, $2)
                on conflict on constraint lanes_name_key do update set name = excluded.name
                returning number
                """,
                [.text(id.laneName), .int8(Int64(CRC32.checksum(id.laneName.utf8)))]
            )
            let scope = try await session.query(
                """
                insert into trunkline.scopes (name) values ($1)
                on conflict on constraint scopes_name_key do update set name = excluded.name
                returning number
                """,
                [.text("workspace:" + workspace.value)]
            )
            guard let lane = lane.int4(0, 0), let scope = scope.int4(0, 0) else {
                preconditionFailure("RETURNING of one inserted row has one row")
            }
            let made = try await session.query(
                """
                insert into trunkline.lines (id, lane, scope, workspace, base_url, token_sealed, token_reference,
                    token_key_version, token_hint, pace_interval_ms, concurrency, recipient_gap_ms, daily_cap, time_zone)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                on conflict (id) do update set
                    base_url = excluded.base_url, token_sealed = excluded.token_sealed,
                    token_reference = excluded.token_reference, token_key_version = excluded.token_key_version,
                    token_hint = excluded.token_hint, pace_interval_ms = excluded.pace_interval_ms,
                    concurrency = excluded.concurrency, recipient_gap_ms = excluded.recipient_gap_ms,
                    daily_cap = excluded.daily_cap, time_zone = excluded.time_zone,
                    hold_reason = null, hold_until = null, held_at = null, removed_at = null
                where lines.removed_at is not null and lines.scope = excluded.scope
                """,
                [.text(id.value), .int4(lane), .int4(scope), .text(workspace.value), .text(baseURL.value)]
                    + stored.parameters + pace.parameters + [dailyCap.parameter, .text(timeZone)]
            )
            guard made.affectedRows == 1 else {
                let existing = try await session.query(
                    "select scope from trunkline.lines where id = $1",
                    [.text(id.value)]
                )
                let isOurs = existing.count == 1 && existing.int4(0, 0) == scope
                throw isOurs ? LineError.exists(id) : LineError.ofAnotherWorkspace(id)
            }
            try await session.query(
                "insert into trunkline.lane_state (lane) values ($1) on conflict (lane) do nothing",
                [.int4(lane)]
            )
        }
        return try await line(id)
    }

    // MARK: Reading

    /// A line, also a removed one. Throws ``LineError/unknown(_:)``.
    public func line(_ id: LineID) async throws -> Line {
        guard let line = try await lines(where: "l.id = $1", [.text(id.value)]).first else {
            throw LineError.unknown(id)
        }
        return line
    }

    /// All lines in order of their ids, of one workspace or of all.
    public func allLines(workspace: WorkspaceID? = nil, withRemoved: Bool = false) async throws -> [Line] {
        try await lines(
            where: "($1::text is null or l.workspace = $1) and ($2 or l.removed_at is null)",
            [workspace.map { .text($0.value) } ?? .null, .bool(withRemoved)]
        )
    }

    private func lines(where condition: String, _ parameters: [PostgresParameter]) async throws -> [Line] {
        let rows = try await query(
            """
            select l.id, l.workspace, l.base_url, l.token_reference, l.token_key_version, l.token_hint, l.pace_interval_ms,
                l.concurrency, l.recipient_gap_ms, l.hold_reason, l.held_at, l.hold_until, coalesce(s.gate, 'unknown'),
                s.gate_reason, coalesce(s.gate_since, l.created_at), l.created_at, l.removed_at, l.lane, u.states, u.counts, now(),
                l.daily_cap, l.time_zone,
                case when s.sent_on = (now() at time zone l.time_zone)::date then s.sent_today else 0 end,
                case when s.gate in ('held_transient', 'held_human', 'probing') then s.next_probe_at end
            from trunkline.lines l
            left join trunkline.lane_state s on s.lane = l.lane
            left join lateral (
                select array_agg(c.state order by c.state) as states, array_agg(c.jobs order by c.state) as counts
                from (
                    select j.state, count(*) as jobs from trunkline.jobs j
                    where j.lane = l.lane and j.parked_at is null group by j.state
                    union all
                    select 'parked', count(*) from trunkline.jobs j
                    where j.lane = l.lane and j.parked_at is not null having count(*) > 0
                ) c
            ) u on true
            where \(condition)
            order by l.id
            """,
            parameters
        )
        return try (0..<rows.count).map { try Line(rows, $0) }
    }

    /// A line's token in the clear: for the call that needs it, never for showing.
    ///
    /// - Parameter ownFiles: paths of the program's own secrets, which no reference may name.
    /// - Returns: the only address that it may be sent to, and the token.
    public func access(
        to id: LineID,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> (base: EZWhatsApp.BaseURL, token: EZWhatsApp.Token) {
        let (address, stored) = try await storedToken(of: id)
        let base = try EZWhatsApp.BaseURL(address)
        return (base, try stored.open(line: id, base: base, masterKey: masterKey, ownFiles: ownFiles))
    }

    private func storedToken(of id: LineID) async throws -> (address: String, StoredToken) {
        let rows = try await query(
            "select base_url, token_sealed, token_reference, token_key_version from trunkline.lines where id = $1",
            [.text(id.value)]
        )
        guard rows.count == 1 else { throw LineError.unknown(id) }
        return (
            rows.text(0, 0) ?? "",
            StoredToken(
                sealed: rows.bytes(0, 1) ?? [],
                reference: rows.text(0, 2),
                keyVersion: rows.int4(0, 3) ?? 0
            )
        )
    }

    // MARK: Changing

    /// Changes a line; workers follow within a second. A new origin needs the token again, and a new token an address that
    /// was not changed behind Trunkline's back: see ``LineError/tokenOfAnotherAddress(_:)`` and
    /// ``LineError/addressNotProven(_:origin:)``.
    public func changeLine(_ id: LineID, _ changes: LineChanges) async throws -> Line {
        try await transaction { session in
            try await session.lockLine(id)
            let before = try await session.line(id)
            let token = try await session.newToken(of: id, changes)
            let pace = try changes.pace.applied(to: before.pace)
            if let timeZone = changes.timeZone { try await session.requireTimeZone(timeZone) }
            try await session.query(
                """
                update trunkline.lines
                set pace_interval_ms = $2, concurrency = $3, recipient_gap_ms = $4, base_url = coalesce($5, base_url),
                    daily_cap = $6, time_zone = coalesce($7, time_zone)
                where id = $1
                """,
                [.text(id.value)] + pace.parameters
                    + [
                        changes.baseURL.map { .text($0.value) } ?? .null,
                        (changes.dailyCap ?? before.dailyCap).parameter,
                        changes.timeZone.map { .text($0) } ?? .null,
                    ]
            )
            if let token {
                try await session.query(
                    """
                    update trunkline.lines
                    set token_sealed = $2, token_reference = $3, token_key_version = $4, token_hint = $5 where id = $1
                    """,
                    [.text(id.value)] + token.parameters
                )
            }
        }
        return try await line(id)
    }

    /// Holds a line: from now on no send of it begins; its jobs wait. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    public func holdLine(_ id: LineID, reason: String, until: Timestamp?) async throws -> Line {
        let isReadable = !reason.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard (1...200).contains(reason.count), isReadable, !reason.allSatisfy(\.isWhitespace) else {
            throw LineError.holdWithoutReason
        }
        try await transaction { session in
            try await session.lockLine(id)
            if let until {
                // The database's clock decides when a hold ends, so it also says whether that is in the future.
                let look = try await session.query(
                    "select $1 > now(), $1 <= now() + interval '366 days'",
                    [.timestamp(microseconds: until.microseconds)]
                )
                guard look.bool(0, 0) == true else { throw LineError.holdIsOver }
                guard look.bool(0, 1) == true else { throw LineError.holdTooLong }
            }
            try await session.query(
                "update trunkline.lines set hold_reason = $2, hold_until = $3, held_at = now() where id = $1",
                [.text(id.value), .text(reason), until.map { .timestamp(microseconds: $0.microseconds) } ?? .null]
            )
        }
        return try await line(id)
    }

    /// Ends the operator's hold. The automatic gate stays what it is. Does nothing to a line that is not held.
    public func resumeLine(_ id: LineID) async throws -> Line {
        try await transaction { session in
            try await session.lockLine(id)
            try await session.query(
                """
                update trunkline.lines set hold_reason = null, hold_until = null, held_at = null
                where id = $1 and hold_reason is not null
                """,
                [.text(id.value)]
            )
        }
        return try await line(id)
    }

    /// Removes a line: it accepts no more jobs. Its id, its keys and its finished jobs stay, and so does the stored token,
    /// for a job that is taken in this very moment.
    ///
    /// Throws ``LineError/unfinishedJobs(_:count:)`` while it has any.
    public func removeLine(_ id: LineID) async throws -> Line {
        try await transaction { session in
            try await session.lockLine(id)
            let jobs = try await session.query(
                "select count(*) from trunkline.jobs where lane = (select lane from trunkline.lines where id = $1)",
                [.text(id.value)]
            )
            let count = jobs.int8(0, 0) ?? 0
            guard count == 0 else { throw LineError.unfinishedJobs(id, count: count) }
            try await session.query("update trunkline.lines set removed_at = now() where id = $1", [.text(id.value)])
        }
        return try await line(id)
    }

    /// The token to store, nil when it stays.
    private func newToken(of id: LineID, _ changes: LineChanges) async throws -> StoredToken? {
        guard changes.baseURL != nil || changes.token != nil else { return nil }
        let (address, stored) = try await storedToken(of: id)
        let before = try? EZWhatsApp.BaseURL(address)
        guard let token = changes.token else {
            guard changes.baseURL?.origin == before?.origin else { throw LineError.tokenOfAnotherAddress(id) }
            return nil
        }
        if let base = changes.baseURL { return try StoredToken(token, line: id, base: base) }
        guard let before, stored.isBound(to: id, before, token.masterKey) else {
            throw LineError.addressNotProven(id, origin: before?.origin ?? address)
        }
        return try StoredToken(token, line: id, base: before)
    }

    /// As the database knows them, since it is the one that looks for midnight. Abbreviations like EST have no summer.
    private func requireTimeZone(_ name: String) async throws {
        if name == "UTC" { return }
        let known = try await query(
            "select exists (select from pg_timezone_names where name = $1) and $1 !~ '^(posix|right)/'",
            [.text(name)]
        )
        guard known.bool(0, 0) == true else { throw LineError.unknownTimeZone }
    }

    /// Two operators at once must not undo each other's change. Throws for a line that is unknown or removed.
    private func lockLine(_ id: LineID) async throws {
        let rows = try await query(
            "select removed_at is not null from trunkline.lines where id = $1 for no key update",
            [.text(id.value)]
        )
        guard rows.count == 1 else { throw LineError.unknown(id) }
        guard rows.bool(0, 0) == false else { throw LineError.removed(id) }
    }
}

// MARK: - Rows

extension PostgresSession {
    /// Throws ``LineTokenError`` when there are stored tokens and the key opens none of the latest ones: a worker with a
    /// wrong key would take shards and hold their lines.
    public func requireMasterKey(_ key: MasterKey?) async throws {
        let rows = try await query(
            """
            select id, base_url, token_sealed, token_reference, token_key_version from trunkline.lines
            where removed_at is null order by revision desc limit 20
            """,
            []
        )
        guard rows.count > 0 else { return }
        guard let key else { throw LineTokenError.needsMasterKey }
        for row in 0..<rows.count {
            guard let line = try? LineID(rows.text(row, 0) ?? ""),
                let base = try? EZWhatsApp.BaseURL(rows.text(row, 1) ?? "")
            else { continue }
            let stored = StoredToken(
                sealed: rows.bytes(row, 2) ?? [],
                reference: rows.text(row, 3),
                keyVersion: rows.int4(row, 4) ?? 0
            )
            if stored.isBound(to: line, base, key) { return }
        }
        throw LineTokenError.opensNothing
    }
}

extension Pace {
    /// pace_interval_ms, concurrency, recipient_gap_ms.
    fileprivate var parameters: [PostgresParameter] {
        [
            .int4(Int32(interval / .milliseconds(1))), .int4(Int32(concurrency)),
            .int4(Int32(recipientGap / .milliseconds(1))),
        ]
    }
}

extension Line {
    fileprivate init(_ rows: PostgresRows, _ row: Int) throws {
        func text(_ column: Int) -> String { rows.text(row, column) ?? "" }
        func time(_ column: Int) -> Timestamp? { rows.timestamp(row, column).map(Timestamp.init(microseconds:)) }
        let epoch = Timestamp(microseconds: 0)
        id = try LineID(text(0))
        workspace = try WorkspaceID(text(1))
        baseURL = text(2)
        if let reference = rows.text(row, 3) {
            tokenPlace = .reference(reference)
        } else {
            tokenPlace = .sealed(keyVersion: rows.int4(row, 4) ?? 0)
        }
        tokenHint = text(5)
        pace = Pace(
            interval: .milliseconds(rows.int4(row, 6) ?? 0),
            concurrency: Int(rows.int4(row, 7) ?? 1),
            recipientGap: .milliseconds(rows.int4(row, 8) ?? 0)
        )
        hold = rows.text(row, 9).map { Hold(reason: $0, since: time(10) ?? epoch, until: time(11)) }
        gate = text(12)
        gateReason = rows.text(row, 13)
        gateSince = time(14) ?? epoch
        createdAt = time(15) ?? epoch
        removedAt = time(16)
        lane = rows.int4(row, 17) ?? 0
        let states = rows.textArray(row, 18) ?? []
        let counts = rows.int8Array(row, 19) ?? []
        var unfinished: [String: Int64] = [:]
        for (state, count) in zip(states, counts) { if let state, let count { unfinished[state] = count } }
        self.unfinished = unfinished
        readAt = time(20) ?? epoch
        dailyCap = DailyCap(stored: rows.int4(row, 21))
        timeZone = text(22)
        capUsed = Int(rows.int4(row, 23) ?? 0)
        nextProbeAt = time(24)
    }
}
