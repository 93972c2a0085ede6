internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// What a module that was built for EZWhatsApp's Channel API calls, when its host and token are changed: the same paths and
/// shapes, with the queue behind them. The API key says which line and which purpose.
struct DropIn: Sendable {
    let accepting: Accepting
    let operators: OperatorPool

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/v1/messages/text",
                .key(.send),
                style: .ezwhatsapp,
                body: .json(longest: SendJob.maximumMessageBytes),
                text
            ),
            // No scope but the one that it sends with: the module has one token.
            Route(
                .get,
                "/api/v1/health",
                .key(.send),
                style: .ezwhatsapp,
                parameters: ["wakeup", "channel_type"],
                health
            ),
        ]
    }

    // MARK: Sending

    private func text(_ call: Call) async throws -> Answer {
        let caller = try call.caller()
        let binding = try Self.binding(of: caller)
        guard let key = call.idempotencyKeyText(), !key.isEmpty else {
            throw Problem.field(
                "Idempotency-Key",
                "the header Idempotency-Key is missing: it names the business fact, once"
            )
        }
        let draft = try TextDraft(call.body)
        let job = try Messages.refusing { () throws(Refusal) in
            try SendJob(
                line: binding.line,
                key: Self.key(key),
                to: PhoneNumber(draft.to),
                body: draft.body,
                button: draft.button,
                purpose: binding.purpose
            )
        }
        let accepted = try await accepting.accept(.send(job), bytes: call.body.count, for: caller)
        var answer = Answer.json(202) { json in
            json.member("status", "queued")
            json.member("attemptId", accepted.id?.description ?? accepted.key.value)
            json.member("lineId", accepted.lane.id)
        }
        answer.headers += accepted.headers
        return answer
    }

    /// A key as it is; one outside our grammar by its name: `h:` and its SHA-256.
    static func key(_ text: String) throws(Refusal) -> IdempotencyKey {
        if let key = try? IdempotencyKey(text) { return key }
        return try IdempotencyKey("h:" + Digest.hex(Digest.sha256(text.utf8)))
    }

    private static func binding(of caller: APIKey) throws -> APIKey.Binding {
        guard let binding = caller.binding else {
            throw Problem(.forbidden, "this API key is bound to no line; make one with --line and --purpose")
        }
        return binding
    }

    // MARK: Health

    private func health(_ call: Call) async throws -> Answer {
        let line = try Self.binding(of: call.caller()).line
        if accepting.desk.troubles.database != nil {
            throw Problem.away("the state of the line is not known at this moment; messages are queued all the same")
        }
        let lane = try await operators.with { try await $0.gate(of: line) }
        guard lane.removedAt == nil else { throw Problem.unknown(.line(line)) }
        let words = LineWords(lane)
        return Answer.json(200) { json in
            json.name("health")
            json.beginObject()
            json.name("status")
            json.beginObject()
            json.name("code")
            json.integer(words.code)
            json.member("text", words.text)
            json.endObject()
            json.endObject()
            json.name("line")
            json.beginObject()
            json.member("lifecycleState", words.lifecycle)
            json.member("effectiveSendState", words.effective)
            json.name("sendable")
            json.bool(words.effective == "sendable")
            json.endObject()
        }
    }

    /// A gate in EZWhatsApp's words.
    struct LineWords: Sendable, Hashable {
        let code: Int
        let text: String
        let lifecycle: String
        let effective: String

        init(_ lane: LaneRecord) { self.init(gate: lane.gate, isHeld: lane.isHeld(at: lane.readAt)) }

        init(gate: String, isHeld: Bool) {
            let (code, text, lifecycle, effective) =
                switch gate {
                case _ where isHeld: (4, "AUTH", "disabled", "disabled")
                case "held_human": (3, "QR", "qr_required", "qr_required")
                case "held_transient", "probing": (2, "LAUNCH", "reconnecting", "temporarily_unavailable")
                // Nobody asked yet, and nobody does before something is to be sent: nothing is known against it.
                default: (4, "AUTH", "connected", "sendable")
                }
            self.code = code
            self.text = text
            self.lifecycle = lifecycle
            self.effective = effective
        }
    }
}

/// The body of EZWhatsApp's text message.
private struct TextDraft {
    let to: String
    let body: String
    let button: Button?

    init(_ json: [UInt8]) throws {
        let document: JSONValue
        do throws(JSONError) {
            document = try JSONValue(parsing: json, maximumDepth: 8)
        } catch {
            throw Problem(.malformed, "the body is not JSON: \(error.sentence)")
        }
        let fields = try Self.fields(document, ["to", "body", "ctaUrlButton"], of: "")
        to = try Self.text(fields["to"], "to")
        body = try Self.text(fields["body"], "body")
        guard let given = fields["ctaUrlButton"] else {
            button = nil
            return
        }
        let inner = try Self.fields(given, ["displayText", "url"], of: "ctaUrlButton.")
        let text = try Self.text(inner["displayText"], "ctaUrlButton.displayText")
        let url = try Self.text(inner["url"], "ctaUrlButton.url")
        button = try Messages.refusing { () throws(Refusal) in try Button(text: text, url: url) }
    }

    private static func text(_ value: JSONValue?, _ field: String) throws -> String {
        guard let text = value?.text else { throw Problem.field(field, "\(field) is missing, or not a text") }
        return text
    }

    /// The members that are not null, by name.
    private static func fields(_ value: JSONValue, _ known: Set<String>, of path: String) throws -> [String: JSONValue]
    {
        guard case .object(let members) = value else {
            throw Problem(.malformed, "\(path.isEmpty ? "the body" : String(path.dropLast())) is not an object")
        }
        var fields: [String: JSONValue] = [:]
        for member in members {
            if member.name == "conversationId" {
                throw Problem.field(
                    "conversationId",
                    "replies in a conversation are not sent from here: they belong to its team"
                )
            }
            guard known.contains(member.name) else {
                throw Problem.field(
                    nil,
                    "there is a field that is not known here; known: \(known.sorted().joined(separator: ", "))"
                )
            }
            if member.value != .null { fields[member.name] = member.value }
        }
        return fields
    }
}
