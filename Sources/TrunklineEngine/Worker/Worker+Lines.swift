internal import Logging
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// Lines as configured, and their gates as shown.
extension Worker {
    /// What holds for every line: EZWhatsApp says by its own health whether a line can send.
    static let linePolicy = LanePolicy(
        opening: .health,
        unknownHorizon: .seconds(12 * 3_600),
        maximumTries: Retry.maximumTries,
        rampLength: Gate.rampLength,
        reservedSlots: 50,
        pace: .standard
    )

    /// Rows of lines whose revision rose since the last look, and of those to be read once more; a change works within a
    /// second everywhere, and nobody else notices.
    func linesChanged(_ rows: [LineRow]) {
        let now = loop.present
        for row in rows {
            let line = line(row, now)
            let before = lines[line.id]
            lines[line.id] = line
            lineOfLane[line.lane] = line.id
            lineRevision = max(lineRevision, line.revision)
            if before == nil {
                shardOfLane[line.lane] = line.shard
                lanesOfShard[line.shard, default: []].append(line.lane)
                // Jobs of it may have been taken before this look: they are in the database and not in memory.
                loadNew(line.lane, of: line.shard)
            }
            let isAnother = before?.token != line.token || before?.base != line.base
            if isAnother { closeCalls(of: line.id) }
            guard let lane = lanes[line.lane] else { continue }
            lane.cappedUntil = nil
            applyPace(lane, line, now)
            if isAnother {
                apply(lane.gate.forget(at: now), to: lane)
            } else if before?.revision != line.revision {
                apply(lane.gate.resumed(at: now), to: lane)
            }
            dueLanes.insert(line.lane)
        }
        linesLoaded = true
    }

    private func line(_ row: LineRow, _ now: Instant) -> Line {
        var fault: String?
        var base: EZWhatsApp.BaseURL?
        var token: EZWhatsApp.Token?
        do {
            let address = try EZWhatsApp.BaseURL(row.baseURL)
            base = address
            token = try StoredToken(
                sealed: row.sealedToken,
                reference: row.tokenReference,
                keyVersion: row.keyVersion
            ).open(
                line: LineID(row.id),
                base: address,
                masterKey: configuration.masterKey,
                ownFiles: configuration.ownFiles
            )
        } catch {
            fault = "\(error)"
            // It is read again and again, as it may be mended without a change of the row; said once.
            if !row.isRemoved, lines[row.id]?.fault != fault {
                log.error("line cannot be used", metadata: ["line": "\(row.id)", "error": "\(error)"])
            }
        }
        return Line(
            id: row.id,
            lane: row.lane,
            shard: Int32(row.shardHash % Int64(shardCount)),
            revision: row.revision,
            base: base,
            token: token,
            fault: fault,
            pace: Pace(
                interval: row.interval,
                concurrency: Int(row.concurrency),
                recipientGap: row.recipientGap
            ),
            dailyCap: row.dailyCap,
            isRemoved: row.isRemoved,
            isHeld: row.isHeld,
            holdEnds: row.holdLeft.map { now + $0 }
        )
    }

    /// What a gate asks for after it was told something.
    func apply(_ effects: Gate.Effects, to lane: Lane) {
        if effects.isToBeWritten { gateWrites.insert(lane.number) }
        if effects.isToBeLookedAt { dueLanes.insert(lane.number) }
        guard let change = effects.change, let line = lineOfLane[lane.number] else { return }
        log.notice(
            "gate",
            metadata: [
                "line": "\(line)", "gate": "\(change.after.rawValue)", "reason": "\(lane.gate.hold?.reason.code ?? "")",
            ]
        )
    }

    /// Writes gates that changed, for `trunkline status` and for the next owner.
    func writeGates() {
        guard !gateWrites.isEmpty, settler.isConnected else { return }
        let now = loop.present
        var rows: [GateRow] = []
        for number in gateWrites {
            guard let lane = lanes[number] else { continue }
            noteHold(of: lane, at: now)
            let word = lane.gate.word(at: now)
            let memory = lane.gate.memory(at: now)
            // An OPEN answer that has aged is not news: nobody asks while there is no work.
            guard word != .unknown, word != lane.writtenGate || memory.probes != lane.writtenProbes else { continue }
            lane.writtenGate = word
            lane.writtenProbes = memory.probes
            rows.append(
                GateRow(
                    lane: number,
                    gate: word,
                    reason: memory.hold?.stored,
                    probes: Int32(clamping: memory.probes),
                    nextProbeIn: memory.nextProbe.map { max(.zero, $0 - now) },
                    rampingFor: memory.rampBegan.map { now - $0 }
                )
            )
        }
        gateWrites.removeAll(keepingCapacity: true)
        guard !rows.isEmpty else { return }
        settler.keepGates(rows) { [weak self] result in
            guard let self, case .failure = result else { return }
            // Written again with the next change at the latest.
            for row in rows { self.lanes[row.lane]?.writtenGate = nil }
        }
    }
}
