package import TrunklineCore

/// Calendly's webhooks: who booked, moved or cancelled.
///
/// Signed with a time (`t=…,v1=…`, hex over `t.body`), three minutes of tolerance as Calendly's own sample has it. A move is two
/// events in any order: the new booking tells it, the cancelled half is passed over. Failures are retried for a day, then the
/// subscription is off. Source: developer.calendly.com, "Webhook signatures", "Webhook payloads change when invitees
/// reschedule".
package struct CalendlySource: Source {
    package let kind: SourceKind = "calendly"
    private static let header = "calendly-webhook-signature"
    private static let window: Duration = .seconds(180)

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        var time: String?
        var signature: Substring?
        for part in try request.only(Self.header).split(separator: ",", omittingEmptySubsequences: false) {
            if part.hasPrefix("t="), time == nil {
                time = String(part.dropFirst(2))
            } else if part.hasPrefix("v1="), signature == nil {
                signature = part.dropFirst(3)
            } else {
                throw SourceRefusal(.malformed, header: Self.header)
            }
        }
        guard let time, let signature else { throw SourceRefusal(.malformed, header: Self.header) }
        try SignedTime.check(time, now: now, window: Self.window, header: Self.header)
        let code = try BodySignature.code(signature, .hex, header: Self.header)
        try BodySignature.check(
            code,
            of: [Array((time + ".").utf8), request.body],
            account.secrets,
            header: Self.header
        )
    }

    /// There is no id of an event.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let name = body["event"]?.given,
            let invitee = body.at("payload", "uri")?.given, let time = body["created_at"]?.given
        else { return EventKey(digestOf: event.body) }
        return EventKey("calendly:\(name)|\(invitee)|\(time)")
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        let payload = body["payload"] ?? .null
        let moment: SourceFact.Appointment.Moment
        switch body["event"]?.given {
        case "invitee.created": moment = payload["old_invitee"]?.given == nil ? .booked : .moved
        case "invitee.canceled":
            if payload["rescheduled"]?.isTrue == true { return .ignored(.rescheduled) }
            moment = .cancelled
        case "invitee_no_show.created", "invitee_no_show.deleted": return .ignored(.nothingNew)
        default: return .ignored(.unknownTopic)
        }
        guard let id = Self.lastPart(payload["uri"]) else {
            throw Refusal(kind: .invalid, field: "payload.uri", reason: "payload.uri is missing")
        }
        let booked = payload["scheduled_event"] ?? .null
        let start = booked["start_time"]?.moment
        if start == nil, moment != .cancelled {
            throw Refusal(
                kind: .invalid,
                field: "payload.scheduled_event.start_time",
                reason: "payload.scheduled_event.start_time is missing, or is no time"
            )
        }
        let at =
            (moment == .cancelled ? payload.at("cancellation", "created_at")?.moment : nil)
            ?? body["created_at"]?.moment
        return SourceReading(checking: [
            .appointment(
                .init(
                    record: .init(id: id, at: at),
                    moment: moment,
                    person: Self.person(payload, booked),
                    start: start,
                    end: booked["end_time"]?.moment,
                    timeZone: payload["timezone"]?.given,
                    previousID: Self.lastPart(payload["old_invitee"]),
                    title: booked["name"]?.given,
                    place: Self.place(booked),
                    staff: booked["event_memberships"]?.elements.first?["user_name"]?.given,
                    links: links(
                        (.cancel, payload["cancel_url"]),
                        (.reschedule, payload["reschedule_url"]),
                        (.meeting, booked.at("location", "join_url"))
                    ),
                    details: Self.answers(payload)
                )
            )
        ])
    }

    /// Where the customer goes; of a call to the customer it would be the customer's own number.
    private static func place(_ booked: JSONValue) -> String? {
        booked.at("location", "type")?.given == "outbound_call" ? nil : booked.at("location", "location")?.given
    }

    /// `https://api.calendly.com/scheduled_events/E1/invitees/I1` is I1.
    private static func lastPart(_ uri: JSONValue?) -> String? {
        guard let part = uri?.given?.split(separator: "/").last else { return nil }
        return String(part)
    }

    private static func answers(_ payload: JSONValue) -> [String: String] {
        var answers: [String: String] = [:]
        for answer in payload["questions_and_answers"]?.elements ?? [] {
            if let question = answer["question"]?.given { answers[question] = answer["answer"]?.given }
        }
        return answers
    }

    private static func person(_ payload: JSONValue, _ booked: JSONValue) -> SourceFact.Person {
        var phones = [payload["text_reminder_number"]?.given]
        for answer in payload["questions_and_answers"]?.elements ?? [] {
            let question = answer["question"]?.given?.lowercased() ?? ""
            let words = [
                "phone", "whatsapp", "mobile", "teléfono", "telefono", "móvil", "movil", "celular", "telefon", "handy",
            ]
            if words.contains(where: question.contains) { phones.append(answer["answer"]?.given) }
        }
        if booked.at("location", "type")?.given == "outbound_call" {
            phones.append(booked.at("location", "location")?.given)
        }
        return SourceFact.Person(
            name: payload["name"]?.given ?? Given.joined(payload["first_name"]?.given, payload["last_name"]?.given),
            firstName: payload["first_name"]?.given,
            phones: phones.compactMap { $0 }
        )
    }
}
