internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import TrunklineCore
internal import TrunklineEngine

/// What Hummingbird hands over with each request: the channel is all that is needed.
struct GatewayContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) { channel = source.channel }
}

/// HTTP on one side, the routes on the other; between them what is the same for all: ids, keys, limits, errors, the log.
struct GatewayResponder: HTTPResponder {
    typealias Context = GatewayContext

    let table: RouteTable
    let directory: Directory
    let limiter: RateLimiter
    let proxies: TrustedProxies
    let room: BodyRoom
    let logger: Logger

    /// What is known of a request while it is served, for the log and for errors.
    private struct Progress {
        let id: String
        var pattern = "-"
        var style: Route.Style = .problem
        var key: APIKeyID?
        var headers: [Answer.Header] = []
    }

    func respond(to request: Request, context: GatewayContext) async throws -> Response {
        let began = ContinuousClock.now
        var progress = Progress(id: RequestID.given(request.headers[.requestID]) ?? RequestID.fresh())
        var answer: Answer
        do {
            answer = try await serve(request, &progress)
        } catch let gone as ClientGone {
            log(request, context, progress, status: 0, since: began)
            // Hummingbird tells whoever sent what is not HTTP.
            throw gone.cause
        } catch let problem as Problem {
            answer = told(problem, progress)
        } catch {
            answer = told(failure(error, progress), progress)
        }
        answer.headers += progress.headers
        answer.headers.append(Answer.Header(.requestID, progress.id))
        log(request, context, progress, status: answer.status, since: began)
        return answer.response
    }

    // MARK: Serving

    private func serve(_ request: Request, _ progress: inout Progress) async throws -> Answer {
        let route: Route
        let path: [String: String]
        switch table.find(request.method, request.uri.path) {
        case .route(let found, let values): (route, path) = (found, values)
        case .otherMethods(let methods):
            var problem = Problem(.methodNotAllowed, "this path has \(methods.map(\.rawValue).joined(separator: ", "))")
            problem.headers = [Answer.Header(.allow, methods.map(\.rawValue).joined(separator: ", "))]
            throw problem
        case .nothing: throw Problem(.notFound, "there is no such path; /openapi.yaml lists them")
        }
        progress.pattern = route.pattern
        progress.style = route.style
        let key = try authenticate(request, route, &progress)
        try route.admit(path)
        let query = try Self.query(request, route)
        try Self.checkMediaTypes(request, route)
        let id = progress.id
        return try await room.with(Self.announcedBytes(request, route)) {
            let body = try await Self.body(of: request, route)
            return try await route.handle(
                Call(
                    id: id,
                    path: path,
                    query: query,
                    target: request.uri.path + (request.uri.query.map { "?" + $0 } ?? ""),
                    headers: request.headers,
                    key: key,
                    body: body
                )
            )
        }
    }

    /// The caller's key, on routes that need one.
    private func authenticate(_ request: Request, _ route: Route, _ progress: inout Progress) throws -> APIKey? {
        guard case .key(let scope) = route.access else { return nil }
        let key = try directory.key(presented: request.headers[.authorization])
        progress.key = key.id
        if let limit = key.requestsPerMinute {
            let state = limiter.take(key.id, perMinute: limit)
            progress.headers = state.headers
            if let wait = state.retryAfter {
                throw Problem(.rateLimited, "this key may ask \(limit) times a minute", retryAfter: wait)
            }
        }
        guard key.allows(scope) else {
            throw Problem(.forbidden, "this key has not the scope \(scope.rawValue)")
        }
        return key
    }

    private static func query(_ request: Request, _ route: Route) throws -> [String: String] {
        if route.style == .sender { return [:] }
        var values: [String: String] = [:]
        for pair in (request.uri.query ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentEncoding.decode(parts[0], plusIsSpace: true),
                let value = PercentEncoding.decode(parts.count == 2 ? parts[1] : "", plusIsSpace: true)
            else { throw Problem(.malformed, "the query holds half an escape, or is not UTF-8") }
            guard route.parameters.contains(name) else {
                let known = route.parameters.isEmpty ? "none" : route.parameters.sorted().joined(separator: ", ")
                throw Problem(.unknownParameter, "the query has a parameter that is not known here; known: \(known)")
            }
            guard values.updateValue(value, forKey: name) == nil else {
                throw Problem(.unknownParameter, "the query has the parameter \(name) twice", field: name)
            }
        }
        return values
    }

    private static func checkMediaTypes(_ request: Request, _ route: Route) throws {
        let accepted = request.headers[values: .accept]
        if route.style != .sender, !accepted.isEmpty, !MediaType.accepts(accepted, route.produces) {
            throw Problem(.notAcceptable, "this answers with \(route.produces)")
        }
        if route.body == .none { return }
        if let coding = request.headers[.contentEncoding], coding.lowercased() != "identity" {
            throw Problem(.unsupportedMediaType, "a body is taken as it is, without Content-Encoding")
        }
        guard case .json = route.body else { return }
        guard MediaType.isJSON(request.headers[.contentType]) else {
            throw Problem(.unsupportedMediaType, "the body must be application/json, in UTF-8")
        }
    }

    /// How much a body may hold at most, as far as that is known before it is read.
    private static func announcedBytes(_ request: Request, _ route: Route) -> Int {
        // Whoever looks whether this lives is not to be sent away because others bring much.
        if route.body == .none { return 0 }
        let longest = route.longestBody
        return min(request.headers[.contentLength].flatMap { Int($0) } ?? longest, longest)
    }

    private static func body(of request: Request, _ route: Route) async throws -> [UInt8] {
        let longest = route.longestBody
        let tooLarge = Problem(.tooLarge, "the body is longer than \(longest) bytes")
        let announced = request.headers[.contentLength].flatMap { Int($0) } ?? 0
        do {
            if announced > longest {
                // Whoever is still sending when the connection ends may never read the answer. Nothing of it is kept.
                if announced <= longestUnread { for try await _ in request.body {} }
                throw tooLarge
            }
            return Array(buffer: try await request.body.collect(upTo: longest))
        } catch is NIOTooManyBytesError {
            throw tooLarge
        } catch let problem as Problem {
            throw problem
        } catch {
            throw ClientGone(cause: error)
        }
    }

    /// How many bytes of a body that is too large are taken off the wire before that is said.
    private static let longestUnread = 64 << 20

    // MARK: Errors and the log

    private func told(_ problem: Problem, _ progress: Progress) -> Answer {
        switch progress.style {
        case .problem, .sender: problem.answer(instance: progress.id)
        case .ezwhatsapp: EZWhatsAppShapes.error(problem)
        }
    }

    /// What is no problem of the caller's.
    private func failure(_ error: any Error, _ progress: Progress) -> Problem {
        let explanation = Explanation(error)
        if explanation.kind == .unreachable || explanation.mayPass {
            return .away("this needs the database, which does not answer at this moment")
        }
        logger.error(
            "request failed",
            metadata: ["request": "\(progress.id)", "route": "\(progress.pattern)", "reason": "\(explanation.words)"]
        )
        return Problem(.failed, "something failed; the log has more under this request's id")
    }

    /// One line per request: without its path, which may hold somebody's data, and without anything that it carries.
    private func log(
        _ request: Request,
        _ context: GatewayContext,
        _ progress: Progress,
        status: Int,
        since began: ContinuousClock.Instant
    ) {
        guard logger.logLevel <= .info else { return }
        let peer = context.channel.remoteAddress?.ipAddress ?? "-"
        let name: HTTPField.Name = proxies.header == .forwarded ? .forwarded : .forwardedFor
        let client = proxies.client(peer: peer, header: request.headers[values: name])
        let span = ContinuousClock.now - began
        var facts: Logger.Metadata = [
            "request": "\(progress.id)", "method": "\(request.method.rawValue)", "route": "\(progress.pattern)",
            "status": status == 0 ? "gone" : "\(status)", "microseconds": "\(Int(span / .microseconds(1)))",
            "client": "\(client)",
        ]
        if let key = progress.key { facts["key"] = "\(key)" }
        logger.info("request", metadata: facts)
    }
}
