import Testing

@testable import TrunklineCore

@Suite struct QueueMessageTests {
    private let received = Timestamp(microseconds: 1_796_148_000_000_000)

    private func event(_ headers: [WebhookJob.Header], body: String = #"{"a":1}"#) throws -> WebhookJob {
        try WebhookJob(source: SourceID("shop"), headers: headers, body: Array(body.utf8), receivedAt: received)
    }

    // MARK: Schemas

    @Test(arguments: [
        (#"{}"#, "schema is missing or not a text"), (#"{"schema":null}"#, "schema is missing or not a text"),
        (#"{"schema":1}"#, "schema is missing or not a text"),
        (#"{"a":{"schema":"trunkline.send.v1"}}"#, "schema is missing or not a text"),
        (#"{"x":[1],"schema":"trunkline.send.v2"}"#, "schema trunkline.send.v2 is newer than this program reads"),
        (#"{"schema":"trunkline.wake.v12","new":"field"}"#, "schema trunkline.wake.v12 is newer than this program"),
        (#"{"schema":"trunkline.send.v0"}"#, "schema trunkline.send.v0 is not read here"),
        (#"{"schema":"trunkline.send"}"#, "schema trunkline.send is not read here"),
        (#"{"schema":"trunkline.deliver.v2"}"#, "schema trunkline.deliver.v2 is newer than this program reads"),
        (#"{"schema":"trunkline.notify.v1"}"#, "schema trunkline.notify.v1 is not read here"),
        (#"{"schema":"Trunkline.send.v1"}"#, "schema Trunkline.send.v1 is not read here"),
        (#"{"schema":"call +972501234567"}"#, "schema is none of ours"),
    ])
    func schemasThatAreNotOurs(_ text: String, _ reason: String) {
        let refusal = refusal(text) { _ = try QueueMessage.decode(Array(text.utf8)) }
        #expect(refusal?.kind == .unknownSchema)
        #expect(refusal?.field == "schema")
        #expect(refusal?.reason.hasPrefix(reason) == true, "\(refusal?.reason ?? "")")
    }

    @Test(arguments: ["", "[]", "null", "\"trunkline.send.v1\"", "hello", "{\"schema\":", "<xml/>", "\u{0}\u{1}"])
    func whatIsNoMessage(_ text: String) {
        #expect(refusal(text) { _ = try QueueMessage.decode(Array(text.utf8)) }?.kind == .malformed)
    }

    @Test func theSchemaMayStandAnywhere() throws {
        let text = String(decoding: Sample.json(["schema": nil]), as: UTF8.self).dropLast()
        let message = try QueueMessage.decode(Array((text + #","schema":"trunkline.send.v1"}"#).utf8))
        #expect(message == .send(try Sample.job()))
        let twice = Array((text + #","schema":"trunkline.send.v1","schema":"trunkline.send.v1"}"#).utf8)
        #expect(refusal { _ = try QueueMessage.decode(twice) }?.kind == .malformed)
    }

    @Test func eachReaderTakesItsOwnSchemaOnly() throws {
        let wake = WakeUp(job: JobID(1), attempt: AttemptNumber(0)).encode()
        #expect(refusal { _ = try SendJob.decode(json: wake) }?.kind == .unknownSchema)
        #expect(refusal { _ = try WebhookJob.decode(json: Sample.json()) }?.kind == .unknownSchema)
        #expect(refusal { _ = try DeliverJob.decode(json: Sample.json()) }?.kind == .unknownSchema)
        #expect(refusal { _ = try CarriedWork.decode(json: wake) }?.kind == .unknownSchema)
    }

    // MARK: Wake-ups

    @Test func wakeUps() throws {
        let wake = WakeUp(job: JobID(.max), attempt: AttemptNumber(3))
        #expect(
            String(decoding: wake.encode(), as: UTF8.self)
                == #"{"schema":"trunkline.wake.v1","job":"9223372036854775807","attempt":3}"#
        )
        #expect(try QueueMessage.decode(wake.encode()) == .wake(wake))
        for (members, field) in [
            (#""attempt":1"#, "job"), (#""job":1,"attempt":1"#, "job"), (#""job":"0","attempt":1"#, "job"),
            (#""job":"x","attempt":1"#, "job"), (#""job":"1""#, "attempt"), (#""job":"1","attempt":-1"#, "attempt"),
            (#""job":"1","attempt":"1""#, "attempt"), (#""job":"1","attempt":1.5"#, "attempt"),
            (#""job":"1","attempt":1e3"#, "attempt"), (#""job":"1","attempt":2147483648"#, "attempt"),
            (#""job":"1","attempt":1,"line":"a""#, "line"),
        ] {
            let json = Array(#"{"schema":"trunkline.wake.v1",\#(members)}"#.utf8)
            let refusal = refusal(members) { _ = try QueueMessage.decode(json) }
            #expect(refusal?.kind == .invalid && refusal?.field == field, "\(members)")
        }
    }

    // MARK: Received events

    @Test func webhooksRoundTrip() throws {
        let job = try event([
            ("X-EZW-Delivery-Id", "d-1"), ("Via", "a"), ("Content-Type", "application/json; x=\"é\""), ("Via", "b"),
        ])
        let text = String(decoding: job.encode(), as: UTF8.self)
        #expect(
            text == #"{"schema":"trunkline.webhook.v1","source":"shop","headers":{"X-EZW-Delivery-Id":"d-1","#
                + #""Via":["a","b"],"Content-Type":"application/json; x=\"é\""},"bodyBase64":"eyJhIjoxfQ==","#
                + #""receivedAt":"2026-12-01T18:00:00Z"}"#
        )
        guard case .webhook(let back) = try QueueMessage.decode(job.encode()) else {
            Issue.record("not a webhook")
            return
        }
        #expect(back.body == job.body && back.source == job.source && back.receivedAt == job.receivedAt)
        #expect(back.headers.map(\.name) == ["X-EZW-Delivery-Id", "Via", "Via", "Content-Type"])
        #expect(back.encode() == job.encode())
    }

    @Test func webhookSizes() throws {
        let most = [UInt8](repeating: 0, count: 1_048_576)
        let job = try WebhookJob(source: SourceID("s"), headers: [], body: most, receivedAt: received)
        #expect(try QueueMessage.decode(job.encode()) == .webhook(job))
        let refusal = refusal {
            _ = try WebhookJob(source: SourceID("s"), headers: [], body: most + [0], receivedAt: received)
        }
        #expect(refusal?.kind == .tooLarge)
        let empty = try WebhookJob(source: SourceID("s"), headers: [], body: [], receivedAt: received)
        #expect(try WebhookJob.decode(json: empty.encode()) == empty)
    }

    @Test(arguments: [
        (#""headers":{},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "source"),
        (#""source":"a b","headers":{},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "source"),
        (#""source":"a","bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":[],"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"a":1},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"a":["x",1]},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"a b":"x"},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"":"x"},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"a":"x\ny"},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{"a":"x\u0000"},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z""#, "headers"),
        (#""source":"a","headers":{},"receivedAt":"2026-12-01T18:00:00Z""#, "bodyBase64"),
        (#""source":"a","headers":{},"bodyBase64":"_-8=","receivedAt":"2026-12-01T18:00:00Z""#, "bodyBase64"),
        (#""source":"a","headers":{},"bodyBase64":"","receivedAt":"2026""#, "receivedAt"),
        (#""source":"a","headers":{},"bodyBase64":"""#, "receivedAt"),
        (#""source":"a","headers":{},"bodyBase64":"","receivedAt":"2026-12-01T18:00:00Z","line":"x""#, "line"),
    ])
    func webhookRules(_ members: String, _ field: String) {
        let json = Array(#"{"schema":"trunkline.webhook.v1",\#(members)}"#.utf8)
        let refusal = refusal(members) { _ = try QueueMessage.decode(json) }
        #expect(refusal?.kind == .invalid)
        #expect(refusal?.field == field)
    }
}
