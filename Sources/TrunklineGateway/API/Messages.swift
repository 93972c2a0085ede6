internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// Notices and deliveries come in: `/v1/messages`, `/v1/messages/batch`, `/v1/deliveries`.
struct Messages: Sendable {
    static let longestBatch = 8 << 20
    static let mostItems = 1_000

    let accepting: Accepting

    var routes: [Route] {
        [
            Route(.post, "/v1/messages", .key(.send), body: .json(longest: SendJob.maximumMessageBytes), send),
            Route(.post, "/v1/messages/batch", .key(.send), body: .json(longest: Self.longestBatch), batch),
            Route(.post, "/v1/deliveries", .key(.send), body: .json(longest: DeliverJob.maximumMessageBytes), deliver),
        ]
    }

    private func send(_ call: Call) async throws -> Answer {
        let key = try call.idempotencyKey()
        let job = try Self.refusing { () throws(Refusal) in try SendJob.decode(addressed: call.body, key: key) }
        return try await accepting.accept(.send(job), bytes: call.body.count, for: call.caller()).answer
    }

    private func deliver(_ call: Call) async throws -> Answer {
        let key = try call.idempotencyKey()
        let job = try Self.refusing { () throws(Refusal) in try DeliverJob.decode(addressed: call.body, key: key) }
        return try await accepting.accept(.deliver(job), bytes: call.body.count, for: call.caller()).answer
    }

    // MARK: Many

    private func batch(_ call: Call) async throws -> Answer {
        guard call.idempotencyKeyText() == nil else {
            throw Problem.field("key", "Idempotency-Key names one message; in a batch each has its own key")
        }
        let items = try Self.items(of: call.body).map { json -> Result<CarriedWork, Problem> in
            do throws(Refusal) {
                return .success(.send(try SendJob.decode(addressed: Array(json))))
            } catch {
                return .failure(Problem(error))
            }
        }
        let verdicts = try await accepting.accept(items, bytes: call.body.count, for: call.caller())
        // As a whole it may be sent again; item by item nobody could tell that from a refusal.
        if !verdicts.isEmpty, verdicts.allSatisfy({ $0.problem?.kind == .unavailable }),
            let first = verdicts.first?.problem
        {
            throw first
        }
        return Answer.json(200) { json in
            json.name("results")
            json.beginArray()
            for verdict in verdicts { verdict.write(to: &json) }
            json.endArray()
        }
    }

    /// The messages of `{"messages":[…]}`, as they stand there.
    private static func items(of body: [UInt8]) throws -> [ArraySlice<UInt8>] {
        var items: [ArraySlice<UInt8>]?
        var hasOthers = false
        do throws(JSONError) {
            var reader = JSONReader(body)
            try reader.beginObject()
            var first = true
            while let name = try reader.nextName(first: &first) {
                guard reader.name(name, is: "messages") else {
                    hasOthers = true
                    try reader.skip()
                    continue
                }
                guard items == nil else { throw reader.duplicate(name) }
                items = try Self.elements(&reader)
            }
            try reader.end()
        } catch {
            throw Problem(.malformed, "not a well-formed batch: \(error.sentence)")
        }
        guard let items, !hasOthers else {
            throw Problem.field("messages", "the body is an object with messages, a list, and nothing else")
        }
        guard items.count <= mostItems else {
            throw Problem(
                .tooLarge,
                "messages has more than \(mostItems) entries",
                field: "messages"
            )
        }
        return items
    }

    private static func elements(_ reader: inout JSONReader) throws(JSONError) -> [ArraySlice<UInt8>] {
        var items: [ArraySlice<UInt8>] = []
        try reader.beginArray()
        var first = true
        while try reader.nextElement(first: &first) {
            // One more tells that there are too many; the rest is only read over.
            if items.count > mostItems { try reader.skip() } else { items.append(try reader.raw()) }
        }
        return items
    }

    /// A refusal as a problem.
    static func refusing<R>(_ body: () throws(Refusal) -> R) throws -> R {
        do throws(Refusal) {
            return try body()
        } catch {
            throw Problem(error)
        }
    }
}

extension Accepting.Verdict {
    fileprivate var problem: Problem? {
        guard case .refused(let problem) = self else { return nil }
        return problem
    }

    /// One of a batch's results: its own status, whether it is a replay, and the message or the problem.
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.name("status")
        switch self {
        case .accepted(let accepted):
            json.integer(202)
            json.name("replayed")
            json.bool(accepted.isReplay)
            json.name("message")
            json.beginObject()
            accepted.write(to: &json)
            json.endObject()
            if !accepted.warnings.isEmpty {
                json.name("warnings")
                json.beginArray()
                for rule in accepted.warnings { json.string(rule.rawValue) }
                json.endArray()
            }
        case .refused(let problem):
            json.integer(problem.kind.status)
            json.name("replayed")
            json.bool(false)
            json.name("problem")
            problem.write(to: &json, instance: nil)
        }
        json.endObject()
    }
}
