internal import HTTPTypes
internal import TrunklineCore

/// One thing that can be asked of the gateway.
struct Route: Sendable {
    /// Who may ask.
    enum Access: Sendable, Hashable {
        case everybody
        /// Whoever has an API key with this scope.
        case key(APIScope)
    }

    /// What the body of a request is.
    enum Body: Sendable, Hashable {
        case none
        /// JSON of so many bytes at most.
        case json(longest: Int)
        /// So many bytes at most, of whatever kind.
        case raw(longest: Int)
    }

    /// Whose requests these are, and in what shapes errors are told.
    enum Style: Sendable, Hashable {
        case problem, ezwhatsapp
        /// Of others' programs, which ask as they like: query and media types are the handler's. Errors are problems.
        case sender
    }

    /// Whether a request may bring its body, by the parts of its path. Throws a ``Problem``.
    typealias Admission = @Sendable ([String: String]) throws -> Void
    typealias Handler = @Sendable (Call) async throws -> Answer

    let method: HTTPRequest.Method
    /// The path, with `{name}` for a part that varies: as it is logged, because what stands there may be somebody's data.
    let pattern: String
    var access: Access
    var style: Style = .problem
    /// Names of the query's parameters.
    var parameters: Set<String> = []
    var body: Body = .none
    /// The media type of its answers that are no errors.
    var produces = Answer.json
    /// Asked before anything of the body is read, or room is kept for it.
    var admit: Admission = { _ in }
    let handle: Handler

    /// Bytes; where none is meant there is room for a mistake that is told.
    var longestBody: Int {
        switch body {
        case .json(let longest), .raw(let longest): longest
        case .none: 1_024
        }
    }

    fileprivate let parts: [Substring]

    init(
        _ method: HTTPRequest.Method,
        _ pattern: String,
        _ access: Access,
        style: Style = .problem,
        parameters: Set<String> = [],
        body: Body = .none,
        produces: String = Answer.json,
        admit: @escaping Admission = { _ in },
        _ handle: @escaping Handler
    ) {
        self.method = method
        self.pattern = pattern
        self.access = access
        self.style = style
        self.parameters = parameters
        self.body = body
        self.produces = produces
        self.admit = admit
        self.handle = handle
        parts = pattern.split(separator: "/", omittingEmptySubsequences: false)
    }
}

/// All that can be asked: the only list of it.
struct RouteTable: Sendable {
    enum Found: Sendable {
        case route(Route, [String: String])
        /// The path is known, under these methods.
        case otherMethods([HTTPRequest.Method])
        case nothing
    }

    let routes: [Route]

    init(_ routes: [Route]) {
        self.routes = routes
        let names = routes.map { $0.method.rawValue + " " + $0.pattern }
        precondition(Set(names).count == names.count, "each route is there once")
    }

    /// - Parameter path: without the query, as it came.
    func find(_ method: HTTPRequest.Method, _ path: String) -> Found {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        var others: [HTTPRequest.Method] = []
        for route in routes where route.parts.count == parts.count {
            guard let values = Self.match(route.parts, parts) else { continue }
            if route.method == method { return .route(route, values) }
            others.append(route.method)
        }
        return others.isEmpty ? .nothing : .otherMethods(others)
    }

    private static func match(_ pattern: [Substring], _ parts: [Substring]) -> [String: String]? {
        var values: [String: String] = [:]
        for (wanted, part) in zip(pattern, parts) {
            if wanted.first == "{" {
                guard let value = PercentEncoding.decode(part), !value.isEmpty else { return nil }
                values[String(wanted.dropFirst().dropLast())] = value
            } else if wanted != part {
                return nil
            }
        }
        return values
    }
}

/// The escapes of URLs, strictly.
enum PercentEncoding {
    /// Nil for half an escape or for what is not UTF-8.
    static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x25:
                guard let high = rest.popFirst().flatMap(value), let low = rest.popFirst().flatMap(value) else {
                    return nil
                }
                bytes.append(high << 4 | low)
            case 0x2B where plusIsSpace: bytes.append(0x20)
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }
}
