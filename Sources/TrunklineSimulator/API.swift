import Crypto

/// What of the Channel API a request is for.
enum APIEndpoint: String, Sendable {
    case text
    case media
    case health
    case webhooks
    /// Not of the Channel API: a receiver of signed webhooks.
    case hook
    case other

    static let prefix = "/api/v1"

    /// - Parameter path: the part of the path behind `prefix`.
    init(path: some StringProtocol) {
        switch path {
        case "/messages/text": self = .text
        case "/messages/media": self = .media
        case "/health": self = .health
        case "/webhooks": self = .webhooks
        default: self = .other
        }
    }
}

/// An answer before it is HTTP.
struct Answer: Sendable, Hashable {
    var status: Int
    var contentType: String? = "application/json"
    var retryAfter: String?
    var location: String?
    var body: [UInt8]

    init(status: Int, contentType: String? = "application/json", body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    static func error(_ status: Int, _ code: String, _ message: String) -> Answer {
        Answer(
            status: status,
            body: JSONWriter.object { writer in
                writer.object("error") { writer in
                    writer.member("code", code)
                    writer.member("message", message)
                }
            }
        )
    }

    static func fault(_ fault: Fault, now: Int64) -> Answer {
        var answer = Answer.error(fault.status, "simulated_fault", "fault \(fault.id) of the simulator")
        if fault.kind == .redirect {
            answer.location = fault.location
        }
        answer.retryAfter = fault.retryAfter?.header(now: now)
        return answer
    }

    /// The answer to a send that was accepted before, in the form that the settings ask for.
    static func replay(attemptID: String, line: String, _ settings: SimulatorSettings) -> Answer {
        switch settings.replayStatus {
        case 204: Answer(status: 204, contentType: nil, body: [])
        case 409: .error(409, "duplicate", "this Idempotency-Key was accepted before")
        case let status:
            .accepted(
                attemptID: attemptID,
                line: line,
                status: status,
                body: settings.replayBody ?? settings.acceptedBody
            )
        }
    }

    /// The 202 in the form that the settings ask for.
    static func accepted(attemptID: String, line: String, status: Int, body: SimulatorSettings.AcceptedBody) -> Answer {
        switch body {
        case .status:
            Answer(
                status: status,
                body: JSONWriter.object { writer in
                    writer.member("status", "queued")
                    writer.member("attemptId", attemptID)
                    writer.member("lineId", line)
                }
            )
        case .id:
            Answer(status: status, body: JSONWriter.object { $0.member("id", attemptID) })
        case .message:
            Answer(
                status: status,
                body: JSONWriter.object { writer in
                    writer.object("message") { writer in
                        writer.member("id", attemptID)
                        writer.member("status", "queued")
                    }
                }
            )
        case .object: Answer(status: status, body: Array("{}".utf8))
        case .empty: Answer(status: status, contentType: nil, body: [])
        case .html:
            Answer(
                status: status,
                contentType: "text/html; charset=utf-8",
                body: Array("<!doctype html><title>Accepted</title><p>Your message was queued.</p>\n".utf8)
            )
        case .large:
            Answer(
                status: status,
                body: JSONWriter.object { writer in
                    writer.member("padding", String(repeating: "x", count: 70 * 1_024))
                    writer.member("attemptId", attemptID)
                }
            )
        }
    }
}

/// A request that the API refuses before it looks at keys or lines.
struct APIRefusal: Error, Sendable, Hashable {
    var status: Int
    var code: String
    var message: String

    static func invalid(_ message: String) -> APIRefusal {
        APIRefusal(status: 400, code: "invalid_request", message: message)
    }
}

/// The body of a send, checked.
struct MessageBody: Sendable, Hashable {
    var to: String
    var text: String

    static func text(_ bytes: [UInt8]) throws(APIRefusal) -> MessageBody {
        let json = try object(bytes)
        let to = try recipient(json)
        guard let text = json["body"]?.string, !text.allSatisfy(\.isWhitespace) else {
            throw .invalid("'body' must be a text that is not empty")
        }
        if let button = json["ctaUrlButton"], button != .null {
            guard case .object = button else { throw .invalid("'ctaUrlButton' must be an object") }
            guard let label = button["displayText"]?.string, !label.allSatisfy(\.isWhitespace) else {
                throw .invalid("'ctaUrlButton.displayText' must be a text that is not empty")
            }
            guard let url = button["url"]?.string, WebURL(url) != nil else {
                throw .invalid("'ctaUrlButton.url' must be an absolute http or https URL")
            }
        }
        return MessageBody(to: to, text: text)
    }

    /// The documentation of media sends was not available: any object with a recipient will do.
    static func media(_ bytes: [UInt8]) throws(APIRefusal) -> MessageBody {
        let json = try object(bytes)
        return MessageBody(to: try recipient(json), text: json["caption"]?.string ?? "")
    }

    private static func object(_ bytes: [UInt8]) throws(APIRefusal) -> JSON {
        let json: JSON
        do {
            json = try JSON.parse(bytes)
        } catch {
            throw .invalid("the body is not JSON: \(error.reason) at byte \(error.offset)")
        }
        guard case .object = json else { throw .invalid("the body must be a JSON object") }
        return json
    }

    private static func recipient(_ json: JSON) throws(APIRefusal) -> String {
        guard let to = json["to"]?.string, isPhoneNumber(to) else {
            throw .invalid("'to' must be a phone number like +34600111222")
        }
        return to
    }

    /// E.164: `+`, then 8 to 15 digits, the first not 0.
    static func isPhoneNumber(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count >= 9, bytes.count <= 16, bytes[0] == UInt8(ascii: "+"), bytes[1] != UInt8(ascii: "0") else {
            return false
        }
        return bytes.dropFirst().allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
}

/// The registration of a webhook, checked.
struct WebhookRegistration: Sendable, Hashable {
    static let knownEvents = ["messages.post", "statuses.post", "chats.post"]

    var targetURL: String
    var events: [String]
    var enabled: Bool
    var persistent: Bool

    static func parse(_ bytes: [UInt8], allowPrivate: Bool) throws(APIRefusal) -> WebhookRegistration {
        let json: JSON
        do {
            json = try JSON.parse(bytes)
        } catch {
            throw .invalid("the body is not JSON: \(error.reason) at byte \(error.offset)")
        }
        return try parse(json, allowPrivate: allowPrivate)
    }

    static func parse(_ json: JSON, allowPrivate: Bool) throws(APIRefusal) -> WebhookRegistration {
        guard let target = (json["targetUrl"] ?? json["url"])?.string, let url = WebURL(target) else {
            throw .invalid("'targetUrl' must be an absolute http or https URL")
        }
        guard allowPrivate || !url.isPrivate else {
            throw .invalid("'targetUrl' must not be a local, private or link-local address")
        }
        var events = knownEvents
        if let list = json["events"], list != .null {
            guard case .array(let values) = list, !values.isEmpty else {
                throw .invalid("'events' must be a list of event names")
            }
            events = []
            for value in values {
                guard let name = value.string, knownEvents.contains(name) else {
                    throw .invalid("'events' knows only \(knownEvents.joined(separator: ", "))")
                }
                events.append(name)
            }
        }
        if let format = json["payloadFormat"], format != .null, format != .string("whapi") {
            throw .invalid("'payloadFormat' must be whapi")
        }
        func flag(_ name: String) throws(APIRefusal) -> Bool {
            guard let value = json[name], value != .null else { return true }
            guard let flag = value.bool else { throw .invalid("'\(name)' must be true or false") }
            return flag
        }
        return WebhookRegistration(
            targetURL: target,
            events: events,
            enabled: try flag("enabled"),
            persistent: try flag("persistent")
        )
    }

    func write(to writer: inout JSONWriter) {
        writer.member("targetUrl", targetURL)
        writer.strings("events", events)
        writer.member("payloadFormat", "whapi")
        writer.member("enabled", enabled)
        writer.member("persistent", persistent)
    }
}

/// As much of an absolute http or https URL as the simulator has to know.
struct WebURL: Sendable, Hashable {
    var scheme: String
    var host: String

    init?(_ text: String) {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }), let colon = text.firstIndex(of: ":") else {
            return nil
        }
        scheme = text[..<colon].lowercased()
        guard scheme == "http" || scheme == "https" else { return nil }
        let rest = text[text.index(after: colon)...]
        guard rest.hasPrefix("//") else { return nil }
        var authority = rest.dropFirst(2).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if let at = authority.lastIndex(of: "@") { authority = authority[authority.index(after: at)...] }
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = String(authority[authority.index(after: authority.startIndex)..<end]).lowercased()
        } else {
            host = String(authority.prefix { $0 != ":" }).lowercased()
        }
        if host.isEmpty { return nil }
    }

    /// Whether the host is written as a loopback, private or link-local address, or as a name of this machine. A public
    /// name that resolves to such an address is not looked up.
    var isPrivate: Bool {
        if host == "localhost" || host.hasSuffix(".localhost") || host.hasSuffix(".local") { return true }
        if host.contains(":") {
            let mapped = host.hasPrefix("::ffff:") ? Self.isPrivateIPv4(String(host.dropFirst(7))) ?? false : false
            return host == "::1" || host == "::" || host.hasPrefix("fc") || host.hasPrefix("fd")
                || ["fe8", "fe9", "fea", "feb"].contains { host.hasPrefix($0) } || mapped
        }
        return Self.isPrivateIPv4(host) ?? false
    }

    /// nil when the text is no IPv4 address.
    private static func isPrivateIPv4(_ text: String) -> Bool? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard parts.count == 4, let first = parts[0], let second = parts[1], parts[2] != nil, parts[3] != nil else {
            return nil
        }
        switch (first, second) {
        case (0, _), (10, _), (127, _), (169, 254), (192, 168), (172, 16...31): return true
        default: return false
        }
    }
}

/// The first 16 bytes of the SHA-256 of some bytes, hexadecimal: what the journal calls `bodyHash`.
func shortHash(_ bytes: [UInt8]) -> String {
    hex(SHA256.hash(data: bytes).prefix(16))
}
