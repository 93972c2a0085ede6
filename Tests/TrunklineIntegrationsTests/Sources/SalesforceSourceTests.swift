import Testing
import TrunklineCore
import TrunklineTesting

@testable import TrunklineIntegrations

@Suite struct SalesforceSourceTests {
    private static let settings = ["organization_id": "00D300000000aBcEAI"]
    private static let headers: [ReceivedRequest.Header] = [("Content-Type", "text/xml; charset=utf-8")]
    private let source = SalesforceSource()

    private static func envelope(_ notifications: String, organization: String = "00D300000000aBcEAI") -> String {
        """
        <?xml version="1.0" encoding="UTF-8"?>
        <soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
         <soapenv:Body>
          <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
           <OrganizationId>\(organization)</OrganizationId><ActionId>04k300000000001</ActionId>
           <SessionId>00D!secret-session</SessionId><EnterpriseUrl>https://x.example/</EnterpriseUrl>
           \(notifications)
          </notifications>
         </soapenv:Body>
        </soapenv:Envelope>
        """
    }

    private static func notification(_ id: String, _ type: String, _ fields: String) -> String {
        """
        <Notification><Id>\(id)</Id><sObject xsi:type="sf:\(type)" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">\
        \(fields)</sObject></Notification>
        """
    }

    private static let lead = notification(
        "04l300000000001AAA",
        "Lead",
        "<sf:Id>00Q300000000001EAA</sf:Id><sf:FirstName>Ana &amp; Jos&#xE9;</sf:FirstName><sf:LastName>Ruiz</sf:LastName>"
            + "<sf:MobilePhone>+34 600 111 222</sf:MobilePhone><sf:CountryCode>ES</sf:CountryCode><sf:Phone xsi:nil=\"true\"/>"
            + "<sf:LastModifiedDate>2026-11-02T10:15:04.000Z</sf:LastModifiedDate>"
    )

    static let sample = SourceConformance.Sample(
        secret: "",
        otherSecret: "",
        settings: settings,
        proof: .none,
        [
            .init(headers: headers, envelope(lead), expects: .facts(["lead"]), id: "00Q300000000001EAA"),
            .init(
                headers: headers,
                envelope(
                    notification("04l2", "Contact", "<sf:Id>0033</sf:Id>")
                        + notification("04l3", "Order", "<sf:Id>8013</sf:Id>")
                ),
                expects: .facts(["contact"]),
                .fetch("Order"),
                id: "0033"
            ),
        ]
    ) { fixture, _, _ in Senders.request(fixture, []) }

    private func events(_ body: String) throws -> [ReceivedEvent] {
        let account = try source.account("", Self.settings)
        let request = ReceivedRequest(url: Senders.url, headers: Self.headers, body: Array(body.utf8))
        return source.events(in: request, account, now: SourceConformance.now)
    }

    @Test func onlyOurOrganizationIsHeard() throws {
        let account = try source.account("", Self.settings)
        func refusal(_ organization: String) -> SourceRefusal.Reason? {
            let body = Array(Self.envelope(Self.lead, organization: organization).utf8)
            return source.refusal(of: .init(url: Senders.url, headers: Self.headers, body: body), account)
        }
        #expect(refusal("00D300000000aBcEAI") == nil)
        // The short form is the same one; letters keep their case.
        #expect(refusal("00D300000000aBc") == nil)
        #expect(refusal("00D300000000abc") == .foreign)
        #expect(refusal("00D300000000aBd") == .foreign)
        #expect(refusal("") == .malformed)
        #expect(throws: Refusal.self) { try source.account("", [:]) }
        #expect(throws: Refusal.self) { try source.account("", ["organization_id": "00D"]) }
        #expect(throws: Refusal.self) { try source.account("0123456789", Self.settings) }
    }

    @Test func aNotificationIsAnEventWithoutItsSession() throws {
        let events = try events(Self.envelope(Self.lead + Self.notification("04l9", "Case", "<sf:Id>500</sf:Id>")))
        let keys = events.map { source.eventKey(of: $0).value }
        #expect(keys.map { $0.prefix { $0 != "|" } } == ["salesforce:04l300000000001AAA", "salesforce:04l9"])
        for event in events { #expect(!String(decoding: event.body, as: UTF8.self).contains("secret-session")) }
    }

    /// A second try says what the record is by then: what has changed is another event, what has not is the same one.
    @Test func aTryWithAChangedRecordIsAnotherEvent() throws {
        func key(_ lead: String) throws -> EventKey {
            source.eventKey(of: try #require(events(Self.envelope(lead)).first))
        }
        #expect(try key(Self.lead) == key(Self.lead))
        #expect(try key(Self.lead) != key(Self.lead.replacing("111 222", with: "111 223")))
    }

    @Test func aLeadIsReadWhole() throws {
        let event = try #require(events(Self.envelope(Self.lead)).first)
        guard case .facts(let facts) = try source.read(event, SourceSettings()), let lead = facts.first?.lead else {
            throw CancellationError()
        }
        #expect(lead.person.name == "Ana & José Ruiz")
        #expect(lead.person.phones == ["+34 600 111 222"])
        #expect(lead.person.country == "ES")
        #expect(lead.record.at == Timestamp(rfc3339: "2026-11-02T10:15:04Z"))
        #expect(String(decoding: source.accepted.body, as: UTF8.self).contains("<Ack>true</Ack>"))
    }

    // MARK: XML

    @Test func whatXMLAllowsIsRead() throws {
        let root = try XMLElement(
            parsing: Array(
                "\u{FEFF}<?xml version='1.0'?><!-- a --><a:b x=\"1&lt;\" y = '&quot;'> t<c/>&#65;<![CDATA[<&]]><!-- b --></a:b > \n"
                    .utf8
            )
        )
        #expect(root.name == "b")
        #expect(root.attributes == ["x": "1<", "y": "\""])
        #expect(root.text == " tA<&")
        #expect(root.children.map(\.name) == ["c"])
    }

    @Test(arguments: [
        "", " ", "a", "<a>", "<a></b>", "<a></a", "<a", "<a/><b/>", "<a/>x", "x<a/>", "<a b></a>", "<a b=1/>",
        "<a b=\"1\"c=\"2\"/>",
        "<a b=\"1\" b=\"2\"/>", "<a>&x;</a>", "<a>&amp</a>", "<a>&#0;</a>", "<a>&#xD800;</a>", "<a>&#+65;</a>",
        "<a><![CDATA[</a>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "<a><?php ?></a>", "<a><!-- </a>", "<1/>", "<a b=\"<\"/>",
        "<a>\u{1}</a>",
        "<![CDATA[x]]>", String(repeating: "<a>", count: 17) + String(repeating: "</a>", count: 17),
        "<a>" + String(repeating: "<b/>", count: 20_001) + "</a>",
    ])
    func whatIsNoXMLIsRefused(_ text: String) {
        #expect(throws: Refusal.self) { try XMLElement(parsing: Array(text.utf8)) }
    }
}
