import TestKit
import Testing

@testable import TrunklineCore

/// Every parser of messages and records, fed with what nobody sends. What is taken is the same when it is written and read again.
@Suite struct FuzzTests {
    private static let send = [
        #"{"schema":"trunkline.send.v1","line":"acme-il","key":"order:acme.1042:ready","to":"+972501234567","body":"Your order 1042 is ready.","purpose":"pickup"}"#,
        #"{"line":"acme-il","key":"k","to":"+972501234567","body":"\u05e9\ud83d\ude00","purpose":"order","notBefore":"2026-12-01T09:00:00.5+02:00","sendBefore":"2026-12-02T09:00:00Z","supersedeKey":"order:1","factAt":"2026-12-01T08:00:00Z","orderingKey":"o","tags":{"a":"b","c":""},"ctaUrlButton":{"text":"See","url":"https://shop.example/o/1"}}"#,
    ]
    private static let deliver = [
        #"{"schema":"trunkline.deliver.v1","destination":"acme-crm","key":"order:1:3","type":"order.shipped","timestamp":"2026-12-01T09:03:00Z","data":{"order":"1","n":[1,2.50,-3e2,null,true,{"a":{}}]},"orderingKey":"order:1","notBefore":"2026-12-01T09:00:00Z"}"#
    ]
    private static let webhook = [
        #"{"schema":"trunkline.webhook.v1","source":"acme-shop","headers":[["X-Shopify-Topic","orders/create"]],"body":"eyJpZCI6MX0=","receivedAt":"2026-12-01T09:00:00Z"}"#,
        #"{"schema":"trunkline.webhook.v1","source":"acme-shop","headers":{"X-Shopify-Topic":"orders/create"},"body":"e30=","receivedAt":"2026-12-01T09:00:00Z"}"#,
    ]
    private static let contact = [
        #"{"factAt":"2026-12-01T09:00:00Z","name":"Noa Levi","firstName":"Noa","language":"he-IL","country":"IL","timeZone":"Asia/Jerusalem","consent":{"given":true},"ids":{"shopify":"115310627314723954"},"links":{"crm":"https://crm.example/1"},"data":{"points":1.50e2,"vip":true,"none":null}}"#
    ]
    private static let order = [
        ##"{"factAt":"2026-12-01T09:00:00Z","number":"#1042","state":"paid","payment":"paid","phone":"+972501234567","total":{"amount":"129.90","currency":"ILS"},"items":[{"title":"Lamp","quantity":"1"}],"tracking":"T1","data":{"a":1e-7}}"##
    ]
    private static let seeds: [UInt64] = [1, 2]

    private static func corpus(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }

    @Test(arguments: seeds) func notices(_ seed: UInt64) throws {
        for input in ByteFuzzer(Self.corpus(Self.send), seed: seed, part: "send") {
            guard let job = try? SendJob.decode(addressed: input) else { continue }
            #expect(try SendJob.decode(json: job.encode()) == job)
        }
    }

    @Test(arguments: seeds) func deliveries(_ seed: UInt64) throws {
        for input in ByteFuzzer(Self.corpus(Self.deliver), seed: seed, part: "deliver") {
            guard let job = try? DeliverJob.decode(addressed: input) else { continue }
            let again = try DeliverJob.decode(json: job.encode())
            // As values they may differ: members keep the order in which they came.
            #expect(again.encode() == job.encode() && again.contentDigest == job.contentDigest)
        }
    }

    @Test(arguments: seeds) func messagesOfTheQueue(_ seed: UInt64) throws {
        let corpus = Self.corpus(Self.send + Self.deliver + Self.webhook)
        for input in ByteFuzzer(corpus, seed: seed, part: "queue") {
            guard case .webhook(let job)? = try? QueueMessage.decode(input) else { continue }
            #expect(try WebhookJob.decode(json: job.encode()) == job)
        }
    }

    @Test(arguments: seeds) func records(_ seed: UInt64) throws {
        for input in ByteFuzzer(Self.corpus(Self.contact), seed: seed, part: "contact") {
            if let facts = try? ContactFacts.decode(json: input) { _ = "\(facts)" }
        }
        for input in ByteFuzzer(Self.corpus(Self.order), seed: seed, part: "order") {
            if let facts = try? OrderFacts.decode(json: input) { _ = "\(facts)" }
        }
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
            if let phone = try? PhoneNumber(text) { #expect(phone.description.count > 0) }
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
