package import TrunklineCore

/// Google Calendar's push notifications: a channel says that something changed, and nothing more.
///
/// Proven by the token that the channel was made with; unsigned, with an empty body. What changed is fetched with the calendar's
/// sync token. 200, 201, 202, 204 and 102 count as received. Source: developers.google.com/workspace/calendar, "Push
/// notifications".
package struct GoogleCalendarSource: Source {
    package let kind: SourceKind = "google-calendar"
    package let settings = [
        SourceSetting("channel_id", "the channel that this source was made for; another one's messages are refused"),
        SourceSetting("resource_id", "what Google calls the watched calendar; another one's messages are refused"),
    ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret, length: 16...256), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        let token = try request.only("x-goog-channel-token")
        try SharedSecret.check(Array(token.utf8), account.secrets, header: "x-goog-channel-token")
        for (setting, header) in [("channel_id", "x-goog-channel-id"), ("resource_id", "x-goog-resource-id")] {
            guard let expected = account.settings[setting] else { continue }
            guard try request.only(header) == expected else { throw SourceRefusal(.foreign, header: header) }
        }
    }

    /// The body is empty each time: its digest would make all messages one. Numbers grow, with gaps.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let channel = event.header("x-goog-channel-id"), let number = event.header("x-goog-message-number") else {
            return EventKey(digestOf: event.body)
        }
        return EventKey("google:\(channel)|\(number)")
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        switch event.header("x-goog-resource-state") {
        case "sync": return .ignored(.sync)
        case "exists", "not_exists": break
        default: return .ignored(.unknownTopic)
        }
        guard let channel = event.header("x-goog-channel-id"), let resource = event.header("x-goog-resource-id") else {
            throw Refusal(kind: .invalid, reason: "the headers do not name the channel and its calendar")
        }
        return .fetch(
            RecordToFetch(
                type: "calendar_changes",
                id: resource,
                account: channel,
                event: "changed",
                version: event.header("x-goog-message-number")
            )
        )
    }
}
