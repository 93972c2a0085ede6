internal import TrunklineCore

extension CarrierConformance {
    /// Work of each role: plain, with everything, and with what has to be escaped.
    static func works(of role: Sample.Role) -> [CarriedWork] {
        // Every value is written here and keeps every rule.
        switch role {
        case .line: (try? sends().map { .send($0) }) ?? []
        case .destination: (try? deliveries().map { .deliver($0) }) ?? []
        }
    }

    private static func sends() throws -> [SendJob] {
        let texts: [(String, Button?)] = [
            ("Your order is ready.", nil),
            ("See it", try Button(text: "See order", url: "https://shop.example/o/1042?a=b")),
            ("Hi \"Marta\",\nש 😀 / \\ \u{2028} é", nil),
        ]
        return try texts.map { text, button in
            try SendJob(
                line: LineID("acme"),
                key: IdempotencyKey("order:acme.1042:ready"),
                to: PhoneNumber("+34600111222"),
                body: text,
                button: button,
                purpose: .order
            )
        }
    }

    private static func deliveries() throws -> [DeliverJob] {
        let documents = [
            "{}", #"{"b":1.50,"a":"x","nested":{"y":[1,2,{"z":null}],"x":true}}"#,
            #"{"text":"Hi \"Marta\",\nש 😀 / \\ é","number":12345678901234567890}"#,
        ]
        let time = Timestamp(microseconds: 1_796_148_000_123_456)
        return try documents.map { document in
            try DeliverJob(
                destination: DestinationID("crm"),
                key: IdempotencyKey("evt.01:crm"),
                type: "message.received",
                happenedAt: time,
                data: JSONValue(parsing: Array(document.utf8))
            )
        }
    }
}
