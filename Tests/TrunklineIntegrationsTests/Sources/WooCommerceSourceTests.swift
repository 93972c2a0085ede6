import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct WooCommerceSourceTests {
    private static let order =
        #"{"id":1042,"number":"1042","status":"processing","currency":"EUR","total":"31.20","#
        + #""date_modified_gmt":"2026-11-02T10:15:04","billing":{"first_name":"Ana","phone":"600 111 222","country":"ES"}}"#
    private let source = WooCommerceSource()

    static func headers(_ topic: String, delivery: String = "263d29b68d77a67d6122c54b6c48cbc4") -> [ReceivedRequest
        .Header]
    {
        [
            ("Content-Type", "application/json"), ("X-WC-Webhook-Source", "https://shop.example/"),
            ("X-WC-Webhook-Topic", topic), ("X-WC-Webhook-ID", "7"), ("X-WC-Webhook-Delivery-ID", delivery),
        ]
    }

    static let sample = SourceConformance.Sample(
        secret: "s3cr3t&key-of-the-store",
        otherSecret: "the-secret-before-it",
        proof: .signature(header: "x-wc-webhook-signature", isTimed: false),
        [
            .init(headers: headers("order.updated"), order, expects: .facts(["order confirmed"]), id: "1042"),
            .init(
                headers: headers("order.updated"),
                #"{"id":820982911946154508,"status":"processing","date_paid_gmt":"2026-11-02T10:15:04"}"#,
                expects: .facts(["order confirmed", "order paid"]),
                id: "820982911946154508"
            ),
            .init(headers: headers("order.deleted"), #"{"id":16}"#, expects: .facts(["order removed"]), id: "16"),
            .init(headers: headers("coupon.deleted"), #"{"id":16}"#, expects: .ignored(.unknownTopic)),
        ],
        sign: Senders.signing("X-WC-Webhook-Signature") { Senders.base64($0) }
    )

    // MARK: Signature and ping

    @Test(arguments: ["s3cr3t&key", "s3cr3t&amp;key"])
    func aSecretSignsAsItWasTyped(_ secret: String) throws {
        let account = try source.account(secret)
        func refusal(_ signature: String) -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("X-WC-Webhook-Signature", signature)],
                    body: Array(Self.order.utf8)
                ),
                account
            )
        }
        #expect(refusal("X95HhPwuFkX7Iw7MDnHwcEu6GId6Ih528pNDrU+UMIk=") == nil)
        // Signed with the text as the database has it.
        #expect(refusal("79SACLXVMg09LOsozKzxbx2cRy5/ISlwPumuqT/dUDM=") == .forged)
    }

    @Test func theUnsignedPingIsAnsweredAndNothingElse() throws {
        let account = try source.account("s3cr3t&key")
        func answer(
            _ body: String,
            _ method: ReceivedRequest.Method = .post,
            _ headers: [ReceivedRequest.Header] = [("Content-Type", "application/x-www-form-urlencoded")]
        ) -> SourceAnswer? {
            source.handshake(.init(method, url: Senders.url, headers: headers, body: Array(body.utf8)), account)
        }
        #expect(answer("webhook_id=7") == .ok)
        #expect(answer("webhook_id=") == nil)
        #expect(answer("webhook_id=7&x=1") == nil)
        #expect(answer("webhook_id=7\n") == nil)
        #expect(answer("webhook_id=-7") == nil)
        #expect(answer("webhook_id=7", .get) == nil)
        #expect(answer("webhook_id=7", .post, Self.headers("order.updated")) == nil)
        #expect(answer(Self.order) == nil)
    }

    @Test func ordersOfOneSecondAreTwoEvents() {
        func key(_ body: String, _ topic: String = "order.updated") -> String {
            source.eventKey(of: Senders.event(body, Self.headers(topic))).value
        }
        // The delivery id is the same.
        #expect(key(#"{"id":1}"#) != key(#"{"id":2}"#))
        #expect(key(#"{"id":1}"#) != key(#"{"id":1}"#, "order.created"))
        let other = Senders.event(#"{"id":1}"#, Self.headers("order.updated", delivery: "another"))
        #expect(source.eventKey(of: other).value == key(#"{"id":1}"#))
    }

    // MARK: Facts

    private func keys(_ body: String, _ settings: [String: String] = [:]) throws -> [String] {
        try source.keys(body, Self.headers("order.updated"), settings)
    }

    @Test func aStatusSaysWhatHappened() throws {
        func keys(_ status: String, _ more: String = "") throws -> [String] {
            try self.keys(#"{"id":1042,"status":"\#(status)"\#(more)}"#)
        }
        #expect(try keys("pending") == [])
        #expect(try keys("on-hold") == ["order:acme.1042:confirmed"])
        #expect(try keys("processing") == ["order:acme.1042:confirmed"])
        let paid = #","date_paid_gmt":"2026-11-02T10:15:04""#
        #expect(try keys("processing", paid) == ["order:acme.1042:confirmed", "order:acme.1042:paid"])
        #expect(try keys("completed") == ["order:acme.1042:status-completed"])
        #expect(try keys("cancelled") == ["order:acme.1042:cancelled"])
        #expect(
            try keys("refunded", #","refunds":[{"id":8},{"id":9}]"#) == [
                "order:acme.1042:refunded:8", "order:acme.1042:refunded:9",
            ]
        )
        #expect(try keys("refunded") == ["order:acme.1042:refunded"])
        #expect(try keys("ready-for-pickup") == ["order:acme.1042:ready"])
        #expect(try keys("wc-ready-for-pickup") == ["order:acme.1042:ready"])
        #expect(try keys("en-camino") == ["order:acme.1042:status-en-camino"])
        let tracked =
            #","meta_data":[{"key":"_wc_shipment_tracking_items","value":[{"tracking_provider":"Correos","#
            + #""tracking_number":"PQ1","custom_tracking_link":"https://t.example/PQ1"}]}]"#
        #expect(try keys("completed", tracked) == ["order:acme.1042:status-completed", "order:acme.1042:shipped:PQ1"])
        #expect(try keys("cancelled", tracked) == ["order:acme.1042:cancelled"])
    }

    @Test func aRefundHasItsOwnAmount() throws {
        let body =
            #"{"id":1,"status":"processing","total":"100.00","currency":"EUR","#
            + #""refunds":[{"id":8,"total":"-5.00"},{"id":9}]}"#
        let reading = try source.read(Senders.event(body, Self.headers("order.updated")), source.checked([:]))
        guard case .facts(let facts) = reading else { return #expect(Bool(false), "\(reading)") }
        var amounts: [String: String] = [:]
        for case .order(let order) in facts {
            if case .refunded(let refund?) = order.moment { amounts[refund] = order.total?.amount ?? "none" }
        }
        #expect(amounts == ["8": "5.00", "9": "none"])
    }

    @Test func theStatusForPickupIsTheStoresOwn() throws {
        let body = #"{"id":1,"status":"listo"}"#
        #expect(try keys(body, ["pickup_status": "wc-listo"]) == ["order:acme.1:ready"])
        #expect(try keys(body) == ["order:acme.1:status-listo"])
    }

    @Test func idsAndPricesMayBeOtherTypes() throws {
        let body =
            #"{"id":"1042","number":1042,"status":"processing","currency":"eur","total":31.20,"#
            + #""date_modified_gmt":"2026-11-02T10:15:04","billing":{"phone":600111222,"country":"ES","first_name":"Ana"},"#
            + #""meta_data":[{"key":"wpml_language","value":"es"}]}"#
        let order = try #require(source.facts(body, Self.headers("order.updated")).first?.order)
        #expect(order.record.id == "1042")
        #expect(order.record.at == Timestamp(rfc3339: "2026-11-02T10:15:04Z"))
        #expect(order.number == "1042")
        #expect(order.total == SourceFact.Money(amount: "31.20", currency: "EUR"))
        #expect(order.person.phones == ["600111222"])
        #expect(order.person.language == "es")
    }

    @Test func draftsAndThinEventsAreIgnored() throws {
        func reading(_ topic: String, _ body: String) throws -> SourceReading {
            try source.read(Senders.event(body, Self.headers(topic)), SourceSettings())
        }
        #expect(try reading("order.created", #"{"id":1,"status":"checkout-draft"}"#) == .ignored(.draft))
        #expect(
            try reading("action.woocommerce_order_status_completed", #"{"action":"x","arg":1}"#)
                == .ignored(.unknownTopic)
        )
        #expect(throws: Refusal.self) { try reading("order.created", #"{"id":1}"#) }
        #expect(throws: Refusal.self) { try reading("order.created", #"{"status":"processing"}"#) }
    }

    @Test func recordedPayloadsAreRead() throws {
        for (name, headers, body) in try RecordedSamples.webhooks(of: "woocommerce") {
            let event = ReceivedEvent(headers: headers, body: body, receivedAt: SourceConformance.now)
            #expect(try source.read(event, SourceSettings()) == .ignored(.unknownTopic), "\(name)")
        }
    }

    @Test func anOrderOfFarTooManyPartsIsRefused() {
        let refunds = (0..<201).map { #"{"id":\#($0),"total":"-1"}"# }.joined(separator: ",")
        let body = Array(#"{"id":1,"status":"refunded","refunds":[\#(refunds)]}"#.utf8)
        let event = ReceivedEvent(
            headers: [("x-wc-webhook-topic", "order.updated")],
            body: body,
            receivedAt: SourceConformance.now
        )
        #expect(throws: Refusal.self) { try WooCommerceSource().read(event, SourceSettings()) }
    }
}
