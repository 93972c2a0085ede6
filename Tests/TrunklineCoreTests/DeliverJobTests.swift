import Testing

@testable import TrunklineCore

@Suite struct DeliverJobTests {
    /// The message of the documentation.
    static let full = #"""
        {"schema":"trunkline.deliver.v1","destination":"acme-crm","key":"event:acme.1042.ready","type":"order.ready",
         "timestamp":"2026-12-01T09:00:00+02:00","data":{"total":1.10,"order":"1042","lines":[{"b":true,"a":null}]},
         "notBefore":null,"sendBefore":"2026-12-02T18:00:00Z","supersedeKey":"order:acme.1042","factAt":"2026-12-01T09:00:00Z",
         "orderingKey":"order:acme.1042","tags":{"shop":"acme"}}
        """#

    /// The required fields, each replaceable by raw JSON (nil leaves the field out), and further raw members.
    private static func json(_ changes: [String: String?] = [:], extra: String = "") -> [UInt8] {
        var fields: [(String, String?)] = [
            ("schema", #""trunkline.deliver.v1""#), ("destination", #""acme-crm""#),
            ("key", #""event:acme.1042.ready""#),
            ("type", #""order.ready""#), ("timestamp", #""2026-12-01T09:00:00Z""#), ("data", #"{"order":"1042"}"#),
        ]
        for (name, value) in changes.sorted(by: { $0.key < $1.key }) {
            if let index = fields.firstIndex(where: { $0.0 == name }) {
                fields[index].1 = value
            } else {
                fields.append((name, value))
            }
        }
        let members = fields.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
        return Array("{\(members.joined(separator: ","))\(extra)}".utf8)
    }

    @Test func readsTheDocumentedMessage() throws {
        let job = try DeliverJob.decode(json: Array(Self.full.utf8))
        #expect(job.destination.value == "acme-crm" && job.laneName == "destination:acme-crm")
        #expect(job.key.value == "event:acme.1042.ready" && job.type == "order.ready")
        #expect(job.happenedAt.rfc3339 == "2026-12-01T07:00:00Z")
        #expect(job.data["order"]?.text == "1042")
        #expect(job.notBefore == nil && job.sendBefore?.rfc3339 == "2026-12-02T18:00:00Z")
        #expect(job.supersedeKey == "order:acme.1042" && job.factAt?.rfc3339 == "2026-12-01T09:00:00Z")
        #expect(job.orderingKey == "order:acme.1042" && job.orderingName == "order:acme.1042")
        #expect(job.tags == ["shop": "acme"])
        #expect(try QueueMessage.decode(Array(Self.full.utf8)) == .deliver(job))
        #expect(try CarriedWork.decode(json: Array(Self.full.utf8)) == .deliver(job))
        #expect(try DeliverJob.decode(json: Self.json()).orderingName == "event:acme.1042.ready")
    }

    /// Members of `data` by name, numbers as they were written: the bytes that are signed and compared for ever.
    @Test func writesCanonically() throws {
        let job = try DeliverJob.decode(json: Array(Self.full.utf8))
        let data = #"{"lines":[{"a":null,"b":true}],"order":"1042","total":1.10}"#
        #expect(
            String(decoding: job.encode(), as: UTF8.self)
                == #"{"schema":"trunkline.deliver.v1","destination":"acme-crm","key":"event:acme.1042.ready","type":"order.ready","#
                + #""timestamp":"2026-12-01T07:00:00Z","data":\#(data),"sendBefore":"2026-12-02T18:00:00Z","#
                + #""supersedeKey":"order:acme.1042","factAt":"2026-12-01T09:00:00Z","orderingKey":"order:acme.1042","#
                + #""tags":{"shop":"acme"}}"#
        )
        #expect(
            String(decoding: job.content, as: UTF8.self)
                == #"{"type":"order.ready","timestamp":"2026-12-01T07:00:00Z","data":\#(data)}"#
        )
        let named = Array(#"{"type":"order.ready","data":\#(data)}"#.utf8)
        #expect(job.contentDigest == Array(Digest.sha256(named).prefix(16)))
    }

    @Test func whatIsContentAndWhatIsNot() throws {
        let digest = try DeliverJob.decode(json: Self.json()).contentDigest
        for same: [String: String?] in [
            ["tags": #"{"a":"b"}"#], ["orderingKey": #""k""#], ["notBefore": #""2026-12-01T09:00:00Z""#],
            ["timestamp": #""2026-12-02T09:00:01Z""#], ["data": #" { "order" : "1042" } "#],
        ] {
            #expect(try DeliverJob.decode(json: Self.json(same)).contentDigest == digest, "\(same)")
        }
        for other: [String: String?] in [
            ["type": #""order.paid""#], ["data": #"{"order":1042}"#],
        ] {
            #expect(try DeliverJob.decode(json: Self.json(other)).contentDigest != digest, "\(other)")
        }
    }

    @Test func acceptsWhatTheRulesAllow() throws {
        let deep = String(repeating: #"{"a":"#, count: 15) + "{}" + String(repeating: "}", count: 15)
        for changes: [String: String?] in [
            [:], ["data": "{}"], ["data": deep], ["data": #"{"":"","é":[1e400,-0,12345678901234567890]}"#],
            ["tags": "null"], ["orderingKey": "null"], ["sendBefore": "null"], ["type": #""a""#],
            ["factAt": #""2026-12-01T09:00:00Z""#],
        ] {
            #expect(throws: Never.self, "\(changes)") { try DeliverJob.decode(json: Self.json(changes)) }
        }
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let field: String
        var kind = Refusal.Kind.invalid
        var changes: [String: String?] = [:]
        var extra = ""
        var testDescription: String { "\(field) \(changes) \(extra)" }
    }

    static let bad: [Bad] = {
        var list: [Bad] = []
        for field in ["destination", "key", "type", "timestamp", "data"] {
            list.append(Bad(field: field, changes: [field: nil]))
            list.append(Bad(field: field, changes: [field: "null"]))
            list.append(Bad(field: field, changes: [field: "7"]))
            list.append(Bad(field: field, kind: .malformed, extra: #","\#(field)":"again""#))
        }
        for (field, value) in [
            ("destination", #""a b""#), ("destination", #""""#), ("key", #""a/b""#), ("type", #""a b""#),
            ("type", "\"\(String(repeating: "a", count: 65))\""), ("timestamp", #""yesterday""#),
            ("timestamp", #""1999-12-31T23:59:59Z""#), ("data", "[]"), ("data", #""text""#),
            ("data", String(repeating: #"{"a":"#, count: 16) + "{}" + String(repeating: "}", count: 16)),
            ("orderingKey", #""a b""#), ("supersedeKey", #""a b""#), ("tags", #"{"a":1}"#), ("tags", "[]"),
        ] {
            list.append(Bad(field: field, changes: [field: value]))
        }
        list.append(Bad(field: "factAt", changes: ["supersedeKey": #""order:1""#]))
        list.append(Bad(field: "to", extra: #","to":"+972501234567""#))
        list.append(Bad(field: "line", extra: #","line":"acme-il""#))
        list.append(Bad(field: "data", kind: .malformed, changes: ["data": #"{"a":1,"a":2}"#]))
        return list
    }()

    @Test(arguments: bad)
    func refuses(_ bad: Bad) {
        let json = Self.json(bad.changes, extra: bad.extra)
        let refusal = refusal("\(bad.testDescription)") { _ = try DeliverJob.decode(json: json) }
        #expect(refusal?.kind == bad.kind && refusal?.field == bad.field, "\(String(describing: refusal))")
        #expect(refusal?.reason.contains("1042") == false && refusal?.reason.contains("1234567") == false)
        #expect(throws: Refusal.self) { try QueueMessage.decode(json) }
    }

    @Test func everyTruncationIsMalformed() {
        let whole = Array(Self.full.utf8)
        for length in 0..<whole.count {
            let refusal = refusal("\(length) bytes") { _ = try QueueMessage.decode(Array(whole[..<length])) }
            #expect(refusal?.kind == .malformed, "\(length) bytes")
        }
    }

    @Test func sizes() throws {
        let exact = Self.json()
        let fits = exact + [UInt8](repeating: 0x20, count: DeliverJob.maximumMessageBytes - exact.count)
        #expect(throws: Never.self) { try DeliverJob.decode(json: fits) }
        #expect(refusal { _ = try DeliverJob.decode(json: fits + [0x20]) }?.kind == .tooLarge)
        #expect(refusal { _ = try QueueMessage.decode(fits + [0x20]) }?.kind == .tooLarge)
    }

    @Test func theKeyMayComeBesideTheMessage() throws {
        let key = try IdempotencyKey("k:1")
        #expect(try DeliverJob.decode(json: Self.json(["key": nil]), key: key).key == key)
        #expect(refusal { _ = try DeliverJob.decode(json: Self.json(), key: key) }?.field == "key")
    }

    @Test func aPastSendBeforeIsLate() throws {
        let job = try DeliverJob.decode(json: Self.json(["sendBefore": #""2026-12-01T18:00:00Z""#]))
        let deadline = try #require(job.sendBefore)
        #expect(throws: Never.self) { try CarriedWork.deliver(job).validate(now: deadline - .microseconds(1)) }
        #expect(refusal { try CarriedWork.deliver(job).validate(now: deadline) }?.kind == .late)
    }

    @Test func descriptionsHoldNothingOfWhatHappened() throws {
        let job = try DeliverJob.decode(json: Self.json(["data": #"{"text":"SECRET"}"#]))
        for text in ["\(job)", "\(CarriedWork.deliver(job))", "\(QueueMessage.deliver(job))", String(reflecting: job)] {
            #expect(!text.contains("SECRET"), "\(text)")
        }
    }

    @Test func laneNames() throws {
        #expect(LaneName(stored: "line:a.b")?.description == "line a.b")
        #expect(LaneName(stored: "destination:crm") == .destination(try DestinationID("crm")))
        #expect(LaneName(stored: "destination:crm")?.value == "destination:crm")
        #expect(LaneName(stored: "source:shop") == .source(try SourceID("shop")))
        #expect(LaneName(stored: "source:shop")?.value == "source:shop")
        for text in ["", "line", "line:", "line:a:b", "calendar:shop", ":a", "lines:a", "destination:a b"] {
            #expect(LaneName(stored: text) == nil, "\(text)")
        }
        #expect(LaneName.shown("calendar:shop") == "calendar:shop")
    }

    @Test func origins() {
        for (address, origin) in [
            ("https://Hooks.Example/a/B?c#d", "https://hooks.example"),
            ("https://a.example:8443", "https://a.example:8443"),
            ("http://[::1]:9/x", "http://[::1]:9"), ("https://a.example?x=1", "https://a.example"),
            ("nothing", "nothing"),
        ] {
            #expect(Origin.of(address) == origin)
        }
    }
}
