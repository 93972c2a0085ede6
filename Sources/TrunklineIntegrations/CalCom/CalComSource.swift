package import TrunklineCore

/// Cal.com's webhooks.
///
/// Bare hex over the raw body, no time; without a secret the header says `no-secret-provided`, which is no signature. Sent once,
/// without a retry that is documented. A move makes a new booking, which names the old one. Source: calcom/cal.com,
/// `packages/features/webhooks`; docs of "Webhooks".
package struct CalComSource: Source {
    package let kind: SourceKind = "calcom"

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        try BodySignature(header: "x-cal-signature-256", .hex).verify(request, account.secrets, now: now)
    }

    /// Several subscriptions tell the same booking at times that differ by milliseconds: those are two events, whose notices
    /// have one key.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let trigger = body["triggerEvent"]?.given,
            let id = body.at("payload", "uid")?.id ?? body.at("payload", "bookingUid")?.id ?? body["uid"]?.id
        else { return EventKey(digestOf: event.body) }
        return EventKey("calcom:\(trigger)|\(id)|\(body["createdAt"]?.given ?? "")")
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        let payload = body["payload"] ?? .null
        let moment: SourceFact.Appointment.Moment
        switch body["triggerEvent"]?.given {
        case "BOOKING_CREATED": moment = .booked
        case "BOOKING_RESCHEDULED": moment = .moved
        case "BOOKING_CANCELLED": moment = .cancelled
        // Nobody was told of a request that somebody must still allow.
        case "BOOKING_REQUESTED", "BOOKING_REJECTED", "BOOKING_PAID", "BOOKING_PAYMENT_INITIATED",
            "BOOKING_NO_SHOW_UPDATED", "MEETING_STARTED", "MEETING_ENDED", "RECORDING_READY":
            return .ignored(.nothingNew)
        default: return .ignored(.unknownTopic)
        }
        guard let id = payload["uid"]?.id else {
            throw Refusal(
                kind: .invalid,
                field: "payload.uid",
                reason: "payload.uid is missing: is the webhook's payload a template of its own?"
            )
        }
        guard let start = payload["startTime"]?.moment else {
            throw Refusal(
                kind: .invalid,
                field: "payload.startTime",
                reason: "payload.startTime is missing, or has no offset"
            )
        }
        let attendee = payload["attendees"]?.elements.first ?? .null
        return SourceReading(checking: [
            .appointment(
                .init(
                    record: .init(id: id, at: body["createdAt"]?.moment),
                    moment: moment,
                    person: Self.person(payload, attendee),
                    start: start,
                    end: payload["endTime"]?.moment,
                    timeZone: attendee["timeZone"]?.given ?? payload.at("organizer", "timeZone")?.given,
                    previousID: payload["rescheduleUid"]?.id,
                    title: payload["title"]?.given,
                    // `integrations:daily` is the name of a service, and no place.
                    place: payload["location"]?.given.flatMap { $0.hasPrefix("integrations:") ? nil : $0 },
                    staff: payload.at("organizer", "name")?.given,
                    links: links((.meeting, payload.at("metadata", "videoCallUrl"))),
                    details: Self.answers(payload)
                )
            )
        ])
    }

    private static func answers(_ payload: JSONValue) -> [String: String] {
        var answers: [String: String] = [:]
        for member in payload["responses"]?.members ?? [] { answers[member.name] = member.value["value"]?.word }
        return answers
    }

    private static func person(_ payload: JSONValue, _ attendee: JSONValue) -> SourceFact.Person {
        let responses = payload["responses"]
        let phones = [
            attendee["phoneNumber"], responses?.at("attendeePhoneNumber", "value"),
            responses?.at("smsReminderNumber", "value"), payload["smsReminderNumber"], responses?.at("phone", "value"),
            responses?.at("location", "value", "value")?.given == "phone"
                ? responses?.at("location", "value", "optionValue") : nil,
        ]
        return SourceFact.Person(
            name: attendee["name"]?.given,
            firstName: attendee["firstName"]?.given,
            phones: phones.compactMap { $0?.word },
            language: attendee.at("language", "locale")?.given
        )
    }
}
