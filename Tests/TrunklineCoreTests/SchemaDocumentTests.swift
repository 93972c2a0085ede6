import Foundation
import Testing

@testable import TrunklineCore

/// The published JSON Schemas and the readers must not drift apart.
@Suite struct SchemaDocumentTests {
    private func schema(_ name: String) throws -> [String: Any] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let data = try Data(contentsOf: root.appendingPathComponent("docs/schemas/\(name).schema.json"))
        return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test(arguments: MessageSchema.allCases)
    func examplesAreAccepted(_ name: MessageSchema) throws {
        let schema = try schema(name.rawValue)
        let examples = try #require(schema["examples"] as? [Any])
        #expect(!examples.isEmpty)
        for example in examples {
            let bytes = Array(try JSONSerialization.data(withJSONObject: example))
            #expect(throws: Never.self) { try QueueMessage.decode(bytes) }
        }
    }

    @Test func requiredFieldsAreTheSame() throws {
        let required = try #require(schema("trunkline.send.v1")["required"] as? [String])
        for field in required where field != "schema" {
            #expect(refusal(field) { _ = try SendJob.decode(json: Sample.json([field: nil])) }?.field == field)
        }
        #expect(Set(required) == ["schema", "line", "key", "to", "body", "purpose"])
    }

    @Test func requiredFieldsOfDeliveriesAreTheSame() throws {
        let schema = try schema("trunkline.deliver.v1")
        let required = try #require(schema["required"] as? [String])
        #expect(Set(required) == ["schema", "destination", "key", "type", "timestamp", "data"])
        let properties = try #require(schema["properties"] as? [String: Any])
        let full = try DeliverJob.decode(json: Array(DeliverJobTests.full.utf8)).encode()
        let written = try #require(JSONSerialization.jsonObject(with: Data(full)) as? [String: Any])
        #expect(Set(written.keys).isSubset(of: Set(properties.keys)))
        for field in properties.keys where field != "schema" {
            // A wrong type is refused under the field's own name: so the reader knows the field.
            var members = written
            members[field] = 7
            let bytes = Array(try JSONSerialization.data(withJSONObject: members))
            let refused = refusal(field) { _ = try DeliverJob.decode(json: bytes) }
            #expect(refused?.kind == .invalid && refused?.field == field)
            guard required.contains(field) else { continue }
            members[field] = nil
            let without = Array(try JSONSerialization.data(withJSONObject: members))
            #expect(refusal(field) { _ = try DeliverJob.decode(json: without) }?.field == field)
        }
    }

    @Test func purposesAreTheSame() throws {
        let properties = try #require(schema("trunkline.send.v1")["properties"] as? [String: Any])
        let purpose = try #require(properties["purpose"] as? [String: Any])
        #expect(purpose["enum"] as? [String] == Purpose.allCases.map(\.rawValue))
    }

    @Test func everyFieldIsRead() throws {
        let properties = try #require(schema("trunkline.send.v1")["properties"] as? [String: Any])
        let full = try SendJob.decode(json: Array(Sample.full.utf8)).encode()
        let written = try #require(JSONSerialization.jsonObject(with: Data(full)) as? [String: Any])
        #expect(Set(written.keys).isSubset(of: Set(properties.keys)))
        for field in properties.keys where field != "schema" {
            // A wrong type is refused under the field's own name: so the reader knows the field.
            let refusal = refusal(field) { _ = try SendJob.decode(json: Sample.json([field: "7"])) }
            #expect(refusal?.kind == .invalid && refusal?.field == field)
        }
    }
}
