package import TrunklineCore

/// Salesforce's outbound messages: SOAP, up to a hundred notifications in one request.
///
/// Unsigned: the organization's id must be ours, and the address is the secret (put TLS with client certificates before the
/// gateway where that is too little). Answered with `Ack`; anything else, and Salesforce sends again for a day, out of order.
/// A session id that may be in the envelope is not kept. Source: developer.salesforce.com, "Understanding Notifications".
package struct SalesforceSource: Source {
    package let kind: SourceKind = "salesforce"
    package let settings = [SourceSetting("organization_id", "the id of the organization, 00D… (needed)")]

    package init() {}

    package var accepted: SourceAnswer {
        let envelope =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv="
            + "\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><notificationsResponse xmlns="
            + "\"http://soap.sforce.com/2005/09/outbound\"><Ack>true</Ack></notificationsResponse></soapenv:Body>"
            + "</soapenv:Envelope>"
        return SourceAnswer(status: 200, contentType: "text/xml; charset=utf-8", body: Array(envelope.utf8))
    }

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        let settings = try checked(settings)
        guard let id = settings["organization_id"], Self.comparable(id) != nil else {
            throw Refusal(
                kind: .invalid,
                field: "settings.organization_id",
                reason: "organization_id is missing, or is not 15 or 18 letters and digits"
            )
        }
        guard secret.isEmpty else {
            throw Refusal(kind: .invalid, field: "secret", reason: "outbound messages have no secret but their address")
        }
        return SourceAccount(secrets: .none, settings: settings)
    }

    /// The three characters behind the first fifteen only say which of those are capitals.
    private static func comparable(_ id: String) -> Substring? {
        guard [15, 18].contains(id.utf8.count), id.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) else {
            return nil
        }
        return id.prefix(15)
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        guard let message = try? OutboundMessage(request.body) else { throw SourceRefusal(.malformed) }
        guard let expected = account.settings["organization_id"].flatMap(Self.comparable) else {
            throw SourceRefusal(.unconfigured)
        }
        guard Self.comparable(message.organization) == expected else { throw SourceRefusal(.foreign) }
    }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        guard let message = try? OutboundMessage(request.body),
            (1...EventPack.largest).contains(message.notifications.count)
        else {
            // Nothing of what cannot be read is kept: a session may be in it.
            return [ReceivedEvent(request, body: [], receivedAt: now)]
        }
        return message.notifications.map { notification in
            var json = JSONWriter()
            json.canonical(notification)
            return ReceivedEvent(request, body: json.bytes, receivedAt: now)
        }
    }

    /// A message that is sent again has the record as it is by then: the same notification, and another event when the record
    /// has changed. What follows from both follows once, by the record's own id.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let id = body["id"]?.id else {
            return EventKey(digestOf: event.body)
        }
        return EventKey("salesforce:\(id)|" + Digest.hex(Digest.sha256(event.body).prefix(16)))
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        let fields = body["fields"] ?? .null
        guard let id = fields["Id"]?.id, let type = body["type"]?.given else {
            throw Refusal(kind: .invalid, field: "sObject.Id", reason: "sObject.Id or its type is missing")
        }
        let at = (fields["LastModifiedDate"] ?? fields["SystemModstamp"])?.moment
        guard type == "Contact" || type == "Lead" else {
            return .fetch(RecordToFetch(type: type, id: id, event: "outbound_message", version: body["id"]?.id, at: at))
        }
        // The record as it is now, not as it was when the message was queued.
        let record = SourceFact.Record(
            id: id,
            at: at,
            version: fields["LastModifiedDate"]?.given,
            createdAt: fields["CreatedDate"]?.moment
        )
        let person = SourceFact.Person(
            name: fields["Name"]?.given ?? Given.joined(fields["FirstName"]?.given, fields["LastName"]?.given),
            firstName: fields["FirstName"]?.given,
            phones: ["MobilePhone", "Phone", "HomePhone"].compactMap { fields[$0]?.given },
            country: (fields["CountryCode"] ?? fields["MailingCountryCode"] ?? fields["Country"])?.given
        )
        var details: [String: String] = [:]
        for field in fields.members { details[field.name] = field.value.given }
        return SourceReading(checking: [
            type == "Lead"
                ? .lead(.init(record: record, person: person, origin: fields["LeadSource"]?.given, details: details))
                : .contact(.init(record: record, person: person, details: details))
        ])
    }
}

/// An envelope, taken apart: of it only what names the organization, and each notification as an object of our own.
private struct OutboundMessage {
    let organization: String
    let notifications: [JSONValue]

    init(_ body: [UInt8]) throws(Refusal) {
        let envelope = try XMLElement(parsing: body)
        guard envelope.name == "Envelope", let message = envelope["Body"]?["notifications"],
            let organization = message["OrganizationId"].flatMap({ Given.text($0.text) })
        else { throw Refusal(kind: .malformed, reason: "the event is not an outbound message") }
        self.organization = organization
        notifications = message.children.filter { $0.name == "Notification" }.map(Self.object)
    }

    private static func object(_ notification: XMLElement) -> JSONValue {
        let record = notification["sObject"]
        var fields: [JSONValue.Member] = []
        var seen: Set<String> = []
        for field in record?.children ?? [] where field.children.isEmpty && seen.insert(field.name).inserted {
            if let text = Given.text(field.text) { fields.append(.init(field.name, .string(text))) }
        }
        // `sf:Contact`
        let type = record?.attributes["type"].map { String($0.split(separator: ":").last ?? "") }
        return .object([
            .init("id", Given.text(notification["Id"]?.text ?? "").map { .string($0) } ?? .null),
            .init("type", type.map { .string($0) } ?? .null), .init("fields", .object(fields)),
        ])
    }
}
