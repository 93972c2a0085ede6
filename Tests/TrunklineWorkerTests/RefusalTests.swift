import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Bad input on AMQP: recorded with its reason and bytes, never requeued for ever, never dropped; its neighbours go on.
@Suite struct RefusalTests {
    @Test func everyKindOfBadMessageIsRecordedAndItsNeighboursAreSent() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            let good = try TestInstall.jobs(40)
            func altered(_ from: String, _ to: String) throws -> [UInt8] {
                let text = String(
                    decoding: try TestInstall.job("bad.\(UInt32.random(in: 0 ... .max))").encode(),
                    as: UTF8.self
                )
                let result = text.replacing(from, with: to)
                try #require(result != text)
                return Array(result.utf8)
            }
            let cases: [(kind: String, field: String?, body: [UInt8])] = [
                ("malformed", nil, Array("not json".utf8)),
                ("malformed", nil, Array(good[0].encode().dropLast(7))),
                ("malformed", nil, [0xFF, 0xFE, 0x00]),
                ("malformed", nil, []),
                ("too_large", nil, try altered("Notice", String(repeating: "x", count: 1 << 20))),
                ("malformed", nil, Array(repeating: UInt8(ascii: "x"), count: 1 << 20)),
                ("unknown_schema", "schema", try altered("trunkline.send.v1", "somebody.else.v1")),
                ("unknown_schema", "schema", try altered("trunkline.send.v1", "trunkline.send.v9")),
                ("unknown_line", "line", try altered(#""line":"line-01""#, #""line":"nobody""#)),
                ("invalid", "to", try altered("+972501234567", "0501234567")),
                ("policy", "to", try altered("+972501234567", "123-456@g.us")),
                ("invalid", "body", try altered(#""body":"Notice"#, #""body":"\u0007Notice"#)),
                ("invalid", "purpose", try altered(#""purpose":"order""#, #""purpose":"greeting""#)),
                (
                    "late", "sendBefore",
                    try TestInstall.job("late.1", sendBefore: Timestamp(rfc3339: "2020-01-01T00:00:00Z")).encode()
                ),
                ("invalid", nil, try altered(#""purpose":"order""#, #""purpose":"order","button":{"text":"See"}"#)),
                ("invalid", nil, try altered(#""purpose":"order""#, #""purpose":"order","colour":"red""#)),
            ]
            var messages: [(String, [UInt8])] = []
            for (index, job) in good.enumerated() {
                messages.append(("send", job.encode()))
                if index < cases.count { messages.append((index % 2 == 0 ? "send" : "shard.00", cases[index].body)) }
            }
            try await install.publish(raw: messages)
            try await install.waitUntilSent(40)
            try await install.wait(for: "\(cases.count) refusals") {
                try await install.number("select count(*) from trunkline.refusals") == Int64(cases.count)
            }
            try await install.requireProof(sent: 40)
            for entry in cases {
                let digest = Digest.hex(entry.body.prefix(65_536))
                let rows = try await install.database.query(
                    "select kind, field, reason, raw_length from trunkline.refusals where raw = decode($1, 'hex')",
                    [.text(digest)]
                )
                try #require(rows.count == 1, "\(entry.kind) \(entry.field ?? "")")
                #expect(rows.text(0, 0) == entry.kind)
                if let field = entry.field { #expect(rows.text(0, 1) == field) }
                #expect(rows.int8(0, 3) == Int64(entry.body.count))
                #expect(rows.text(0, 2)?.contains("972501234567") == false)
            }
            try await install.wait(for: "nothing left in a queue") { try await install.hasEmptyQueues() }
        }
    }

    @Test func theSameKeyWithOtherContentIsRefusedInSight() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("one", body: "First text.")])
            try await install.waitUntilSent(1)
            try await install.publish([try TestInstall.job("one", body: "Second text.")])
            try await install.wait(for: "the conflict") {
                try await install.number(
                    "select count(*) from trunkline.refusals where kind = 'conflict' and key = 'one'"
                ) == 1
            }
            try await install.requireProof(sent: 1)
        }
    }

    /// What lies in a worker's memory is bounded in bytes: of a body that is longer than any valid message only the beginning
    /// is kept, and few deliveries are out where they may be as large as an event.
    @Test func aMessageLongerThanAnyIsCutAndItsNeighboursGoOn() async throws {
        try await TestInstall.with { install in
            let worker = try install.startWorker()
            let size = 3 << 20
            // The same bytes would be one refusal.
            func long(_ letter: Character) -> [UInt8] { [UInt8](repeating: letter.asciiValue!, count: size) }
            try await install.publish(
                raw: [("webhook", long("x")), ("send", try TestInstall.job("one").encode()), ("shard.00", long("y"))]
            )
            try await install.waitUntilSent(1)
            try await install.wait(for: "the refusals") {
                try await install.number(
                    "select count(*) from trunkline.refusals where kind = 'too_large' and raw_length = \(size)"
                ) == 2
            }
            let prefetches = [("webhook", 32), ("unrouted", 32), ("dead", 32), ("intake", 500), ("shard.00", 300)]
            try await install.wait(for: "a consumer of each queue with its bound: \(prefetches)") {
                let consumers = try await install.broker.consumers(of: install.vhost)
                return prefetches.allSatisfy { queue, prefetch in
                    consumers.contains(.init(queue: "trunkline." + queue, prefetch: prefetch))
                }
            }
            #expect(worker.isRunning)
            try await install.requireProof(sent: 1)
        }
    }
}
