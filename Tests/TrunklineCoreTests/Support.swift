import TestKit
import Testing

@testable import TrunklineCore

/// Runs a property with a fixed and a fresh seed; both are printed, so that a failure can be run again.
func withSeeds(_ property: (UInt64, inout SeededGenerator) throws -> Void) rethrows {
    for seed in [42, UInt64.random(in: 0 ... .max)] {
        print("seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        try property(seed, &generator)
    }
}

/// The refusal that `body` throws; fails the test when it throws none.
func refusal(
    _ note: String = "",
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) -> Refusal? {
    do {
        try body()
        Issue.record("accepted: \(note)", sourceLocation: sourceLocation)
    } catch let refusal as Refusal {
        return refusal
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

enum Sample {
    /// The message of the documentation.
    static let full = #"""
        {"schema":"trunkline.send.v1","line":"acme-il","key":"order:acme.1042:ready","to":"+972501234567",
         "body":"Your order 1042 is ready.","button":{"text":"See order","url":"https://shop.example/o/1042"},
         "purpose":"pickup","notBefore":null,"sendBefore":"2026-12-01T18:00:00Z","supersedeKey":"order:acme.1042","factAt":"2026-12-01T09:00:00Z",
         "orderingKey":null,"tags":{"order":"1042"}}
        """#

    /// The required fields, each replaceable by raw JSON (nil leaves the field out), and further raw members.
    static func json(_ changes: [String: String?] = [:], extra: String = "") -> [UInt8] {
        var fields: [(String, String?)] = [
            ("schema", #""trunkline.send.v1""#), ("line", #""acme-il""#), ("key", #""order:acme.1042:ready""#),
            ("to", #""+972501234567""#), ("body", #""Your order 1042 is ready.""#), ("purpose", #""pickup""#),
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

    static func job(body: String = "Your order 1042 is ready.", button: Button? = nil) throws -> SendJob {
        try SendJob(
            line: LineID("acme-il"),
            key: IdempotencyKey("order:acme.1042:ready"),
            to: PhoneNumber("+972501234567"),
            body: body,
            button: button,
            purpose: .pickup
        )
    }
}

func hex(_ bytes: [UInt8]) -> String { Digest.hex(bytes) }
