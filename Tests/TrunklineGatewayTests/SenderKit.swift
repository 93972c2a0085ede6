import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// One sender of the tests: what its source is made with, and what it posts.
struct TestSender: Sendable {
    typealias Headers = [(String, String)]

    let kind: String
    /// Nil: it proves nothing.
    var secret: String?
    var settings: [String] = []
    let body: String
    /// How many events the body holds.
    var events = 1
    /// All that it sends beside the body, under a secret.
    let headers: @Sendable (_ body: String, _ secret: String, _ path: String) -> Headers

    static let publicURL = "https://hooks.example.com/t"

    /// What it sends, under its own secret or another one.
    func headers(_ body: String? = nil, secret: String? = nil, path: String) -> Headers {
        headers(body ?? self.body, secret ?? self.secret ?? "", path)
    }

    static func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    static func hmac(_ text: String, _ key: String) -> [UInt8] {
        Digest.hmacSHA256(text.utf8, key: Array(key.utf8))
    }

    // MARK: Kinds

    static let order = """
        {"id":5512345678901,"name":"#1042","currency":"EUR","total_price":"59.90","phone":"+34600111222",\
        "financial_status":"paid","updated_at":"2026-11-01T12:10:00Z","customer":{"first_name":"José"}}
        """

    static let shopify = TestSender(kind: "shopify", secret: "shpss_one_5f0c2b7e", body: order) { body, secret, _ in
        [
            ("Content-Type", "application/json"), ("X-Shopify-Topic", "orders/paid"),
            ("X-Shopify-Shop-Domain", "acme.example"), ("X-Shopify-API-Version", "2026-07"),
            ("X-Shopify-Webhook-Id", "w-" + Digest.hex(Digest.sha256(body.utf8).prefix(8))),
            ("X-Shopify-Event-Id", "e-1042"), ("X-Shopify-Hmac-Sha256", base64(hmac(body, secret))),
        ]
    }

    static let wooCommerce = TestSender(
        kind: "woocommerce",
        secret: "woo-secret-0001",
        body:
            #"{"id":731,"number":"731","status":"processing","date_modified_gmt":"2026-11-01T12:10:00","billing":{"phone":"600111222","country":"ES"}}"#
    ) { body, secret, _ in
        [
            ("Content-Type", "application/json"), ("X-WC-Webhook-Source", "https://shop.example/"),
            ("X-WC-Webhook-Topic", "order.updated"), ("X-WC-Webhook-ID", "7"),
            ("X-WC-Webhook-Delivery-ID", "d-1"), ("X-WC-Webhook-Signature", base64(hmac(body, secret))),
        ]
    }

    static func paid(_ number: String = "1042") -> String {
        """
        {"type":"order.paid","occurred_at":"2026-11-01T12:10:00Z","object":{"id":"\(number)","number":"#\(number)"},\
        "customer":{"phone":"+34600111222","name":"Marta"}}
        """
    }

    static let custom = TestSender(kind: "custom", secret: "a-bearer-token-0001", body: paid()) { _, secret, _ in
        [
            ("Content-Type", "application/json"), ("Authorization", "Bearer \(secret)"),
            ("Idempotency-Key", "order:1042:paid"),
        ]
    }

    static let standard = TestSender(
        kind: "custom",
        secret: "whsec_" + base64(Array("0123456789abcdef01234567".utf8)),
        body: paid("2042")
    ) { body, secret, _ in
        let key = Data(base64Encoded: String(secret.dropFirst(6))) ?? Data()
        let time = "\(Int(Date().timeIntervalSince1970))"
        let code = Digest.hmacSHA256(Array("evt_2042.\(time).\(body)".utf8), key: Array(key))
        return [
            ("Content-Type", "application/json"), ("webhook-id", "evt_2042"), ("webhook-timestamp", time),
            ("webhook-signature", "v1,\(base64(code))"),
        ]
    }

    static func hubSpotEvents(attempt: Int) -> String {
        let events = (1...3).map { number in
            #"{"eventId":\#(number),"subscriptionId":25,"portalId":4321,"appId":998,"occurredAt":176200000000\#(number),"#
                + #""subscriptionType":"contact.creation","attemptNumber":\#(attempt),"objectId":\#(number)}"#
        }
        return "[" + events.joined(separator: ",") + "]"
    }

    static let hubSpot = TestSender(
        kind: "hubspot",
        secret: "hubspot-app-secret",
        body: hubSpotEvents(attempt: 0),
        events: 3
    ) { body, secret, path in
        let time = "\(Int(Date().timeIntervalSince1970 * 1_000))"
        return [
            ("Content-Type", "application/json"), ("X-HubSpot-Request-Timestamp", time),
            ("X-HubSpot-Signature-v3", base64(hmac("POST" + publicURL + path + body + time, secret))),
        ]
    }

    static let meta = TestSender(
        kind: "meta-leads",
        secret: "meta-app-secret",
        settings: ["verify_token=knock-knock-1"],
        body:
            #"{"object":"page","entry":[{"id":1,"changes":[{"field":"leadgen","value":{"leadgen_id":11,"page_id":1}}]},"#
            + #"{"id":2,"changes":[{"field":"leadgen","value":{"leadgen_id":12,"page_id":2}}]}]}"#,
        events: 2
    ) { body, secret, _ in
        [
            ("Content-Type", "application/json"),
            ("X-Hub-Signature-256", "sha256=" + Digest.hex(hmac(body, secret))),
        ]
    }

    static let form = TestSender(
        kind: "form",
        settings: ["honeypot=website", "phone=tel"],
        body: "tel=%2B34600111222&name=Marta+L%C3%B3pez&website="
    ) { _, _, _ in
        [("Content-Type", "application/x-www-form-urlencoded")]
    }

    /// Two notifications of one organization.
    static func outboundMessage(of organization: String) -> String {
        let notifications = (1...2).map { number in
            """
            <Notification><Id>04l30000000000\(number)</Id><sObject xsi:type="sf:Lead" \
            xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>00Q30000000000\(number)</sf:Id></sObject></Notification>
            """
        }
        return """
            <?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope \
            xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
            xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>\
            <notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>\(organization)</OrganizationId>\
            <ActionId>04k300000000001</ActionId><SessionId>00D!secret-session</SessionId>\(notifications.joined())\
            </notifications></soapenv:Body></soapenv:Envelope>
            """
    }

    static let all: [(name: String, sender: TestSender)] = [
        ("shopify", shopify), ("woo", wooCommerce), ("custom", custom), ("standard", standard), ("hubspot", hubSpot),
        ("meta", meta), ("form", form),
    ]
}

extension TestInstall {
    /// Makes a source by the program's own command, and gives the path that its sender posts to.
    func add(_ sender: TestSender, as id: String, workspace: String = "acme") async throws -> String {
        var arguments = ["source", "add", id, "--kind", sender.kind, "--workspace", workspace, "--json"]
        if sender.secret != nil { arguments += ["--secret-env", "TEST_SECRET"] }
        for setting in sender.settings { arguments += ["--setting", setting] }
        let run = try await trunkline(
            arguments,
            environment: sender.secret.map { ["TEST_SECRET": $0] } ?? [:]
        ).requireSuccess()
        return try Self.path(run.output)
    }

    /// What a command that made a token says of it.
    static func path(_ output: String) throws -> String {
        let document = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
        return try #require(document?["intakePath"] as? String)
    }

    func startDoor(_ environment: [String: String] = [:]) async throws -> GatewayHandle {
        try await startGateway(["--public-url", TestSender.publicURL + "/"], environment: environment)
    }

    /// Rows of the inbox, of one source or of all.
    func events(_ source: String = "%") async throws -> Int64 {
        try await number("select count(*) from trunkline.inbox where source like '\(source)'")
    }

    /// One of these per event, finished or not.
    func eventJobs() async throws -> Int64 {
        try await number(
            """
            select (select count(*) from trunkline.jobs j join trunkline.lanes n on n.number = j.lane where n.name like 'source:%')
                + (select count(*) from trunkline.finished f join trunkline.lanes n on n.number = f.lane
                   where n.name like 'source:%')
            """
        )
    }
}

extension TestInstall.GatewayHandle {
    func post(
        _ path: String,
        _ headers: TestSender.Headers,
        _ body: String
    ) async throws -> HTTPAnswer {
        try await HTTPConnection.ask("POST", path, headers: headers, body: Array(body.utf8), of: port)
    }

    /// What a sender posts, as it does.
    func post(_ sender: TestSender, _ path: String, body: String? = nil, secret: String? = nil) async throws
        -> HTTPAnswer
    {
        try await post(path, sender.headers(body, secret: secret, path: path), body ?? sender.body)
    }

    /// Waits until a path is known, or until it is not.
    func knows(_ path: String, _ isKnown: Bool = true) async throws {
        try await eventually("a gateway that knows the path, or does not") {
            let status = try await ask("GET", path).status
            return isKnown == ![404, 410, 503].contains(status)
        }
    }
}
