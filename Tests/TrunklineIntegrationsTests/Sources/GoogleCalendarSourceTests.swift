import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct GoogleCalendarSourceTests {
    private let source = GoogleCalendarSource()

    private static func headers(_ state: String, _ number: Int) -> [ReceivedRequest.Header] {
        [
            ("X-Goog-Channel-ID", "b2c1e5a0-channel"), ("X-Goog-Resource-ID", "o3hgv1538sdjfh"),
            ("X-Goog-Resource-URI", "https://www.googleapis.com/calendar/v3/calendars/x/events"),
            ("X-Goog-Resource-State", state), ("X-Goog-Message-Number", "\(number)"),
        ]
    }

    static let sample = SourceConformance.Sample(
        secret: "channel-token-0123456789",
        otherSecret: "channel-token-9876543210",
        settings: ["channel_id": "b2c1e5a0-channel", "resource_id": "o3hgv1538sdjfh"],
        proof: .token(header: "x-goog-channel-token"),
        [
            .init(headers: headers("sync", 1), "", expects: .ignored(.sync)),
            .init(headers: headers("exists", 10), "", expects: .fetch("calendar_changes"), id: "o3hgv1538sdjfh"),
            // Numbers grow with gaps.
            .init(headers: headers("exists", 14), "", expects: .fetch("calendar_changes"), id: "o3hgv1538sdjfh"),
        ]
    ) { fixture, secret, _ in Senders.request(fixture, [("X-Goog-Channel-Token", secret)]) }

    @Test(arguments: ["channel_id", "resource_id"])
    func anotherChannelsMessagesAreRefused(_ setting: String) throws {
        let account = try source.account("channel-token-0123456789", [setting: "another"])
        let headers = Self.headers("exists", 2) + [("X-Goog-Channel-Token", "channel-token-0123456789")]
        #expect(source.refusal(of: .init(url: Senders.url, headers: headers, body: []), account) == .foreign)
    }

    @Test func aMessageSaysWhereToLook() throws {
        let event = Senders.event("", Self.headers("exists", 10))
        #expect(source.eventKey(of: event).value == "google:b2c1e5a0-channel|10")
        #expect(
            try source.read(event, SourceSettings())
                == .fetch(
                    RecordToFetch(
                        type: "calendar_changes",
                        id: "o3hgv1538sdjfh",
                        account: "b2c1e5a0-channel",
                        event: "changed",
                        version: "10"
                    )
                )
        )
        #expect(try source.read(Senders.event("", []), SourceSettings()) == .ignored(.unknownTopic))
    }
}
