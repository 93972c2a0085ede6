import CurlDriver
import TrunklineCore

@testable import TrunklineEngine

/// One call of a worker.
final class SimCall {
    let process: SimProcess
    let request: HTTPRequest
    let line: String
    /// The key of a send; nil for a preflight.
    let key: String?
    /// When the driver was really asked: after the thaw of a process that froze right before.
    var startedAt: World.Time
    let mayLeave: () -> Bool
    let done: (Result<HTTPResponse, HTTPFailure>) -> Void
    /// When the statement that began its attempt was given.
    var begunAt: World.Time = 0
    var attempt: Int32 = 0
    var lane: Int32 = 0
    var person: Int64 = 0
    var leftAt: World.Time?
    var acceptedAt: World.Time?
    /// When the worker read that it was accepted.
    var knownAt: World.Time?
    var endedAt: World.Time?
    /// The process stood still between its last look and its bytes: no program can do anything about that.
    var leftAfterFreeze = false

    init(
        _ process: SimProcess,
        _ request: HTTPRequest,
        line: String,
        key: String?,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        self.process = process
        self.request = request
        self.line = line
        self.key = key
        self.mayLeave = mayLeave
        self.done = done
        startedAt = process.world.now
    }

    /// From then on nothing of it can happen any more at the other side.
    var deadline: World.Time { startedAt + request.totalTimeout.microseconds }
}

/// The carrier's API: lines with a state of their own, keys that it remembers or not, and every kind of answer.
final class SimAPI {
    static let base = "https://api.example/"

    enum Health: CaseIterable { case sendable, transient, human, unclear }

    struct LineState {
        var health = Health.sendable
        /// Since when it cannot be sent into; nil when it can.
        var closedSince: World.Time?
    }

    /// How often each fault is met, of all calls.
    struct Rates {
        var noConnection = 0.0
        var refused = 0.0
        var tokenRefused = 0.0
        var slowDown = 0.0
        var conflict = 0.0
        var serverError = 0.0
        var silence = 0.0
        var reset = 0.0
        var unclearHealth = 0.0
        var slow = 0.0
        var slowConnect = 0.02
    }

    let world: World
    let remembersKeys: Bool
    var rates = Rates()
    /// Nobody can reach it.
    var isAway = false
    var lines: [String: LineState] = [:]
    /// Every call that was accepted, by key, in order.
    private(set) var accepted: [String: [SimCall]] = [:]
    private var remembered: Set<String> = []
    var onAccept: ((SimCall, _ earlier: [SimCall]) -> Void)?

    init(world: World, remembersKeys: Bool) {
        self.world = world
        self.remembersKeys = remembersKeys
    }

    func set(_ line: String, _ health: Health) {
        let before = lines[line] ?? LineState()
        world.write("line \(line) is \(health)")
        lines[line] = LineState(
            health: health,
            closedSince: health == .sendable ? nil : before.closedSince ?? world.now
        )
    }

    // MARK: Calls

    /// The request has arrived. `answer` is given the answer, or nil: the connection is reset. Without a call of it there
    /// is no answer at all.
    func arrived(_ call: SimCall, answer: @escaping (HTTPResponse?) -> Void) {
        if call.key == nil { return asked(call, answer: answer) }
        let state = lines[call.line] ?? LineState()
        if state.health != .sendable {
            world.hits[.notSendable] += 1
            return reply(call, world.any(of: [409, 423, 503]), answer)
        }
        if world.chance(rates.refused) {
            world.hits[.refused] += 1
            return reply(call, world.any(of: [400, 413, 422, 418]), answer)
        }
        if world.chance(rates.tokenRefused) {
            world.hits[.tokenRefused] += 1
            return reply(call, world.any(of: [401, 403, 404]), answer)
        }
        if world.chance(rates.slowDown) {
            world.hits[.slowDown] += 1
            return reply(call, 429, answer, retryAfter: world.any(of: [nil, "1", "3", "soon"]))
        }
        if world.chance(rates.conflict) {
            world.hits[.conflict] += 1
            return reply(call, 409, answer)
        }
        if world.chance(rates.serverError) {
            if world.chance(0.5) {
                world.hits[.serverError] += 1
            } else {
                world.hits[.serverErrorAccepted] += 1
                accept(call)
            }
            return reply(call, world.any(of: [500, 502, 503, 408]), answer)
        }
        if world.chance(rates.silence) {
            if world.chance(0.5) {
                world.hits[.timeout] += 1
                return
            }
            world.hits[.lostAnswer] += 1
            // It may work for as long as it likes; who asked has a time-out, and a margin for what is late all the same.
            let latest = world.chance(0.2) ? call.deadline - world.now + World.second : 1_500_000
            return world.after(world.any(0...latest)) { [self] in accept(call) }
        }
        if world.chance(rates.reset) {
            world.hits[.reset] += 1
            if world.chance(0.5) { accept(call) }
            return world.after(world.any(100...50_000)) { answer(nil) }
        }
        accept(call)
        reply(call, 202, answer)
    }

    private func asked(_ call: SimCall, answer: @escaping (HTTPResponse?) -> Void) {
        if world.chance(rates.unclearHealth) {
            world.hits[.healthUnclear] += 1
            switch world.any(0...3) {
            case 0: return
            case 1: return world.after(1_000) { answer(nil) }
            case 2: return reply(call, 500, answer)
            default: return reply(call, 429, answer)
            }
        }
        let health = (lines[call.line] ?? LineState()).health
        let body: String
        switch health {
        case .sendable:
            body = Self.answer(channel: "AUTH", lifecycle: "ready", state: "sendable", isSendable: true)
        case .transient:
            body = Self.answer(channel: "INIT", lifecycle: "connecting", state: "connecting", isSendable: false)
        case .human:
            body = Self.answer(channel: "QR", lifecycle: "logged_out", state: "not_sendable", isSendable: false)
        case .unclear:
            world.hits[.strangeWords] += 1
            body = world.any(of: [
                Self.answer(channel: "AUTH", lifecycle: "ready", state: "who_knows", isSendable: true),
                Self.answer(channel: "AUTH", lifecycle: "ready", state: "sendable", isSendable: false),
                "{\"line\":null}", "<html>",
            ])
        }
        reply(call, 200, answer, body: body)
    }

    private static func answer(channel: String, lifecycle: String, state: String, isSendable: Bool) -> String {
        """
        {"health":{"status":{"text":"\(channel)"}},"line":{"lifecycleState":"\(lifecycle)",\
        "effectiveSendState":"\(state)","sendable":\(isSendable)}}
        """
    }

    private func reply(
        _ call: SimCall,
        _ status: Int,
        _ answer: @escaping (HTTPResponse?) -> Void,
        retryAfter: String? = nil,
        body: String = "{\"id\":\"m1\"}"
    ) {
        let delay = world.chance(rates.slow) ? world.any(500_000...4_500_000) : world.any(500...60_000)
        let headers = retryAfter.map { [HTTPResponse.Header("Retry-After", $0)] } ?? []
        world.after(delay) { answer(HTTPResponse(status: status, body: Array(body.utf8), headers: headers)) }
    }

    private func accept(_ call: SimCall) {
        let key = call.key!
        if remembersKeys, !remembered.insert(key).inserted {
            world.hits[.keyRemembered] += 1
            call.acceptedAt = world.now
            return
        }
        call.acceptedAt = world.now
        let earlier = accepted[key] ?? []
        accepted[key, default: []].append(call)
        world.trace("accepted \(key) from worker \(call.process.number)")
        onAccept?(call, earlier)
    }
}

/// The HTTP client of one worker.
final class SimCaller: HTTPCaller {
    private let process: SimProcess
    private let world: World
    private let api: SimAPI
    private let maximumCalls: Int
    private var open: [SimCall] = []
    private var isClosed = false
    /// Told right after the bytes of a send were allowed to leave.
    var onLeave: ((SimCall) -> Void)?

    init(_ process: SimProcess, _ api: SimAPI, maximumCalls: Int) {
        self.process = process
        self.api = api
        self.maximumCalls = maximumCalls
        world = process.world
    }

    var freeSlots: Int { maximumCalls - open.count }

    func send(
        _ request: HTTPRequest,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        precondition(freeSlots > 0 && !isClosed, "send needs a free slot")
        let path = request.url.dropFirst(SimAPI.base.count)
        let call = SimCall(
            process,
            request,
            line: String(path.prefix { $0 != "/" }),
            key: request.method == .post ? request.headers.first { $0.0 == "Idempotency-Key" }?.1 : nil,
            mayLeave: mayLeave,
            done: done
        )
        open.append(call)
        process.output { [self] in
            call.startedAt = world.now
            world.at(call.deadline) { [self] in
                process.input { [self] in
                    guard call.endedAt == nil else { return }
                    fail(call, .timeout, "no whole answer within the total time")
                }
            }
            if api.isAway || world.chance(api.rates.noConnection) {
                world.hits[.connectFailed] += 1
                world.after(world.any(500...3_000_000)) { [self] in
                    process.input { [self] in fail(call, .connect, "no connection") }
                }
                return
            }
            world.after(
                world.chance(api.rates.slowConnect)
                    ? world.any(50_000...call.request.connectTimeout.microseconds) : world.any(200...20_000)
            ) { [self] in
                process.input { [self] in connected(call) }
            }
        }
    }

    private func connected(_ call: SimCall) {
        guard call.endedAt == nil else { return }
        guard call.mayLeave() else {
            world.at(world.now) { [self] in
                process.input { [self] in fail(call, .held, "called off") }
            }
            return
        }
        // The fact that counts is that they may leave; a process that freezes here sends them when it thaws.
        let looked = world.now
        process.output { [self] in
            call.leftAt = world.now
            call.leftAfterFreeze = world.now > looked
            if call.key != nil { onLeave?(call) }
            world.after(world.any(200...20_000)) { [self] in
                api.arrived(call) { [self] response in
                    process.input { [self] in
                        guard call.endedAt == nil else { return }
                        guard let response else { return fail(call, .broken, "the connection was reset") }
                        if call.acceptedAt != nil, (200...299).contains(response.status) { call.knownAt = world.now }
                        end(call, .success(response))
                    }
                }
            }
        }
    }

    private func fail(_ call: SimCall, _ cause: HTTPFailure.Cause, _ reason: String) {
        guard call.endedAt == nil else { return }
        end(call, .failure(HTTPFailure(sent: call.leftAt == nil ? .surelyNot : .maybe, cause: cause, reason: reason)))
    }

    private func end(_ call: SimCall, _ result: Result<HTTPResponse, HTTPFailure>) {
        call.endedAt = world.now
        open.removeAll { $0 === call }
        call.done(result)
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        for call in open { fail(call, .cancelled, "the call was cancelled") }
    }
}
