import PostgresDriver
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Heartbeats, fences, lines and the breaker.
extension SimDatabase {
    func beat(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid!
        var worker = workers[boot] ?? Worker(beat: -1)
        worker.beat += 1
        worker.pids = p[4].int4s
        worker.hasBroker = p[6].bool
        worker.isStopping = p[7].bool
        if p.count > 8 {
            worker.origins = p[8].texts
            worker.active = p[9].maybeInt4s
            worker.failing = p[10].maybeInt4s
            worker.reach = p[11].texts
        }
        workers[boot] = worker
        return .success(Self.none)
    }

    func fleet() -> Answer {
        table(
            [.uuid, .int8, .bool, .bool, .textArray, .int4Array, .int4Array, .textArray],
            workers.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { boot, worker in
                [
                    .uuid(boot), .int8(worker.beat), .bool(worker.isStopping), .bool(worker.hasBroker),
                    .textArray(worker.origins), .int4Array(worker.active), .int4Array(worker.failing),
                    .textArray(worker.reach),
                ]
            }
        )
    }

    func shardRows() -> Answer {
        table(
            [.int4, .uuid, .int8],
            shards.enumerated().map { [.int4(Int32($0)), PostgresParameter($1.owner), .int8($1.fence)] }
        )
    }

    func acquire(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid!
        let wanted = p[1].int4s
        if isLocked(wanted) { return .failure(Self.lockTimeout) }
        var rows: [[PostgresParameter]] = []
        for (number, fence) in zip(wanted, p[2].int8s) where shards[Int(number)].fence == fence {
            let index = Int(number)
            world.hit(shards[index].owner == nil ? .handover : .takeover, "shard \(number)")
            shards[index].owner = boot
            shards[index].fence += 1
            rows.append([.int4(number), .int8(shards[index].fence)])
        }
        return table([.int4, .int8], rows)
    }

    func release(_ p: [PostgresParameter]) -> Answer {
        let boot = p[0].uuid!
        let mine = p[1].int4s.filter { shards[Int($0)].owner == boot }
        if isLocked(mine) { return .failure(Self.lockTimeout) }
        for number in mine {
            shards[Int(number)].owner = nil
            shards[Int(number)].fence += 1
        }
        return .success(Self.none)
    }

    static let lockTimeout = PostgresError(code: .server, sqlState: "55P03", message: "lock not granted")

    private func isLocked(_ numbers: [Int32]) -> Bool {
        locked.contains { !$0.shards.isDisjoint(with: numbers) }
    }

    func terminate(_ p: [PostgresParameter]) -> Answer {
        for boot in p[0].uuids {
            for pid in workers[boot]?.pids ?? [] {
                guard let session = sessions[pid] else { continue }
                world.hit(.terminated, "session \(pid)")
                session.end(executing: .nothing)
            }
        }
        return table([.int8], [[.int8(0)]])
    }

    func forget(_ p: [PostgresParameter]) -> Answer {
        for boot in p[0].uuids where !shards.contains(where: { $0.owner == boot }) { workers[boot] = nil }
        return .success(Self.none)
    }

    func lineRows(_ p: [PostgresParameter]) -> Answer {
        table(
            [
                .text, .int4, .int8, .text, .bytea, .text, .int4, .int4, .int4, .bool, .int8, .bool, .int8, .int4,
                .int4,
            ],
            lines.filter { $0.revision > p[0].int8 || p[1].texts.contains($0.id) }.sorted { $0.revision < $1.revision }
                .map { line in
                    [
                        .text(line.id), .int4(line.lane), .int8(line.hash), .text(SimAPI.base + line.id),
                        .bytes(Self.sealedToken(of: line.id)), .null, .int4(line.interval), .int4(line.concurrency),
                        .int4(line.gap),
                        .bool(line.isHeld && weakness != .hold), .null, .bool(false), .int8(line.revision),
                        .int4(MasterKey.version), .null,
                    ]
                }
        )
    }

    private static func sealedToken(of line: String) -> [UInt8] {
        do {
            let base = try EZWhatsApp.BaseURL(SimAPI.base + line)
            let token = LineToken.sealed(try EZWhatsApp.Token("ezw_line_simulated"), masterKey)
            return try StoredToken(token, line: LineID(line), base: base).sealed
        } catch {
            fatalError("a simulated token cannot be stored: \(error)")
        }
    }

    // MARK: The breaker

    func breakerRows() -> Answer {
        table(
            [.text, .bool],
            breakers.filter { $0.value.openedAt != nil }.sorted { $0.key < $1.key }.map {
                [.text($0), .bool($1.nextProbe <= clock)]
            }
        )
    }

    func openBreaker(_ p: [PostgresParameter]) -> Answer {
        let origin = p[1].text!
        let nextProbe = clock + Int64(p[3].int4) * 1_000
        if let known = breakers[origin] {
            guard known.openedAt == nil, let closed = known.closedAt, closed < clock - 5_000_000 else {
                return table([.text], [])
            }
        }
        world.hit(.breakerOpened, origin)
        breakers[origin] = Breaker(openedAt: clock, nextProbe: nextProbe)
        return table([.text], [[.text(origin)]])
    }

    func probeBreaker(_ p: [PostgresParameter]) -> Answer {
        let origin = p[1].text!
        guard var breaker = breakers[origin], breaker.openedAt != nil, breaker.nextProbe <= clock else {
            return table([.int4], [])
        }
        breaker.prober = p[0].uuid
        breaker.probes += 1
        breaker.nextProbe = clock + 20_000_000
        breakers[origin] = breaker
        return table([.int4], [[.int4(breaker.probes)]])
    }

    func endProbe(_ p: [PostgresParameter]) -> Answer {
        let origin = p[1].text!
        guard var breaker = breakers[origin], breaker.prober == p[0].uuid else { return .success(Self.none) }
        breaker.prober = nil
        breaker.nextProbe = clock + Int64(p[3].int4) * 1_000
        if p[2].bool {
            breaker.openedAt = nil
            breaker.closedAt = clock
            world.hit(.breakerClosed, origin)
        }
        breakers[origin] = breaker
        return .success(Self.none)
    }
}
