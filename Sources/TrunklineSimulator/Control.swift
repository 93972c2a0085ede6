import Synchronization

/// The control surface under `/__sim/`: what a test, a demo or a curious person does to the simulator.
///
/// It refuses what it does not know, in words that name what it knows.
extension Simulator {
    static let controlPrefix = "/__sim"

    private static let controlPaths = [
        "GET /lines", "POST /lines", "PUT /lines/{id}", "DELETE /lines/{id}", "PUT /lines/{id}/state",
        "GET /settings", "PUT /settings", "GET /faults", "POST /faults", "DELETE /faults", "DELETE /faults/{id}",
        "POST /answers/hold", "POST /answers/release", "GET /inflight", "GET /report", "GET /messages",
        "GET /deliveries", "GET /hooks", "PUT /hooks/{name}", "GET /received", "POST /keys/forget", "POST /reset",
    ]

    /// - Parameters:
    ///   - path: the part behind `/__sim`.
    ///   - body: an empty one counts as `{}`.
    func control(
        method: String,
        path: String,
        query: [(name: String, value: String)],
        body: [UInt8]
    ) throws(ControlRefusal) -> Answer {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        switch (method, parts.count, parts.first, parts.last) {
        case ("GET", 1, "lines", _): return try listLines(query)
        case ("POST", 1, "lines", _): return try addLines(try Self.json(body))
        case ("PUT", 2, "lines", let id?): return try putLine(id, try Self.json(body))
        case ("DELETE", 2, "lines", let id?): return try removeLine(id)
        case ("PUT", 3, "lines", "state"): return try setState(parts[1], try Self.json(body))
        case ("GET", 1, "settings", _): return ok { world, writer in world.settings.write(to: &writer) }
        case ("PUT", 1, "settings", _): return try changeSettings(try Self.json(body))
        case ("GET", 1, "faults", _): return listFaults()
        case ("POST", 1, "faults", _): return try addFaults(try Self.json(body))
        case ("DELETE", 1, "faults", _): return try removeFaults(nil, query)
        case ("DELETE", 2, "faults", let id?): return try removeFaults(id, query)
        case ("POST", 2, "answers", "hold"): return try holdAnswers(try Self.json(body))
        case ("POST", 2, "answers", "release"): return try releaseAnswers(try Self.json(body))
        case ("GET", 1, "inflight", _): return try listCalls(query)
        case ("GET", 1, "report", _):
            try Self.refuseOthers(query, known: [])
            return Answer(status: 200, body: report().bytes)
        case ("GET", 1, "messages", _): return try listMessages(query)
        case ("GET", 1, "hooks", _):
            try Self.refuseOthers(query, known: [])
            return listHooks()
        case ("PUT", 2, "hooks", let name?): return try putHook(name, try Self.json(body))
        case ("GET", 1, "received", _): return try listReceived(query)
        case ("POST", 2, "keys", "forget"): return try forgetKeys(try Self.json(body))
        case ("POST", 1, "reset", _): return try reset(try Self.json(body))
        default:
            throw ControlRefusal(
                status: 404,
                code: "unknown_control",
                message: "\(method) \(Self.controlPrefix)\(path) is not known; known: "
                    + Self.controlPaths.joined(separator: ", "),
                known: Self.controlPaths
            )
        }
    }

    private static func json(_ body: [UInt8]) throws(ControlRefusal) -> JSON {
        if body.isEmpty { return .object([]) }
        do {
            return try JSON.parse(body)
        } catch {
            throw .invalid("the body is not JSON: \(error.reason) at byte \(error.offset)")
        }
    }

    static func refuseOthers(
        _ query: [(name: String, value: String)],
        known: [String]
    ) throws(ControlRefusal) {
        for (name, _) in query where !known.contains(name) { throw .unknown("parameter", name, known: known) }
    }

    static func integer(
        _ name: String,
        _ query: [(name: String, value: String)],
        in range: ClosedRange<Int>
    ) throws(ControlRefusal) -> Int? {
        guard let text = query.last(where: { $0.name == name })?.value else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw .invalid("'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func ok(_ body: (World, inout JSONWriter) -> Void) -> Answer {
        state.withLock { world in
            Answer(status: 200, body: JSONWriter.object { body(world, &$0) })
        }
    }

    /// Makes a change under the lock, and answers when its records are on file.
    private func change<Result: Sendable>(
        _ body: (inout World) throws(ControlRefusal) -> sending Result
    ) throws(ControlRefusal) -> Result {
        let result = try state.withLock { world throws(ControlRefusal) in try body(&world) }
        journal.commitSoon()
        return result
    }

    // MARK: Lines

    private func write(_ line: World.Line, at wall: Int64, to writer: inout JSONWriter) {
        writer.member("id", line.id)
        writer.member("workspace", line.workspace)
        writer.member("tokenEnd", line.tokenEnd)
        writer.member("revoked", line.isRevoked)
        writer.member("state", line.condition.name)
        let state = line.condition.state(at: wall)
        writer.member("lifecycleState", state.lifecycle)
        writer.member("effectiveSendState", state.effective)
        writer.member("takesSends", state.acceptsSends)
        if let flapping = line.condition.flapping {
            writer.member("periodMs", flapping.periodMilliseconds)
            writer.member("other", flapping.other.name)
        }
        if let webhook = line.webhook { writer.object("webhook") { webhook.write(to: &$0) } }
    }

    private func listLines(_ query: [(name: String, value: String)]) throws(ControlRefusal) -> Answer {
        try Self.refuseOthers(query, known: [])
        let wall = clock.wall()
        return ok { world, writer in
            writer.array("lines") { writer in
                for line in world.lines.values.sorted(by: { $0.id < $1.id }) {
                    writer.object { write(line, at: wall, to: &$0) }
                }
            }
        }
    }

    private func addLines(_ json: JSON) throws(ControlRefusal) -> Answer {
        var fields = try ControlFields(json, what: "lines")
        let count = try fields.integer("count", in: 1...100_000)
        let prefix = try fields.string("prefix") ?? SimulatorOptions().linePrefix
        let workspace = try fields.string("workspace") ?? defaultWorkspace
        try fields.refuseOthers()
        guard let count else { throw .invalid("lines: 'count' is missing") }
        guard World.isLineID(workspace) else { throw .invalid("lines: '\(workspace)' is no workspace id") }
        var options = SimulatorOptions()
        options.lines = count
        options.linePrefix = prefix
        let ids = options.lineIDs
        for id in ids where !World.isLineID(id) { throw .invalid("lines: '\(id)' is no line id") }
        let added = try change { world throws(ControlRefusal) in
            var added = 0
            for id in ids where world.lines[id] == nil {
                var record = World.lineRecord(Self.newLine(id, workspace: workspace))
                self.record(&record, in: &world)
                added += 1
            }
            return added
        }
        return Answer(
            status: 200,
            body: JSONWriter.object { writer in
                writer.member("added", added)
                writer.member("first", ids[0])
                writer.member("last", ids[ids.count - 1])
            }
        )
    }

    private func putLine(_ id: String, _ json: JSON) throws(ControlRefusal) -> Answer {
        guard World.isLineID(id) else { throw .invalid("'\(id)' is no line id: 1 to 64 of A-Z a-z 0-9 . _ -") }
        let wall = clock.wall()
        var fields = try ControlFields(json, what: "line")
        let token = try fields.string("token")
        let workspace = try fields.string("workspace")
        let revoked = try fields.bool("revoked")
        let condition = try LineCondition.parse(&fields, now: wall)
        try fields.refuseOthers()
        if let workspace, !World.isLineID(workspace) { throw .invalid("line: '\(workspace)' is no workspace id") }
        if let token {
            guard token.hasPrefix(Self.tokenPrefix), token.utf8.count > Self.tokenPrefix.utf8.count,
                token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { throw .invalid("line: 'token' must look like \(Self.tokenPrefix)…") }
        }
        return try change { world throws(ControlRefusal) in
            let isNew = world.lines[id] == nil
            var line = world.lines[id] ?? Self.newLine(id, workspace: self.defaultWorkspace)
            if let workspace { line.workspace = workspace }
            if let revoked { line.isRevoked = revoked }
            if let token { Self.setToken(token, of: &line) }
            if let condition { line.condition = condition }
            if let other = world.line(ofTokenHash: line.tokenHash), other.id != id {
                throw ControlRefusal(status: 409, code: "token_taken", message: "the token belongs to line \(other.id)")
            }
            return self.store(line, status: isNew ? 201 : 200, at: wall, in: &world)
        }
    }

    private func store(_ line: World.Line, status: Int, at wall: Int64, in world: inout World) -> Answer {
        var record = World.lineRecord(line)
        self.record(&record, in: &world)
        return Answer(status: status, body: JSONWriter.object { write(line, at: wall, to: &$0) })
    }

    private func setState(_ id: String, _ json: JSON) throws(ControlRefusal) -> Answer {
        let wall = clock.wall()
        let condition = try LineCondition.parse(json, now: wall)
        return try change { world throws(ControlRefusal) in
            guard var line = world.lines[id] else { throw .notFound("no line '\(id)'") }
            line.condition = condition
            return self.store(line, status: 200, at: wall, in: &world)
        }
    }

    private func removeLine(_ id: String) throws(ControlRefusal) -> Answer {
        try change { world throws(ControlRefusal) in
            guard world.lines[id] != nil else { throw .notFound("no line '\(id)'") }
            var record = JournalRecord(.line)
            record.line = id
            record.data = .object([
                JSON.Member(name: "id", value: .string(id)), JSON.Member(name: "removed", value: .bool(true)),
            ])
            self.record(&record, in: &world)
            return Answer(status: 200, body: JSONWriter.object { $0.member("removed", id) })
        }
    }

    // MARK: Settings

    private func changeSettings(_ json: JSON) throws(ControlRefusal) -> Answer {
        try change { world throws(ControlRefusal) in
            var settings = world.settings
            try settings.apply(json)
            var record = self.settingsRecord(settings)
            self.record(&record, in: &world)
            return Answer(status: 200, body: JSONWriter.object { settings.write(to: &$0) })
        }
    }

    // MARK: Faults

    private func listFaults() -> Answer {
        ok { world, writer in
            writer.array("faults") { writer in
                for fault in world.faults.faults { writer.object { fault.write(to: &$0) } }
            }
        }
    }

    /// One fault, or a list of which all or none is added.
    private func addFaults(_ json: JSON) throws(ControlRefusal) -> Answer {
        let monotonic = clock.monotonic()
        var faults: [Fault] = []
        if case .array(let list) = json {
            for item in list { faults.append(try Fault.parse(item, monotonic: monotonic)) }
        } else {
            faults.append(try Fault.parse(json, monotonic: monotonic))
        }
        return try change { [faults] world throws(ControlRefusal) in
            for fault in faults {
                if let line = fault.line { try Self.requireLine(line, world) }
            }
            let added = faults.map { world.faults.add($0) }
            for fault in added {
                var record = JournalRecord(.fault)
                record.line = fault.line
                record.data = try? JSON.parse(JSONWriter.object { fault.write(to: &$0) })
                self.record(&record, in: &world)
            }
            return Answer(
                status: 201,
                body: JSONWriter.object { writer in
                    writer.array("faults") { writer in
                        for fault in added { writer.object { fault.write(to: &$0) } }
                    }
                }
            )
        }
    }

    private static func requireLine(_ id: String, _ world: World) throws(ControlRefusal) {
        guard world.lines[id] == nil, !world.settings.openTokens else { return }
        throw ControlRefusal(status: 400, code: "unknown_line", message: "no line '\(id)'")
    }

    private func removeFaults(
        _ id: String?,
        _ query: [(name: String, value: String)]
    ) throws(ControlRefusal) -> Answer {
        try Self.refuseOthers(query, known: id == nil ? ["line"] : [])
        let line = query.last { $0.name == "line" }?.value
        var number: Int?
        if let id {
            guard let parsed = Int(id) else { throw .notFound("no fault '\(id)'") }
            number = parsed
        }
        return try change { [number] world throws(ControlRefusal) in
            let removed = world.faults.remove(id: number, line: line)
            if number != nil, removed == 0 { throw .notFound("no fault '\(id ?? "")'") }
            var record = JournalRecord(.fault)
            record.line = line
            record.data = .object([JSON.Member(name: "removed", value: .integer(Int64(removed)))])
            self.record(&record, in: &world)
            return Answer(status: 200, body: JSONWriter.object { $0.member("removed", removed) })
        }
    }

    // MARK: Held answers

    private func holdAnswers(_ json: JSON) throws(ControlRefusal) -> Answer {
        var fields = try ControlFields(json, what: "hold")
        var endpoint = Fault.Endpoint.messages
        if let word = try fields.string("on") {
            guard let known = Fault.Endpoint(rawValue: word) else {
                throw .unknown("hold endpoint", word, known: Fault.Endpoint.allCases.map(\.rawValue))
            }
            endpoint = known
        }
        var lines: Set<String>?
        if let line = try fields.string("line") { lines = [line] }
        if let list = fields.value("lines") {
            guard case .array(let values) = list, lines == nil else {
                throw .invalid("hold: 'lines' must be a list of line ids, without 'line' beside it")
            }
            lines = []
            for value in values {
                guard let line = value.string else { throw .invalid("hold: 'lines' must be a list of line ids") }
                lines?.insert(line)
            }
        }
        try fields.refuseOthers()
        return try change { [lines, endpoint] world throws(ControlRefusal) in
            for line in lines ?? [] { try Self.requireLine(line, world) }
            world.hold = World.Hold(lines: lines, endpoint: endpoint)
            self.recordHold(true, lines, in: &world)
            return Answer(status: 200, body: JSONWriter.object { $0.member("holding", true) })
        }
    }

    private func recordHold(_ isHolding: Bool, _ lines: Set<String>?, in world: inout World) {
        var record = JournalRecord(.hold)
        var members = [JSON.Member(name: "holding", value: .bool(isHolding))]
        if let lines {
            members.append(JSON.Member(name: "lines", value: .array(lines.sorted().map { .string($0) })))
        }
        record.data = .object(members)
        self.record(&record, in: &world)
    }

    private func releaseAnswers(_ json: JSON) throws(ControlRefusal) -> Answer {
        try ControlFields(json, what: "release").refuseOthers()
        let waiters = try change { world throws(ControlRefusal) in
            world.hold = nil
            self.recordHold(false, nil, in: &world)
            return world.takeWaiters { $0.waiting == .hold }
        }
        for waiter in waiters { waiter.fire(.released) }
        return Answer(
            status: 200,
            body: JSONWriter.object { writer in
                writer.member("holding", false)
                writer.member("released", waiters.count)
            }
        )
    }

    private func listCalls(_ query: [(name: String, value: String)]) throws(ControlRefusal) -> Answer {
        try Self.refuseOthers(query, known: ["line", "waiting"])
        let line = query.last { $0.name == "line" }?.value
        let waiting = query.last { $0.name == "waiting" }?.value
        if let waiting, World.Waiting(rawValue: waiting) == nil {
            throw .unknown("waiting", waiting, known: ["latency", "hold", "hang"])
        }
        let monotonic = clock.monotonic()
        return ok { world, writer in
            let calls = world.air.values
                .filter { (line ?? $0.line) == $0.line && (waiting ?? $0.waiting?.rawValue) == $0.waiting?.rawValue }
                .sorted { $0.id < $1.id }
            writer.member("count", calls.count)
            writer.member("holding", world.hold != nil)
            writer.array("calls") { writer in
                for call in calls {
                    writer.object { writer in
                        writer.member("on", call.endpoint.rawValue)
                        writer.member("conn", call.connection)
                        writer.optional("peer", call.peer)
                        writer.optional("req", call.request)
                        writer.optional("line", call.line)
                        writer.optional("hook", call.hook)
                        writer.optional("workspace", call.workspace)
                        writer.optional("key", call.key)
                        writer.optional("attemptId", call.attemptID)
                        writer.optional("verdict", call.verdict?.rawValue)
                        writer.optional("waiting", call.waiting?.rawValue)
                        writer.member("ageMs", (monotonic - call.since) / 1_000_000)
                    }
                }
            }
        }
    }

    // MARK: What was accepted

    private func listMessages(_ query: [(name: String, value: String)]) throws(ControlRefusal) -> Answer {
        try Self.refuseOthers(query, known: ["line", "key", "workspace", "to", "after", "limit"])
        func value(_ name: String) -> String? { query.last { $0.name == name }?.value }
        let (line, key, workspace, to) = (value("line"), value("key"), value("workspace"), value("to"))
        let limit = try Self.integer("limit", query, in: 1...100_000) ?? 100
        let after = Int64(try Self.integer("after", query, in: 0...Int.max) ?? 0)
        return ok { world, writer in
            var written = 0
            writer.array("messages") { writer in
                for message in world.messages where message.seq > after {
                    guard written < limit else { break }
                    guard (line ?? message.line) == message.line, (key ?? message.key) == message.key,
                        (workspace ?? message.workspace) == message.workspace, (to ?? message.to) == message.to
                    else { continue }
                    written += 1
                    writer.object { writer in
                        writer.member("seq", message.seq)
                        writer.member("t", message.t)
                        writer.member("line", message.line)
                        writer.member("workspace", message.workspace)
                        writer.member("key", message.key)
                        writer.member("to", message.to)
                        writer.member("bodyHash", message.bodyHash)
                        writer.member("attemptId", message.attemptID)
                        writer.member("unsendable", message.unsendable)
                    }
                }
            }
        }
    }

    // MARK: Forgetting

    private func forgetKeys(_ json: JSON) throws(ControlRefusal) -> Answer {
        var fields = try ControlFields(json, what: "forget")
        _ = try fields.string("workspace")
        _ = try fields.string("line")
        _ = try fields.string("key")
        try fields.refuseOthers()
        return try change { world throws(ControlRefusal) in
            var record = JournalRecord(.forget)
            record.data = json
            self.record(&record, in: &world)
            return Answer(status: 200, body: JSONWriter.object { $0.member("forgotten", true) })
        }
    }

    private func reset(_ json: JSON) throws(ControlRefusal) -> Answer {
        var fields = try ControlFields(json, what: "reset")
        _ = try fields.bool("lines")
        try fields.refuseOthers()
        let waiters = try change { world throws(ControlRefusal) in
            var record = JournalRecord(.reset)
            record.data = json
            self.record(&record, in: &world)
            _ = world.faults.remove(id: nil, line: nil)
            world.hold = nil
            return world.takeWaiters { $0.waiting == .hold }
        }
        for waiter in waiters { waiter.fire(.released) }
        return Answer(status: 200, body: JSONWriter.object { $0.member("reset", true) })
    }
}
