internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// What senders say about people and orders: `/v1/contacts/{phone}` and `/v1/orders/{id}`.
struct Records: Sendable {
    let desk: SharedDesk
    let operators: OperatorPool
    let now: @Sendable () -> Timestamp

    var routes: [Route] {
        [
            Route(.put, "/v1/contacts/{phone}", .key(.send), body: .json(longest: 65_536), contact),
            Route(.put, "/v1/orders/{id}", .key(.send), body: .json(longest: 65_536), order),
        ]
    }

    private func contact(_ call: Call) async throws -> Answer {
        let phone = try Self.named("phone") { () throws(Refusal) in try PhoneNumber(call.path["phone"] ?? "") }
        let facts = try Messages.refusing { () throws(Refusal) in try ContactFacts.decode(json: call.body) }
        let workspace = try call.caller().workspace
        return try await put { install in
            try await install.putContact(phone, facts, workspace: workspace, now: now())
        }
    }

    private func order(_ call: Call) async throws -> Answer {
        let id = try Self.named("id") { () throws(Refusal) in try OrderID(call.path["id"] ?? "") }
        let facts = try Messages.refusing { () throws(Refusal) in try OrderFacts.decode(json: call.body) }
        let workspace = try call.caller().workspace
        return try await put { install in
            try await install.putOrder(id, facts, workspace: workspace, now: now())
        }
    }

    /// Facts have no way in but the database: whose is newer is decided there.
    private func put(_ body: (Operator) async throws -> FactVerdict) async throws -> Answer {
        if desk.troubles.database != nil { throw Problem.away("this needs the database, which is away") }
        let verdict: FactVerdict
        do {
            verdict = try await operators.with(body)
        } catch let refusal as Refusal {
            throw Problem(refusal)
        }
        return Answer.json(200) { json in
            json.member("verdict", verdict.word.word)
            json.name("older")
            json.beginArray()
            for field in verdict.older { json.string(field) }
            json.endArray()
        }
    }

    /// What the path names, with the name of its part as the field.
    private static func named<R>(_ part: String, _ read: () throws(Refusal) -> R) throws -> R {
        do throws(Refusal) {
            return try read()
        } catch {
            throw Problem(Refusal(kind: error.kind, field: part, reason: error.reason))
        }
    }
}
