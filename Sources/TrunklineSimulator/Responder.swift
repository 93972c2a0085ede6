import HTTPTypes
import Hummingbird
import NIOCore

/// What Hummingbird hands to the responder with each request: the channel is all that is needed.
struct SimulatorContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        channel = source.channel
    }
}

/// HTTP on one side, the simulator's decisions on the other.
struct SimulatorResponder: HTTPResponder {
    typealias Context = SimulatorContext

    let simulator: Simulator
    let webhooks: WebhookSender
    let access: ControlAccess

    /// Thrown when the connection was closed on purpose: there is nobody to answer.
    private struct Closed: Error {}

    private static let longestBody = 1_048_576
    private static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    private static let webhookID = HTTPField.Name("webhook-id")!
    private static let webhookTimestamp = HTTPField.Name("webhook-timestamp")!
    private static let webhookSignature = HTTPField.Name("webhook-signature")!
    private static let deliveryID = HTTPField.Name("X-EZW-Delivery-Id")!
    private static let fetchSite = HTTPField.Name("Sec-Fetch-Site")!

    func respond(to request: Request, context: SimulatorContext) async throws -> Response {
        let path = request.uri.path
        if path.hasPrefix(Simulator.controlPrefix) {
            return try await control(request, path: String(path.dropFirst(Simulator.controlPrefix.count)))
        }
        guard let connection = simulator.connections.find(context.channel) else {
            return response(.error(503, "not_ready", "the connection is closing"))
        }
        let hook = Self.hook(path)
        let endpoint: APIEndpoint =
            if hook != nil {
                .hook
            } else if path.hasPrefix(APIEndpoint.prefix) {
                APIEndpoint(path: path.dropFirst(APIEndpoint.prefix.count))
            } else {
                .other
            }
        let arrival = simulator.begin(
            connection,
            endpoint,
            hook: hook,
            authorization: request.headers[.authorization],
            key: request.headers[hook == nil ? Self.idempotencyKey : Self.webhookID]
        )
        guard !arrival.isDropped else { throw await close(context.channel) }
        let plan = try await decide(arrival.call, endpoint, request)
        do {
            try await simulator.journal.commit()
        } catch {
            // Without a journal nothing may be answered: the accounts would be wrong.
            simulator.failed.fire(.closed)
            throw await close(context.channel)
        }
        if !plan.events.isEmpty { await webhooks.enqueue(plan.events) }
        return try await carryOut(plan, context.channel)
    }

    /// The name of the hook that a path leads to.
    private static func hook(_ path: String) -> String? {
        guard path.hasPrefix(Hook.prefix) else { return nil }
        let name = path.dropFirst(Hook.prefix.count)
        return World.isLineID(name) ? String(name) : nil
    }

    private static func hookRequest(_ request: Request) -> HookRequest {
        HookRequest(
            id: request.headers[webhookID],
            timestamp: request.headers[webhookTimestamp],
            signature: request.headers[webhookSignature],
            deliveryID: request.headers[deliveryID],
            contentType: request.headers[.contentType]
        )
    }

    private func decide(_ call: Int, _ endpoint: APIEndpoint, _ request: Request) async throws -> Simulator.Plan {
        guard endpoint != .other else {
            return simulator.refuse(call, .notFound, .error(404, "not_found", "no such path"))
        }
        guard request.method == (endpoint == .health ? .get : .post) else {
            return simulator.refuse(call, .notFound, .error(405, "method_not_allowed", "this path has another method"))
        }
        if endpoint == .health {
            return simulator.health(call, query: Self.query(request))
        }
        let body: [UInt8]
        do {
            body = Array(buffer: try await request.body.collect(upTo: Self.longestBody))
        } catch is NIOTooManyBytesError {
            return simulator.refuse(call, .invalid, .error(413, "too_large", "the body is longer than 1 MiB"))
        } catch {
            simulator.bodyLost(call)
            throw error
        }
        if endpoint == .hook { return simulator.delivery(call, Self.hookRequest(request), body: body) }
        if endpoint == .webhooks { return simulator.registerWebhook(call, body: body) }
        return simulator.message(call, contentType: request.headers[.contentType], body: body)
    }

    private func carryOut(_ plan: Simulator.Plan, _ channel: any Channel) async throws -> Response {
        var plan = plan
        while let waiter = plan.waiter {
            var timer: Scheduled<Void>?
            if plan.waiting == .latency {
                timer = channel.eventLoop.scheduleTask(in: .milliseconds(Int64(plan.milliseconds))) {
                    waiter.fire(.elapsed)
                }
            }
            let reason = await waiter.wait()
            timer?.cancel()
            switch reason {
            case .elapsed, .released:
                break
            case .closed:
                throw await close(channel)
            case .stopping:
                guard plan.waiting == .latency else {
                    simulator.noAnswerLeft(plan.call, reason: "stopped")
                    throw await close(channel)
                }
            }
            simulator.nextWait(&plan)
        }
        switch plan.ending {
        case .answer:
            return response(plan.answer)
        case .drop:
            simulator.noAnswerLeft(plan.call, reason: "dropped")
            throw await close(channel)
        case .truncate:
            return truncated(plan, channel)
        }
    }

    /// Half of the answer, then the end of the connection.
    private func truncated(_ plan: Simulator.Plan, _ channel: any Channel) -> Response {
        let simulator = simulator
        let whole = max(64, plan.answer.body.count)
        let half = ByteBuffer(bytes: plan.answer.body.prefix(plan.answer.body.count / 2))
        var response = response(plan.answer)
        response.body = ResponseBody(contentLength: whole) { writer in
            try await writer.write(half)
            simulator.noAnswerLeft(plan.call, reason: Fault.Kind.truncate.rawValue)
            try? await channel.close()
            throw Closed()
        }
        response.headers[.contentLength] = String(whole)
        return response
    }

    private func close(_ channel: any Channel) async -> Closed {
        try? await channel.close()
        return Closed()
    }

    private func response(_ answer: Answer) -> Response {
        var headers = HTTPFields()
        if let contentType = answer.contentType { headers[.contentType] = contentType }
        if let retryAfter = answer.retryAfter { headers[.retryAfter] = retryAfter }
        if let location = answer.location { headers[.location] = location }
        return Response(
            status: HTTPResponse.Status(code: answer.status),
            headers: headers,
            body: answer.body.isEmpty ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
        )
    }

    private func control(_ request: Request, path: String) async throws -> Response {
        let body = Array(buffer: try await request.body.collect(upTo: Self.longestBody))
        let query = Self.query(request)
        do throws(ControlRefusal) {
            try access.check(
                authority: request.head.authority,
                origin: request.headers[.origin],
                site: request.headers[Self.fetchSite]
            )
            if request.method == .get, path == "/deliveries" {
                return response(try await webhooks.list(query))
            }
            return response(
                try simulator.control(method: request.method.rawValue, path: path, query: query, body: body)
            )
        } catch {
            let refusal = error
            return response(
                Answer(
                    status: refusal.status,
                    body: JSONWriter.object { writer in
                        writer.object("error") { writer in
                            writer.member("code", refusal.code)
                            writer.member("message", refusal.message)
                            if !refusal.known.isEmpty { writer.strings("known", refusal.known) }
                        }
                    }
                )
            )
        }
    }

    private static func query(_ request: Request) -> [(name: String, value: String)] {
        request.uri.queryParameters.map { (name: String($0.key), value: String($0.value)) }
    }
}
