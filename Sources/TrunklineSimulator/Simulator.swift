import Synchronization

/// The simulated API without its network: decides what becomes of each request and puts it on record.
///
/// Every method may be called from any thread. A decision and its records are made under one lock; nothing is awaited or
/// fired while it is held.
final class Simulator: Sendable {
    let connections = Connections()
    let journal: Journal
    let clock: SimulatorClock
    let defaultWorkspace: String
    let state: Mutex<World>
    /// Fires when the journal can no longer be written: nothing may be accepted any more.
    let failed = Waiter()

    /// Rebuilds the world from the journal, if there is one.
    init(options: SimulatorOptions, clock: SimulatorClock = .system) throws(SimulatorError) {
        var world = World(settings: options.settings ?? SimulatorSettings(), seed: options.seed)
        journal = try Journal(path: options.journal, syncs: options.syncsJournal, clock: clock) {
            record throws(SimulatorError) in
            do throws(ControlRefusal) {
                try world.apply(record)
            } catch {
                throw SimulatorError(.journal, "record \(record.seq) of the journal makes no sense: \(error.message)")
            }
        }
        self.clock = clock
        defaultWorkspace = options.workspace
        state = Mutex(world)
        state.withLock { world in
            var start = JournalRecord(.start)
            record(&start, in: &world)
            // What was said at the start counts more than what was set in an earlier life.
            if let settings = options.settings {
                var record = settingsRecord(settings)
                self.record(&record, in: &world)
            }
        }
        for id in options.lineIDs {
            try addLine(id, workspace: options.workspace)
        }
        try journal.commitNow()
    }

    /// Registers a line under its usual token unless it is there already.
    private func addLine(_ id: String, workspace: String) throws(SimulatorError) {
        guard World.isLineID(id) else {
            throw SimulatorError(.refused, "'\(id)' is no line id: 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        state.withLock { world in
            guard world.lines[id] == nil else { return }
            var record = World.lineRecord(Self.newLine(id, workspace: workspace))
            self.record(&record, in: &world)
        }
    }

    static let tokenPrefix = "ezw_line_"

    static func newLine(_ id: String, workspace: String) -> World.Line {
        var line = World.Line(id: id, workspace: workspace, tokenHash: "", tokenEnd: "")
        setToken(tokenPrefix + id, of: &line)
        return line
    }

    static func setToken(_ token: String, of line: inout World.Line) {
        line.tokenHash = shortHash(Array(token.utf8))
        line.tokenEnd = String(token.suffix(4))
    }

    func settingsRecord(_ settings: SimulatorSettings) -> JournalRecord {
        var record = JournalRecord(.settings)
        record.data = try? JSON.parse(JSONWriter.object { settings.write(to: &$0) })
        return record
    }

    /// Appends a record and takes it over; the caller commits before anything that depends on it leaves.
    func record(_ record: inout JournalRecord, in world: inout World) {
        journal.append(&record)
        do {
            try world.apply(record)
        } catch {
            preconditionFailure("a record of our own makes no sense: \(error.message)")
        }
    }

    /// What has happened so far.
    func report() -> SimulatorReport {
        let tally = state.withLock { $0.tally }
        return SimulatorReport(tally)
    }

    // MARK: A request

    /// What is known of a request when its head was read.
    struct Arrival: Sendable {
        var call: Int
        /// The connection is to be closed at once, the body unread.
        var isDropped = false
    }

    /// What is to be done about a request once it was decided.
    struct Plan: Sendable {
        enum Ending: Sendable {
            case answer
            /// Close the connection without an answer.
            case drop
            /// Close the connection in the middle of the answer.
            case truncate
        }

        var call: Int
        var answer: Answer
        var ending = Ending.answer
        var milliseconds = 0
        var hangs = false
        fileprivate var stage = 0
        /// What the request waits for now, if it does.
        fileprivate(set) var waiting: World.Waiting?
        fileprivate(set) var waiter: Waiter?
        /// The webhooks that follow.
        var events: [WebhookEvents] = []

        init(call: Int, answer: Answer, ending: Ending = .answer) {
            self.call = call
            self.answer = answer
            self.ending = ending
        }
    }

    /// Takes note of a request whose head was read and rolls the dice for it.
    ///
    /// - Parameters:
    ///   - hook: the name of the hook that it is for, when it is for one.
    ///   - key: its `Idempotency-Key`; for a hook, its `webhook-id`.
    func begin(
        _ connection: Connection,
        _ endpoint: APIEndpoint,
        hook: String? = nil,
        authorization: String?,
        key: String?
    ) -> Arrival {
        let monotonic = clock.monotonic()
        let arrival = state.withLock { world in
            var call = World.Call(
                id: world.nextCallID(),
                connection: connection.number,
                peer: connection.peer,
                endpoint: endpoint,
                since: monotonic
            )
            if [.text, .media, .hook].contains(endpoint) { call.key = key }
            if let hook {
                call.hook = hook
                call.faults = world.faults.pick(line: nil, hook: hook, endpoint: endpoint, monotonic: monotonic)
            } else if let line = authorized(authorization, in: &world) {
                call.line = line.id
                call.workspace = line.workspace
                call.faults = world.faults.pick(line: line.id, endpoint: endpoint, monotonic: monotonic)
            }
            world.air[call.id] = call
            guard call.faults.fault?.kind == .dropBefore else { return Arrival(call: call.id) }
            var record = self.record(of: call, Self.kind(of: endpoint), .fault)
            self.record(&record, in: &world)
            world.air[call.id]?.request = record.seq
            world.air[call.id]?.verdict = .fault
            end(call.id, status: nil, reason: Fault.Kind.dropBefore.rawValue, in: &world)
            return Arrival(call: call.id, isDropped: true)
        }
        if arrival.isDropped {
            journal.commitSoon()
        } else if !connection.begin(arrival.call) {
            // The client is gone, but its request is here: a server would not know better and accept it.
            state.withLock { $0.air[arrival.call]?.isClosed = true }
        }
        return arrival
    }

    private static func kind(of endpoint: APIEndpoint) -> JournalRecord.Kind {
        switch endpoint {
        case .health: .health
        case .hook: .delivery
        case .text, .media, .webhooks, .other: .request
        }
    }

    /// The line whose token this is.
    private func authorized(_ authorization: String?, in world: inout World) -> World.Line? {
        guard let authorization, authorization.utf8.count > 7, authorization.prefix(7).lowercased() == "bearer " else {
            return nil
        }
        let token = String(authorization.dropFirst(7))
        guard token.hasPrefix(Self.tokenPrefix) else { return nil }
        if let line = world.line(ofToken: token) { return line.isRevoked ? nil : line }
        let id = String(token.dropFirst(Self.tokenPrefix.count))
        guard world.settings.openTokens, World.isLineID(id), world.lines[id] == nil else { return nil }
        var record = World.lineRecord(Self.newLine(id, workspace: defaultWorkspace))
        self.record(&record, in: &world)
        return world.line(ofToken: token)
    }

    private static let unauthorized = Answer.error(401, "unauthorized", "a line token (ezw_line_…) is needed")

    /// A send whose body was read.
    func message(_ id: Int, contentType: String?, body bytes: [UInt8]) -> Plan {
        let hash = shortHash(bytes)
        let wall = clock.wall()
        return state.withLock { world in
            guard let call = world.air[id] else { return gone(id) }
            var record = record(of: call, .request, .ok)
            record.bodyHash = hash
            var plan: Plan
            var effect: JournalRecord?
            var text = ""
            if let fault = call.faults.fault, !fault.kind.accepts, call.line != nil {
                record.verdict = .fault
                plan = Plan(call: id, answer: .fault(fault, now: wall))
            } else {
                let verdict: (JournalRecord.Verdict, Answer)
                do throws(APIRefusal) {
                    let decision = try decide(
                        call,
                        contentType: contentType,
                        bytes: bytes,
                        hash: hash,
                        wall,
                        in: &world
                    )
                    record.to = decision.body?.to
                    text = decision.body?.text ?? ""
                    effect = decision.effect
                    record.attemptID = decision.attemptID
                    verdict = (decision.verdict, decision.answer)
                } catch {
                    let refusal = error.status == 501 ? JournalRecord.Verdict.disabled : .invalid
                    verdict = (refusal, .error(error.status, error.code, error.message))
                }
                record.verdict = verdict.0
                plan = Plan(call: id, answer: verdict.1)
            }
            self.record(&record, in: &world)
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = record.verdict
            world.air[id]?.attemptID = record.attemptID
            if var effect, let line = record.line.flatMap({ world.lines[$0] }) {
                let attemptID = Self.attemptID(record.seq)
                effect.request = record.seq
                effect.attemptID = attemptID
                effect.to = record.to
                effect.bodyHash = hash
                self.record(&effect, in: &world)
                world.air[id]?.attemptID = attemptID
                plan.answer = .accepted(
                    attemptID: attemptID,
                    line: line.id,
                    status: 202,
                    body: world.settings.acceptedBody
                )
                // What a sick line queued goes out when it is well again, which is not played here.
                if let webhook = line.webhook, webhook.enabled, !effect.unsendable {
                    plan.events = [
                        WebhookEvents(
                            line: line.id,
                            registration: webhook,
                            switches: world.settings.webhooks.on,
                            to: record.to ?? "",
                            text: text,
                            number: effect.seq,
                            seconds: wall / 1_000_000
                        )
                    ]
                }
            }
            return finish(plan, call.faults, wall: wall, in: &world)
        }
    }

    static func attemptID(_ sequence: Int64) -> String {
        let digits = String(sequence)
        return "att_" + String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }

    private struct Decision {
        var verdict: JournalRecord.Verdict
        var answer: Answer
        var body: MessageBody?
        var attemptID: String?
        var effect: JournalRecord?
    }

    /// The table of the contract, row by row.
    private func decide(
        _ call: World.Call,
        contentType: String?,
        bytes: [UInt8],
        hash: String,
        _ wall: Int64,
        in world: inout World
    ) throws(APIRefusal) -> Decision {
        guard let line = call.line.flatMap({ world.lines[$0] }) else {
            return Decision(verdict: .unauthorized, answer: Self.unauthorized)
        }
        if call.endpoint == .media, !world.settings.mediaEnabled {
            throw APIRefusal(status: 501, code: "not_implemented", message: "media sends are switched off")
        }
        if world.settings.requireContentType, !Self.isJSON(contentType) {
            throw APIRefusal(
                status: 415,
                code: "unsupported_media_type",
                message: "Content-Type must be application/json"
            )
        }
        guard let key = call.key, !key.isEmpty else {
            throw APIRefusal(
                status: 400,
                code: "idempotency_key_required",
                message: "the header Idempotency-Key is needed"
            )
        }
        let body = call.endpoint == .text ? try MessageBody.text(bytes) : try MessageBody.media(bytes)
        let known = world.remembered(line: line, key: key, wall: wall)
        var isInFlight = false
        if let known, world.settings.inFlight != .replay {
            isInFlight = world.isInFlight(known, key: key, besides: call.id, wall: wall)
        }
        if let known, !isInFlight || world.settings.inFlight != .message {
            guard known.bodyHash == hash else {
                let message = "this Idempotency-Key was used with another body"
                return Decision(verdict: .conflict, answer: .error(409, "idempotency_conflict", message), body: body)
            }
            if isInFlight, world.settings.inFlight == .conflict {
                let message = "another call with this Idempotency-Key is being worked on"
                return Decision(
                    verdict: .inProgress,
                    answer: .error(409, "idempotency_in_progress", message),
                    body: body,
                    attemptID: known.attemptID
                )
            }
            let answer = Answer.replay(attemptID: known.attemptID, line: known.line, world.settings)
            return Decision(verdict: .replay, answer: answer, body: body, attemptID: known.attemptID)
        }
        let isSendable = line.condition.state(at: wall).acceptsSends
        if !isSendable, world.settings.profile != .queue {
            let status = world.settings.profile == .conflict ? 409 : 503
            let message = "the line is not sendable: \(line.condition.state(at: wall).effective)"
            return Decision(verdict: .notSendable, answer: .error(status, "line_not_sendable", message), body: body)
        }
        var effect = JournalRecord(.effect)
        effect.connection = call.connection
        effect.endpoint = call.endpoint.rawValue
        effect.line = line.id
        effect.workspace = line.workspace
        effect.key = key
        effect.unsendable = !isSendable
        return Decision(verdict: .accepted, answer: Answer(status: 202, body: []), body: body, effect: effect)
    }

    private static func isJSON(_ contentType: String?) -> Bool {
        guard let contentType else { return false }
        let type = contentType.prefix { $0 != ";" }.trimmingSpaces().lowercased()
        return type == "application/json"
    }

    /// A question to `GET /health`.
    func health(_ id: Int, query: [(name: String, value: String)]) -> Plan {
        let wall = clock.wall()
        return state.withLock { world in
            guard let call = world.air[id] else { return gone(id) }
            var record = record(of: call, .health, .ok)
            record.wakeup = "absent"
            var problem: String?
            for (name, value) in query {
                switch (name, value) {
                case ("wakeup", "true"), ("wakeup", "false"): record.wakeup = value
                case ("wakeup", _): problem = "'wakeup' must be true or false"
                case ("channel_type", "web"): break
                case ("channel_type", _): problem = "'channel_type' must be web"
                default: break
                }
            }
            let answer: Answer
            if call.line == nil {
                record.verdict = .unauthorized
                answer = Self.unauthorized
            } else if let fault = call.faults.fault, !fault.kind.accepts {
                record.verdict = .fault
                answer = .fault(fault, now: wall)
            } else if let problem {
                record.verdict = .invalid
                answer = .error(400, "invalid_request", problem)
            } else if let line = call.line.flatMap({ world.lines[$0] }) {
                let state = line.condition.state(at: wall)
                // So that a reader of the journal knows what the asker was told.
                record.data = .object([JSON.Member(name: "state", value: .string(state.name))])
                answer = Answer(status: 200, body: JSONWriter.object { state.write(to: &$0) })
            } else {
                record.verdict = .unauthorized
                answer = Self.unauthorized
            }
            self.record(&record, in: &world)
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = record.verdict
            return finish(Plan(call: id, answer: answer), call.faults, wall: wall, in: &world)
        }
    }

    /// `POST /webhooks`.
    func registerWebhook(_ id: Int, body bytes: [UInt8]) -> Plan {
        let wall = clock.wall()
        return state.withLock { world in
            guard let call = world.air[id] else { return gone(id) }
            var record = record(of: call, .request, .ok)
            var answer = Self.unauthorized
            var change: JournalRecord?
            if let fault = call.faults.fault, !fault.kind.accepts, call.line != nil {
                record.verdict = .fault
                answer = .fault(fault, now: wall)
            } else if var line = call.line.flatMap({ world.lines[$0] }) {
                do throws(APIRefusal) {
                    let registration = try WebhookRegistration.parse(
                        bytes,
                        allowPrivate: world.settings.allowPrivateWebhooks
                    )
                    line.webhook = registration
                    change = World.lineRecord(line)
                    answer = Answer(status: 201, body: JSONWriter.object { registration.write(to: &$0) })
                } catch {
                    record.verdict = .invalid
                    answer = .error(error.status, error.code, error.message)
                }
            } else {
                record.verdict = .unauthorized
            }
            self.record(&record, in: &world)
            if var change { self.record(&change, in: &world) }
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = record.verdict
            return finish(Plan(call: id, answer: answer), call.faults, wall: wall, in: &world)
        }
    }

    /// A request that gets a fixed answer: an unknown path, a wrong method, a body that is too large.
    func refuse(_ id: Int, _ verdict: JournalRecord.Verdict, _ answer: Answer) -> Plan {
        state.withLock { world in
            guard let call = world.air[id] else { return gone(id) }
            var record = record(of: call, Self.kind(of: call.endpoint), verdict)
            self.record(&record, in: &world)
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = verdict
            return finish(Plan(call: id, answer: answer), PickedFaults(), wall: clock.wall(), in: &world)
        }
    }

    /// The body never arrived whole.
    func bodyLost(_ id: Int) {
        state.withLock { world in
            guard let call = world.air[id], call.request == nil else { return }
            var record = record(of: call, Self.kind(of: call.endpoint), .incomplete)
            self.record(&record, in: &world)
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = .incomplete
            end(id, status: nil, reason: "incomplete", in: &world)
        }
        journal.commitSoon()
    }

    func record(
        of call: World.Call,
        _ kind: JournalRecord.Kind,
        _ verdict: JournalRecord.Verdict
    ) -> JournalRecord {
        var record = JournalRecord(kind)
        record.connection = call.connection
        record.peer = call.peer
        record.endpoint = call.endpoint.rawValue
        record.line = call.line
        record.hook = call.hook
        record.workspace = call.workspace
        record.key = call.key
        record.verdict = verdict
        record.fault = call.faults.name
        return record
    }

    func gone(_ id: Int) -> Plan {
        Plan(call: id, answer: Answer(status: 500, body: []), ending: .drop)
    }

    /// Turns the faults that come after the decision into the ending of the plan.
    func finish(_ plan: Plan, _ faults: PickedFaults, wall: Int64, in world: inout World) -> Plan {
        var plan = plan
        guard world.air[plan.call]?.isClosed != true else {
            end(plan.call, status: nil, reason: "closed", in: &world)
            plan.ending = .drop
            return plan
        }
        plan.milliseconds = faults.milliseconds
        let call = world.air[plan.call]
        if call?.line != nil || call?.hook != nil, let fault = faults.fault {
            switch fault.kind {
            case .acceptThenDrop:
                plan.ending = .drop
            case .hang, .acceptThenHang:
                plan.ending = .drop
                plan.hangs = true
            case .acceptThenStatus:
                plan.answer = .fault(fault, now: wall)
            case .truncate:
                plan.ending = .truncate
            case .dropBefore, .latency, .status, .redirect:
                break
            }
        }
        nextWait(&plan, in: &world)
        return plan
    }

    // MARK: Waiting

    /// Moves a plan on to its next wait; `waiter` is nil when the answer may leave.
    func nextWait(_ plan: inout Plan) {
        state.withLock { nextWait(&plan, in: &$0) }
    }

    private func nextWait(_ plan: inout Plan, in world: inout World) {
        plan.waiter = nil
        plan.waiting = nil
        while plan.stage < 3, let call = world.air[plan.call], !world.isStopping {
            plan.stage += 1
            switch plan.stage {
            case 1 where plan.milliseconds > 0: plan.waiting = .latency
            case 2 where plan.hangs: plan.waiting = .hang
            case 3 where world.hold?.covers(call) ?? false: plan.waiting = .hold
            default: continue
            }
            let waiter = Waiter()
            plan.waiter = waiter
            world.air[plan.call]?.waiter = waiter
            world.air[plan.call]?.waiting = plan.waiting
            return
        }
    }

    /// Nothing waits any more: delayed answers leave, held and hanging ones do not.
    func stop() {
        let waiters = state.withLock { world in
            world.isStopping = true
            return world.takeWaiters { _ in true }
        }
        for waiter in waiters { waiter.fire(.stopping) }
    }

    // MARK: The end of a request

    /// The whole answer was handed to the kernel.
    func answerLeft(_ id: Int, status: Int) {
        state.withLock { end(id, status: status, reason: nil, in: &$0) }
        journal.commitSoon()
    }

    /// No answer left, and none will.
    func noAnswerLeft(_ id: Int, reason: String) {
        state.withLock { end(id, status: nil, reason: reason, in: &$0) }
        journal.commitSoon()
    }

    /// The connection ended while this request was on it.
    func connectionClosed(during id: Int) {
        let waiter: Waiter? = state.withLock { world in
            guard let call = world.air[id] else { return nil }
            if call.request == nil {
                world.air[id]?.isClosed = true
            } else {
                end(id, status: nil, reason: "closed", in: &world)
            }
            return call.waiter
        }
        journal.commitSoon()
        waiter?.fire(.closed)
    }

    /// Only the first end of a request counts.
    private func end(_ id: Int, status: Int?, reason: String?, in world: inout World) {
        guard let call = world.air.removeValue(forKey: id) else { return }
        var record = JournalRecord(status == nil ? .noAnswer : .answer)
        record.connection = call.connection
        record.request = call.request
        record.endpoint = call.endpoint.rawValue
        record.line = call.line
        record.hook = call.hook
        record.workspace = call.workspace
        record.key = call.key
        record.verdict = call.verdict
        record.attemptID = call.attemptID
        record.status = status
        record.reason = reason
        record.fault = call.faults.name
        self.record(&record, in: &world)
    }
}

extension Substring {
    fileprivate func trimmingSpaces() -> Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
