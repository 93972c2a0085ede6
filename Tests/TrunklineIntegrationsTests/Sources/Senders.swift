import Foundation
import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

/// Requests as senders make them, for tests.
enum Senders {
    typealias Sign = SourceConformance.Sample.Sign

    static let url = "https://hooks.example.com/in/t_0123456789abcdef"

    static func base64(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        Base64.encode(bytes, into: &out)
        return String(decoding: out, as: UTF8.self)
    }

    static func hmac(_ text: [UInt8], _ key: String) -> [UInt8] { Digest.hmacSHA256(text, key: Array(key.utf8)) }

    static func seconds(_ time: Timestamp) -> String { "\(time.microseconds / 1_000_000)" }

    static func request(
        _ fixture: SourceConformance.Fixture,
        _ headers: [ReceivedRequest.Header],
        url: String = url
    ) -> ReceivedRequest {
        ReceivedRequest(url: url, headers: fixture.headers + headers, body: fixture.body)
    }

    /// A signature of the body in a header.
    static func signing(_ header: String, _ text: @escaping @Sendable ([UInt8]) -> String) -> Sign {
        { fixture, secret, _ in request(fixture, [(header, text(hmac(fixture.body, secret)))]) }
    }

    static func event(
        _ body: String,
        _ headers: [ReceivedEvent.Header] = [("content-type", "application/json")]
    ) -> ReceivedEvent {
        ReceivedEvent(headers: headers, body: Array(body.utf8), receivedAt: SourceConformance.now)
    }
}

extension Source {
    func account(_ secret: String, _ settings: [String: String] = [:]) throws -> SourceAccount {
        try account(secret: Array(secret.utf8), settings: settings)
    }

    func facts(
        _ body: String,
        _ headers: [ReceivedEvent.Header] = [("content-type", "application/json")],
        _ settings: [String: String] = [:]
    ) throws -> [SourceFact] {
        guard case .facts(let facts) = try read(Senders.event(body, headers), SourceSettings(settings)) else {
            return []
        }
        return facts
    }

    /// The keys that its notices would have.
    func keys(
        _ body: String,
        _ headers: [ReceivedEvent.Header] = [("content-type", "application/json")],
        _ settings: [String: String] = [:]
    ) throws -> [String] {
        let acme = try SourceID("acme")
        return try facts(body, headers, settings).compactMap { try $0.key(from: acme)?.value }
    }

    func refusal(of request: ReceivedRequest, _ account: SourceAccount, at now: Timestamp = SourceConformance.now)
        -> SourceRefusal.Reason?
    {
        do throws(SourceRefusal) {
            try verify(request, account, now: now)
            return nil
        } catch {
            return error.reason
        }
    }
}

extension SourceFact {
    var order: Order? { if case .order(let order) = self { order } else { nil } }
    var lead: Lead? { if case .lead(let lead) = self { lead } else { nil } }
    var contact: Contact? { if case .contact(let contact) = self { contact } else { nil } }
    var appointment: Appointment? { if case .appointment(let appointment) = self { appointment } else { nil } }
}

/// Payloads that senders really sent, where the machine has them: `TRUNKLINE_SAMPLES` names their folder.
enum RecordedSamples {
    /// Files of `{"headers": …, "body": …}`, by name; empty where there are none.
    static func webhooks(of sender: String) throws -> [(name: String, headers: [ReceivedEvent.Header], body: [UInt8])] {
        guard let root = ProcessInfo.processInfo.environment["TRUNKLINE_SAMPLES"], !root.isEmpty else { return [] }
        let folder = URL(fileURLWithPath: root).appendingPathComponent(sender)
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "json" }
            .compactMap { file in
                let document = try JSONValue(parsing: Array(Data(contentsOf: file)), maximumDepth: 64)
                guard let headers = document["headers"], let body = document["body"],
                    case .object(let members) = headers
                else { return nil }
                var json = JSONWriter()
                json.canonical(body)
                return (
                    file.lastPathComponent,
                    members.compactMap { member in member.value.text.map { (member.name, $0) } },
                    json.bytes
                )
            }
    }
}
