import TestKit
import Testing

@testable import TrunklineCore

/// Every parser of messages and records, fed with what nobody sends. What is taken is the same when it is written and read again.
@Suite struct FuzzTests {
    private static let send = [
        #"{"schema":"trunkline.send.v1","line":"acme-il","key":"order:acme.1042:ready","to":"+972501234567","body":"Your order 1042 is ready.","purpose":"pickup"}"#,
        #"{"line":"acme-il","key":"k","to":"+972501234567","body":"\u05e9\ud83d\ude00","purpose":"order","notBefore":"2026-12-01T09:00:00.5+02:00","sendBefore":"2026-12-02T09:00:00Z","supersedeKey":"order:1","factAt":"2026-12-01T08:00:00Z","orderingKey":"o","tags":{"a":"b","c":""},"button":{"text":"See","url":"https://shop.example/o/1"}}"#,
    ]
    private static let deliver = [
        #"{"schema":"trunkline.deliver.v1","destination":"acme-crm","key":"order:1:3","type":"order.shipped","timestamp":"2026-12-01T09:03:00Z","data":{"order":"1","n":[1,2.50,-3e2,null,true,{"a":{}}]},"orderingKey":"order:1","notBefore":"2026-12-01T09:00:00Z"}"#
    ]
    private static let webhook = [
        #"{"schema":"trunkline.webhook.v1","source":"acme-shop","headers":{"X-Shopify-Topic":"orders/create","X-A":["1","2"]},"bodyBase64":"eyJpZCI6MX0=","receivedAt":"2026-12-01T09:00:00Z"}"#
    ]
    private static let contact = [RecordFactsTests.contact]
    private static let order = [RecordFactsTests.order]
    private static let seeds: [UInt64] = [1, 2]

    private static func corpus(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }

    @Test(arguments: seeds) func notices(_ seed: UInt64) throws {
        for good in Self.corpus(Self.send) { _ = try SendJob.decode(addressed: good) }
        for input in ByteFuzzer(Self.corpus(Self.send), seed: seed, part: "send") {
            guard let job = try? SendJob.decode(addressed: input) else { continue }
            #expect(try SendJob.decode(json: job.encode()) == job)
        }
    }

    @Test(arguments: seeds) func deliveries(_ seed: UInt64) throws {
        for good in Self.corpus(Self.deliver) { _ = try DeliverJob.decode(addressed: good) }
        for input in ByteFuzzer(Self.corpus(Self.deliver), seed: seed, part: "deliver") {
            guard let job = try? DeliverJob.decode(addressed: input) else { continue }
            let again = try DeliverJob.decode(json: job.encode())
            // As values they may differ: members keep the order in which they came.
            #expect(again.encode() == job.encode() && again.contentDigest == job.contentDigest)
        }
    }

    @Test(arguments: seeds) func messagesOfTheQueue(_ seed: UInt64) throws {
        // There each says what it is.
        let corpus = Self.corpus(Self.send.prefix(1) + Self.deliver + Self.webhook)
        for good in corpus { _ = try QueueMessage.decode(good) }
        for input in ByteFuzzer(corpus, seed: seed, part: "queue") {
            switch try? QueueMessage.decode(input) {
            case .webhook(let job): #expect(try WebhookJob.decode(json: job.encode()) == job)
            case .send(let job): #expect(try SendJob.decode(json: job.encode()) == job)
            case .deliver(let job): #expect(try DeliverJob.decode(json: job.encode()).encode() == job.encode())
            default: continue
            }
        }
    }

    @Test(arguments: seeds) func records(_ seed: UInt64) throws {
        try Self.records(ContactFacts.self, Self.contact, seed)
        try Self.records(OrderFacts.self, Self.order, seed)
    }

    private static func records<Facts: RecordFacts>(_: Facts.Type, _ texts: [String], _ seed: UInt64) throws {
        for good in corpus(texts) { _ = try Facts.decode(json: good) }
        var taken = 0
        for input in ByteFuzzer(corpus(texts), seed: seed, part: "\(Facts.self)") {
            guard let facts = try? Facts.decode(json: input) else { continue }
            var json = JSONWriter()
            json.canonical(facts.nested)
            #expect(try Facts.decode(json: json.bytes).document == facts.document)
            taken += 1
        }
        #expect(taken > 20)
    }

    @Test(arguments: seeds) func documents(_ seed: UInt64) throws {
        let corpus = Self.corpus(Self.send + Self.deliver + Self.webhook + Self.contact + Self.order)
        for input in ByteFuzzer(corpus, seed: seed, part: "json") {
            guard let value = try? JSONValue(parsing: input, maximumDepth: 64) else { continue }
            var json = JSONWriter()
            json.canonical(value)
            let again = try JSONValue(parsing: json.bytes, maximumDepth: 64)
            var second = JSONWriter()
            second.canonical(again)
            #expect(second.bytes == json.bytes, "what is canonical stays as it is")
        }
    }

    @Test(arguments: seeds) func smallThings(_ seed: UInt64) {
        let corpus = Self.corpus([
            "2026-12-01T09:00:00.123456+02:00", "2026-02-29T23:59:60Z", "+972501234567", "order:acme.1042:ready",
            "YWJj", "acme-il",
        ])
        for input in ByteFuzzer(corpus, seed: seed, part: "small") {
            let text = String(decoding: input, as: UTF8.self)
            if let time = Timestamp(rfc3339: text) { #expect(Timestamp(rfc3339: time.rfc3339) == time) }
            if let bytes = Base64.decode(input) { #expect(bytes.count <= input.count) }
            if let key = try? IdempotencyKey(text) { #expect(key.value == text) }
            if let line = try? LineID(text) { #expect(line.value == text) }
            if let phone = try? PhoneNumber(text) { #expect(phone.value == text) }
            #expect(!Printable.line(text).contains("\n"))
        }
    }

    /// The damage is not so bad that nothing gets through, nor so little that everything does.
    @Test func someIsTakenAndSomeIsRefused() {
        var taken = 0
        var refused = 0
        for input in ByteFuzzer(Self.corpus(Self.send), seed: 3, part: "share", count: 4_000) {
            if (try? SendJob.decode(addressed: input)) == nil { refused += 1 } else { taken += 1 }
        }
        #expect(taken > 100 && refused > 1_000, "\(taken) taken")
    }
}
