internal import Logging
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// Lines as configured, and their gates as shown.
extension Worker {
    /// Rows of lines whose revision rose since the last look, and of those to be read once more; a change works within a
    /// second everywhere, and nobody else notices.
    func linesChanged(_ rows: PostgresRows) {
        let now = loop.present
        for row in 0..<rows.count {
            guard let line = line(rows, row, now) else { continue }
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
            if isAnother { lane.gate.forget(at: now) }
            dueLanes.insert(line.lane)
        }
        linesLoaded = true
    }

    private func line(_ rows: PostgresRows, _ row: Int, _ now: Instant) -> Line? {
        guard let id = rows.text(row, 0), let lane = rows.int4(row, 1), let hash = rows.int8(row, 2),
            let address = rows.text(row, 3), let interval = rows.int4(row, 6), let concurrency = rows.int4(row, 7),
            let gap = rows.int4(row, 8), let isHeld = rows.bool(row, 9), let isRemoved = rows.bool(row, 11),
            let revision = rows.int8(row, 12)
        else { return nil }
        var fault: String?
        var base: EZWhatsApp.BaseURL?
        var token: EZWhatsApp.Token?
        do {
            let address = try EZWhatsApp.BaseURL(address)
            base = address
            token = try StoredToken(
                sealed: rows.bytes(row, 4) ?? [],
                reference: rows.text(row, 5),
                keyVersion: rows.int4(row, 13) ?? 0
            ).open(
                line: LineID(id),
                base: address,
                masterKey: configuration.masterKey,
                ownFiles: configuration.ownFiles
            )
        } catch {
            fault = "\(error)"
            // It is read again and again, as it may be mended without a change of the row; said once.
            if !isRemoved, lines[id]?.fault != fault {
                log.error("line cannot be used", metadata: ["line": "\(id)", "error": "\(error)"])
            }
        }
        return Line(
            id: id,
            lane: lane,
            shard: Int32(hash % Int64(shardCount)),
            revision: revision,
            base: base,
            token: token,
            fault: fault,
            pace: Pace(
                interval: .milliseconds(Int64(interval)),
                concurrency: Int(concurrency),
                recipientGap: .milliseconds(Int64(gap))
            ),
            dailyCap: rows.int4(row, 14),
            isRemoved: isRemoved,
            isHeld: isHeld,
            holdEnds: rows.int8(row, 10).map { now + .milliseconds($0) }
        )
    }

    /// Writes gates that changed, for `trunkline status` and for the next owner.
    func writeGates() {
        guard !gateWrites.isEmpty, settler.isConnected else { return }
        let now = loop.present
        var numbers: [Int32?] = []
        var words: [String?] = []
        var reasons: [String?] = []
        var probes: [Int32?] = []
        var nextProbes: [Int32?] = []
        var ramps: [Int32?] = []
        for number in gateWrites {
            guard let lane = lanes[number] else { continue }
            noteHold(of: lane, at: now)
            let word = lane.gate.word(at: now)
            let memory = lane.gate.memory(at: now)
            // An OPEN answer that has aged is not news: nobody asks while there is no work.
            guard word != "unknown", word != lane.writtenGate || memory.probes != lane.writtenProbes else { continue }
            lane.writtenGate = word
            lane.writtenProbes = memory.probes
            numbers.append(number)
            words.append(word)
            reasons.append(memory.hold?.stored)
            probes.append(Int32(clamping: memory.probes))
            nextProbes.append(memory.nextProbe.map { Int32(clamping: max(.zero, $0 - now).wholeMilliseconds) })
            ramps.append(memory.rampBegan.map { Int32(clamping: (now - $0).wholeMilliseconds) })
        }
        gateWrites.removeAll(keepingCapacity: true)
        guard !numbers.isEmpty else { return }
        settler.execute(
            Statements.gate,
            [
                .int4Array(numbers), .textArray(words), .textArray(reasons), .int4Array(probes), .int4Array(nextProbes),
                .int4Array(ramps),
            ]
        ) { [weak self] result in
            guard let self, case .failure = result else { return }
            // Written again with the next change at the latest.
            for case let number? in numbers { self.lanes[number]?.writtenGate = "" }
        }
    }
}
