import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct ShopifySourceTests {
    static let secret = "shpss_ezw_test_5f0c2b7e"
    private static let order =
        ##"{"id":5512345678901,"admin_graphql_api_id":"gid://shopify/Order/5512345678901","name":"#1042","currency":"EUR","##
        + #""total_price":"59.90","phone":"+34600111222","customer_locale":"es-ES"}"#
    private let source = ShopifySource()

    static func headers(_ topic: String, _ more: [ReceivedRequest.Header] = []) -> [ReceivedRequest.Header] {
        [
            ("Content-Type", "application/json"), ("X-Shopify-Topic", topic),
            ("X-Shopify-Shop-Domain", "demo.myshopify.com"), ("X-Shopify-API-Version", "2026-10"),
            ("X-Shopify-Webhook-Id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
            ("X-Shopify-Triggered-At", "2026-11-01T12:26:40.123456789Z"),
        ] + more
    }

    private static func fixture(
        _ topic: String,
        _ body: String,
        expects: SourceConformance.Fixture.Expected,
        id: String? = nil
    ) -> SourceConformance.Fixture {
        .init(
            headers: headers(topic, [("X-Shopify-Event-Id", "98880550-7158-44d4-b7cd-2c97c8a091b5")]),
            body,
            expects: expects,
            id: id
        )
    }

    static let sample = SourceConformance.Sample(
        secret: secret,
        otherSecret: "shpss_another_0123456789",
        proof: .signature(header: "x-shopify-hmac-sha256", isTimed: false),
        [
            fixture("orders/create", order, expects: .facts(["order confirmed"]), id: "5512345678901"),
            fixture(
                "orders/paid",
                ##"{"id":820982911946154508,"name":"#1043","customer":{"first_name":"José","last_name":"Muñoz"}}"##,
                expects: .facts(["order paid"]),
                id: "820982911946154508"
            ),
            fixture(
                "fulfillments/create",
                #"{"id":255858046,"order_id":820982911946154508,"status":"success","tracking_number":"1Z2345","#
                    + #""tracking_url":"https://t.example/1Z2345","updated_at":"2026-11-02T10:15:04-05:00"}"#,
                expects: .facts(["order shipped"]),
                id: "820982911946154508"
            ),
            fixture(
                "fulfillment_orders/line_items_prepared_for_pickup",
                #"{"fulfillment_order":{"id":"gid://shopify/FulfillmentOrder/1","status":"open"}}"#,
                expects: .fetch("order_of_fulfillment_order"),
                id: "gid://shopify/FulfillmentOrder/1"
            ),
            fixture("products/update", #"{"id":1}"#, expects: .ignored(.unknownTopic)),
        ],
        sign: Senders.signing("X-Shopify-Hmac-Sha256") { Senders.base64($0) }
    )

    // MARK: Signature

    @Test(arguments: [
        (secret, order, "R/ZT+TGUedemk7uoDnAPfmi4lyjad5szccBUXbxb2T0="),
        (
            secret, ##"{"id":820982911946154508,"name":"#1043","customer":{"first_name":"José","last_name":"Muñoz"}}"##,
            "bQHt2e90DMr5FrbKfSXUp0ysz+U/QHZl0szRQzUUe1U="
        ),
        // The test of Shopify's own library.
        ("test_secret_key", #"{"foo": "bar"}"#, "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="),
    ])
    func publishedSignatures(_ secret: String, _ body: String, _ signature: String) throws {
        let account = try source.account(secret)
        for header in ["X-Shopify-Hmac-Sha256", "x-shopify-hmac-sha256", "shopify-hmac-sha256"] {
            let request = ReceivedRequest(url: Senders.url, headers: [(header, signature)], body: Array(body.utf8))
            #expect(source.refusal(of: request, account) == nil)
        }
    }

    @Test func ofTwoFamiliesTheNewerOneCounts() throws {
        let account = try source.account(Self.secret)
        let right = "R/ZT+TGUedemk7uoDnAPfmi4lyjad5szccBUXbxb2T0="
        let wrong = "bQHt2e90DMr5FrbKfSXUp0ysz+U/QHZl0szRQzUUe1U="
        func refusal(_ classic: String, _ events: String) -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("X-Shopify-Hmac-Sha256", classic), ("Shopify-Hmac-Sha256", events)],
                    body: Array(Self.order.utf8)
                ),
                account
            )
        }
        #expect(refusal(wrong, right) == nil)
        #expect(refusal(right, wrong) == .forged)
    }

    @Test func anEmptyBodyIsNeverRight() throws {
        let signature = Senders.base64(Senders.hmac([], Self.secret))
        let request = ReceivedRequest(url: Senders.url, headers: [("X-Shopify-Hmac-Sha256", signature)], body: [])
        #expect(source.refusal(of: request, try source.account(Self.secret)) == .malformed)
    }

    // MARK: Keys of events

    @Test func theKeyIsShopTopicAndEvent() {
        func key(_ headers: [ReceivedEvent.Header]) -> String {
            source.eventKey(of: Senders.event("{}", headers)).value
        }
        let event = ("X-Shopify-Event-Id", "e1")
        #expect(key(Self.headers("orders/create", [event])) == "shopify:demo.myshopify.com|orders/create|e1")
        // One action of the merchant tells both under one id.
        #expect(key(Self.headers("orders/paid", [event])) == "shopify:demo.myshopify.com|orders/paid|e1")
        #expect(
            key(Self.headers("orders/paid"))
                == "shopify:demo.myshopify.com|orders/paid|webhook:b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"
        )
        #expect(key([("X-Shopify-Topic", "orders/paid")]).hasPrefix("sha256:"))
        func newer(_ action: String) -> [ReceivedEvent.Header] {
            [
                ("shopify-topic", "FulfillmentOrder"), ("shopify-action", action), ("shopify-shop-domain", "d"),
                ("shopify-event-id", "e1"),
            ]
        }
        #expect(key(newer("moved")) == "shopify:d|fulfillment_orders/moved|e1")
        // The verb stands apart there, and belongs to the topic.
        #expect(key(newer("moved")) != key(newer("rescheduled")))
    }

    // MARK: Facts

    @Test func anOrderIsReadWhole() throws {
        let body = """
            {"id":820982911946154508,"name":"#1042","created_at":"2026-11-01T10:00:00+01:00",
             "updated_at":"2026-11-02T10:15:04-05:00","financial_status":"paid","currency":"EUR","total_price":"59.90",
             "current_total_price":"49.90","order_status_url":"https://shop.example/o/1042","customer_locale":"es-ES",
             "phone":null,"shipping_address":{"first_name":"Ana","last_name":"Ruiz","phone":"600 111 222","country_code":"es"},
             "billing_address":{"phone":"600 111 222"},"customer":{"phone":"","default_address":{"phone":"+34 911 222 333"}},
             "line_items":[{"id":1,"title":"Café","quantity":2},{"id":2,"title":null}],
             "shipping_lines":[{"title":"Correos"}]}
            """
        let order = try #require(source.facts(body, Self.headers("orders/create")).first?.order)
        #expect(order.record.id == "820982911946154508")
        #expect(order.record.at == Timestamp(rfc3339: "2026-11-02T15:15:04Z"))
        #expect(order.record.createdAt == Timestamp(rfc3339: "2026-11-01T09:00:00Z"))
        #expect(order.number == "#1042")
        #expect(order.person.phones == ["600 111 222", "+34 911 222 333"])
        #expect(order.person.name == "Ana Ruiz")
        #expect(order.person.firstName == "Ana")
        #expect(order.person.country == "ES")
        #expect(order.person.language == "es-ES")
        #expect(order.total == SourceFact.Money(amount: "49.90", currency: "EUR"))
        #expect(order.items == [.init(title: "Café", quantity: "2")])
        #expect(order.links == [.init(.status, "https://shop.example/o/1042")])
        #expect(order.details["shipping"] == "Correos")
    }

    @Test func eachTopicHasItsKeys() throws {
        func keys(_ topic: String, _ body: String) throws -> [String] { try source.keys(body, Self.headers(topic)) }
        #expect(try keys("orders/create", #"{"id":1042}"#) == ["order:acme.1042:confirmed"])
        #expect(try keys("orders/paid", #"{"id":1042}"#) == ["order:acme.1042:paid"])
        #expect(try keys("orders/cancelled", #"{"id":1042}"#) == ["order:acme.1042:cancelled"])
        #expect(try keys("orders/updated", #"{"id":1042}"#) == [])
        #expect(try keys("orders/delete", #"{"id":1042}"#) == [])
        #expect(try keys("refunds/create", #"{"id":7,"order_id":1042}"#) == ["order:acme.1042:refunded:7"])
        let shipped = #"{"id":9,"order_id":1042,"status":"success","tracking_number":"T-1","shipment_status":null}"#
        #expect(try keys("fulfillments/create", shipped) == ["order:acme.1042:shipped:9"])
        #expect(try keys("fulfillments/update", shipped) == ["order:acme.1042:tracking:9.T-1"])
        #expect(
            try keys(
                "fulfillments/update",
                #"{"id":9,"order_id":1042,"status":"success","shipment_status":"delivered"}"#
            )
                == ["order:acme.1042:delivered:9"]
        )
        for (name, number) in [("#1042.1", "#1042"), ("EU.1042.12", "EU.1042"), ("EU.1042-A", "EU.1042-A")] {
            let parcel = ##"{"id":9,"order_id":1042,"status":"success","name":"\##(name)"}"##
            let fact = try #require(source.facts(parcel, Self.headers("fulfillments/create")).first)
            #expect(fact.order?.number == number)
        }
        #expect(try keys("fulfillments/create", #"{"id":9,"order_id":1042,"status":"cancelled"}"#) == [])
        // A state, which each later update has again.
        let failed = #"{"id":9,"order_id":1042,"status":"success","shipment_status":"attempted_delivery"}"#
        #expect(try keys("fulfillments/update", failed) == [])
        func progress(_ status: String) throws -> [String] {
            try keys(
                "fulfillment_events/create",
                #"{"id":3,"fulfillment_id":9,"order_id":1042,"status":"\#(status)","happened_at":"2026-11-02T10:15:04.5Z"}"#
            )
        }
        #expect(try progress("out_for_delivery") == ["order:acme.1042:out_for_delivery:9"])
        #expect(try progress("delivered") == ["order:acme.1042:delivered:9"])
        #expect(try progress("ready_for_pickup") == ["order:acme.1042:ready"])
        #expect(
            try progress("attempted_delivery")
                == ["order:acme.1042:delivery-changed:attempted_delivery:9:20261102T101504Z"]
        )
        #expect(try progress("in_transit") == [])
        #expect(
            try keys(
                "draft_orders/update",
                #"{"id":5,"status":"invoice_sent","invoice_sent_at":"2026-11-02T10:15:04+01:00"}"#
            )
                == ["order:acme.5:invoice:20261102T091504Z"]
        )
        #expect(try keys("customers/create", #"{"id":77,"phone":"+34600111222"}"#) == ["lead:acme.77:first-touch"])
        #expect(try keys("checkouts/create", #"{"id":78,"token":"a1b2"}"#) == ["lead:acme.a1b2:first-touch"])
    }

    @Test func whatSaysNothingIsIgnoredInWords() throws {
        func reading(_ topic: String, _ body: String = #"{"id":1}"#, _ more: [ReceivedEvent.Header] = []) throws
            -> SourceReading
        {
            try source.read(Senders.event(body, Self.headers(topic, more)), SourceSettings())
        }
        #expect(try reading("orders/create", #"{"id":1}"#, [("X-Shopify-Test", "true")]) == .ignored(.test))
        #expect(try reading("orders/create", #"{"id":1,"test":true}"#) == .ignored(.test))
        #expect(try reading("orders/fulfilled") == .ignored(.covered))
        #expect(try reading("app/uninstalled") == .ignored(.lifecycle))
        #expect(try reading("customers/redact") == .ignored(.privacy))
        #expect(try reading("draft_orders/create") == .ignored(.draft))
        #expect(
            try reading("checkouts/update", #"{"token":"t","completed_at":"2026-11-02T10:15:04Z"}"#)
                == .ignored(.covered)
        )
        #expect(try reading("themes/publish") == .ignored(.unknownTopic))
    }

    @Test func whatOnlyPointsAtAnOrderIsFetched() throws {
        let event = Senders.event(
            #"{"fulfillment_order":{"id":"gid://shopify/FulfillmentOrder/1"}}"#,
            Self.headers("fulfillment_orders/rescheduled")
        )
        #expect(
            try source.read(event, SourceSettings())
                == .fetch(
                    RecordToFetch(
                        type: "order_of_fulfillment_order",
                        id: "gid://shopify/FulfillmentOrder/1",
                        event: "rescheduled",
                        at: Timestamp(rfc3339: "2026-11-01T12:26:40.123456Z")
                    )
                )
        )
    }

    @Test(arguments: [#"{}"#, #"{"id":null}"#, #"{"id":8.20982911946154508e17}"#, #"{"id":"1","id":"2"}"#, "[]", "{"])
    func whatIsNoOrderIsRefused(_ body: String) {
        #expect(throws: Refusal.self) {
            try source.read(Senders.event(body, Self.headers("orders/create")), SourceSettings())
        }
    }

    @Test func recordedPayloadsAreRead() throws {
        for (name, headers, body) in try RecordedSamples.webhooks(of: "shopify") {
            let real = headers.filter { $0.name != "x-shopify-test" }
            // They were recorded from the shop's test button, which says so twice.
            let order = Array(
                String(decoding: body, as: UTF8.self).replacing("\"test\":true", with: "\"test\":false").utf8
            )
            let event = ReceivedEvent(headers: real, body: order, receivedAt: SourceConformance.now)
            let reading = try source.read(event, SourceSettings())
            let ignored = ["orders.fulfilled.json", "fulfillment_events.create.json"].contains(name)
            if case .ignored = reading { #expect(ignored, "\(name)") } else { #expect(!ignored, "\(name)") }
        }
    }
}
