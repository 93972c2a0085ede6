internal import PostgresDriver
package import TrunklineCore

/// Sources: lanes of clients' systems that send events.
extension Operator {
    // MARK: Looking

    /// A source, also a removed one. Throws ``LaneError/unknown(_:)``.
    package func source(_ id: SourceID) async throws -> SourceRecord {
        let record = try await lane(.source(id))
        guard let source = try await sources(of: [record]).first else { throw LaneError.unknown(.source(id)) }
        return source
    }

    /// All sources in order of their ids, of one workspace or of all.
    package func allSources(workspace: WorkspaceID? = nil, withRemoved: Bool = false) async throws -> [SourceRecord] {
        try await sources(of: try await allLanes("source:", workspace: workspace, withRemoved: withRemoved))
    }

    private func sources(of records: [LaneRecord]) async throws -> [SourceRecord] {
        let rows = try await query(
            """
            select s.id, s.settings::text, s.country, s.line,
                (select count(*) from trunkline.source_tokens t where t.source = s.id)
            from trunkline.sources s where s.id = any ($1)
            """,
            [.textArray(records.map(\.name.id))]
        )
        var rowOfID: [String: Int] = [:]
        for row in 0..<rows.count { rowOfID[rows.text(row, 0) ?? ""] = row }
        return try records.compactMap { record in
            guard let id = record.name.source, let row = rowOfID[id.value] else { return nil }
            return SourceRecord(
                id: id,
                record: record,
                settings: try SourceSettingsText.read(rows.text(row, 1)),
                country: rows.text(row, 2),
                line: rows.text(row, 3).flatMap { try? LineID($0) },
                tokens: Int(rows.int8(row, 4) ?? 0)
            )
        }
    }

    // MARK: Changing

    /// Makes a source; one that was removed from the same workspace comes back, with another token.
    ///
    /// Throws ``LaneError`` when the id is taken, ``SourceError`` for a token that is, and the kind's refusal of settings.
    package func addSource(_ id: SourceID, _ new: NewSource, token: SourceToken) async throws -> SourceRecord {
        let lane = NewLane(
            workspace: new.workspace,
            carrier: try CarrierKind(new.source.kind.value),
            // Nobody calls it.
            address: CarrierAddress(value: "", origin: "", shown: "", mayBePrivate: false),
            secret: new.secret,
            pace: LanePolicy.events.pace,
            policy: .events
        )
        _ = try await addLane(.source(id), lane) {
            try await writeSource(id, new.workspace, new.settings, country: new.country, line: new.line)
            try await addToken(token, to: id, number: 1)
        }
        return try await source(id)
    }

    /// Changes a source; workers follow with the next event.
    ///
    /// - Parameter registry: the kinds that this program knows.
    package func changeSource(
        _ id: SourceID,
        _ changes: SourceChanges,
        registry: SourceRegistry
    ) async throws -> SourceRecord {
        let before = try await source(id)
        guard let kind = registry[before.kind] else {
            throw LaneError.kindUnknownHere(.source(id), kind: before.kind)
        }
        var settings = before.settings
        for (name, value) in changes.settings { settings[name] = value }
        _ = try kind.checked(settings)
        let country = changes.country ?? before.country
        let change = LaneChanges(secret: changes.secret)
        _ = try await changeLane(.source(id), change, usual: LanePolicy.events.pace) {
            try await writeSource(
                id,
                before.workspace,
                settings,
                country: country == "" ? nil : country,
                line: changes.line ?? before.line
            )
        }
        return try await source(id)
    }

    private func writeSource(
        _ id: SourceID,
        _ workspace: WorkspaceID,
        _ settings: [String: String],
        country: String?,
        line: LineID?
    ) async throws {
        if let country, country.wholeMatch(of: /[A-Z]{2}/) == nil { throw SourceError.notACountry }
        if let line, try await lane(.line(line)).workspace != workspace {
            throw SourceError.lineOfAnotherWorkspace(line)
        }
        try await query(
            "update trunkline.sources set settings = $2::jsonb, country = $3, line = $4 where id = $1",
            [
                .text(id.value), .text(SourceSettingsText.write(settings)), country.map { .text($0) } ?? .null,
                line.map { .text($0.value) } ?? .null,
            ]
        )
    }

    private func addToken(_ token: SourceToken, to id: SourceID, number: Int32) async throws {
        let added = try await query(
            """
            insert into trunkline.source_tokens (digest, source, number) values ($1, $2, $3)
            on conflict do nothing returning number
            """,
            [.bytes(token.digest), .text(id.value), .int4(number)]
        )
        guard added.count == 1 else { throw SourceError.tokenTaken }
    }

    // MARK: Changing token and secret

    /// Gives a source a second token, a second secret or both: from now on the old ones and the new ones count, until
    /// ``finishRotation(of:registry:masterKey:ownFiles:)``.
    ///
    /// - Parameter secret: the new one, in the clear.
    package func rotate(
        _ id: SourceID,
        token: SourceToken?,
        secret: [UInt8]?,
        registry: SourceRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> SourceRecord {
        let before = try await source(id)
        if token != nil, before.tokens > 1 { throw SourceError.alreadyRotating(id, what: "token") }
        var change = LaneChanges()
        if let secret {
            let lines = try await secretLines(of: before, masterKey, ownFiles)
            guard lines.count < 2 else { throw SourceError.alreadyRotating(id, what: "secret") }
            let both = ([String(decoding: secret, as: UTF8.self)] + lines).joined(separator: "\n")
            change.secret = try sealed(both, for: before, registry, masterKey)
        }
        _ = try await changeLane(.source(id), change, usual: LanePolicy.events.pace) {
            if let token { try await addToken(token, to: id, number: 2) }
        }
        return try await source(id)
    }

    /// Drops the older token and the older secret.
    package func finishRotation(
        of id: SourceID,
        registry: SourceRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> SourceRecord {
        let before = try await source(id)
        var change = LaneChanges()
        if case .sealed = before.secretPlace {
            let lines = try await secretLines(of: before, masterKey, ownFiles)
            if lines.count > 1 { change.secret = try sealed(lines[0], for: before, registry, masterKey) }
        }
        guard change.secret != nil || before.tokens > 1 else { throw SourceError.notRotating(id) }
        _ = try await changeLane(.source(id), change, usual: LanePolicy.events.pace) {
            try await query(
                """
                delete from trunkline.source_tokens t where t.source = $1 and t.number = 1
                  and exists (select from trunkline.source_tokens o where o.source = t.source and o.number = 2)
                """,
                [.text(id.value)]
            )
            try await query(
                """
                update trunkline.source_tokens t set number = 1 where t.source = $1 and t.number = 2
                """,
                [.text(id.value)]
            )
        }
        return try await source(id)
    }

    /// The stored secret's lines; none for a source without a secret.
    private func secretLines(
        of source: SourceRecord,
        _ masterKey: MasterKey?,
        _ ownFiles: Set<String>
    ) async throws -> [String] {
        if case .reference(let reference) = source.secretPlace {
            throw SourceError.secretElsewhere(source.id, reference: reference)
        }
        let secret = try await access(toLane: .source(source.id), masterKey: masterKey, ownFiles: ownFiles).secret
        return String(decoding: secret, as: UTF8.self).split(whereSeparator: \.isNewline).map { String($0) }
    }

    private func sealed(
        _ text: String,
        for source: SourceRecord,
        _ registry: SourceRegistry,
        _ masterKey: MasterKey?
    ) throws -> LaneSecret {
        guard let kind = registry[source.kind] else {
            throw LaneError.kindUnknownHere(.source(source.id), kind: source.kind)
        }
        guard let masterKey else { throw LaneSecretError.needsMasterKey(.source(source.id)) }
        let bytes = Array(text.utf8)
        let account = try kind.account(secret: bytes, settings: source.settings)
        return .sealed(bytes, hint: account.secrets.hint ?? "", masterKey)
    }

    // MARK: Holding and removing

    /// Holds a source: from now on nothing that it sent is run; it goes on being stored. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    package func holdSource(_ id: SourceID, reason: String, until: Timestamp?) async throws -> SourceRecord {
        _ = try await holdLane(.source(id), reason: reason, until: until)
        return try await source(id)
    }

    /// Ends the operator's hold.
    package func resumeSource(_ id: SourceID) async throws -> SourceRecord {
        _ = try await resumeLane(.source(id))
        return try await source(id)
    }

    /// Removes a source all of whose events were run: it takes no more, and its tokens open nothing. Its id, its events and
    /// its history stay.
    package func removeSource(_ id: SourceID) async throws -> SourceRecord {
        _ = try await removeLane(.source(id)) {
            try await query(
                """
                with gone as (delete from trunkline.source_tokens where source = $1 returning digest, source)
                insert into trunkline.removed_tokens (digest, source) select digest, source from gone
                on conflict (digest) do update set source = excluded.source, removed_at = now()
                """,
                [.text(id.value)]
            )
        }
        return try await source(id)
    }
}

/// Settings as the column has them: one JSON object of texts.
enum SourceSettingsText {
    static func write(_ settings: [String: String]) -> String {
        var json = JSONWriter(capacity: 128)
        json.beginObject()
        for (name, value) in settings.sorted(by: { $0.key < $1.key }) { json.member(name, value) }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// - Throws: a ``JSONError`` for a row that was written by something else.
    static func read(_ text: String?) throws(JSONError) -> [String: String] {
        guard case .object(let members) = try JSONValue(parsing: Array((text ?? "{}").utf8)) else { return [:] }
        var settings: [String: String] = [:]
        for member in members { if let value = member.value.text { settings[member.name] = value } }
        return settings
    }
}
