internal import Foundation
internal import Synchronization
internal import TestKit

/// What the producer tried and what it was told: one object per line, appended before and after each promise. A try
/// without an end is a promise that nobody knows of.
package struct ProducerRecord: Codable, Sendable, Hashable {
    package enum Kind: String, Codable, Sendable {
        /// A job is about to be given to the system.
        case `try`
        /// What became of a try.
        case end
        /// `trunkline cancel` is about to run.
        case cancel
        /// What it said of one key.
        case cancelled
    }

    /// How a job is given.
    package enum Way: String, Codable, Sendable, CaseIterable {
        /// Published to the queue of the lane's shard.
        case shard
        /// Published with the routing key `send`.
        case intake
        /// Published with the routing key `bulk`.
        case bulk
        /// `trunkline enqueue`: a row in PostgreSQL.
        case row
        /// `trunkline enqueue --direct`.
        case direct
        /// Published with the routing key `send` by a client that shares no line with ours, and takes its own notes.
        case foreign
        /// Posted to a gateway.
        case posted
    }

    /// What became of a try.
    package enum Answer: String, Codable, Sendable {
        /// The broker has confirmed it, or it is a new row.
        case promised
        /// The key is there already: a promise as well.
        case again
        /// Surely not taken.
        case notTaken
        /// Nobody knows.
        case unknown
        /// Refused for what it says: a fault of the harness.
        case refused
    }

    package var kind: Kind
    /// ``Moment/now``.
    package var mono: Int64
    /// Number of the try, of its end, or of the cancel.
    package var number: Int
    package var key: String
    /// `line:ID` or `destination:ID`; of a cancel, the destination whose deliveries it means.
    package var lane: String?
    package var to: String?
    /// Of a delivery that keeps its order with others of the same.
    package var orderingKey: String?
    package var way: Way?
    /// The routing key; `row` for rows, and one name per file for `--direct` and per request for posts. Of an end: what it is
    /// known to be by then.
    package var queue: String?
    /// Whoever kept the order of its tries: one connection, one file, or one request.
    package var producer: Int?
    /// Its place among the tries of its producer.
    package var index: Int?
    package var supersedeKey: String?
    /// Microseconds since 1970.
    package var factAt: Int64?
    package var notBefore: Int64?
    package var answer: Answer?
    /// What was said in words.
    package var said: String?

    package init(_ kind: Kind, number: Int, key: String, mono: Int64 = Moment.now) {
        self.kind = kind
        self.number = number
        self.key = key
        self.mono = mono
    }
}

/// An append-only file of one object per line. Any thread.
package final class LineLog<Record: Codable & Sendable>: Sendable {
    private let handle: Mutex<FileHandle>

    /// - Throws: ``ChaosError`` when the file cannot be made.
    package init(path: String) throws(ChaosError) {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw ChaosError("\(path) cannot be written") }
        self.handle = Mutex(handle)
    }

    /// Returns when the records are with the kernel.
    package func append(_ records: [Record]) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var data = Data()
        for record in records {
            guard let line = try? encoder.encode(record) else { preconditionFailure("a record of ours is no JSON") }
            data += line
            data.append(UInt8(ascii: "\n"))
        }
        handle.withLock { $0.write(data) }
    }

    package func append(_ record: Record) { append([record]) }

    /// Every whole line of such a file.
    package static func read(path: String) throws(ChaosError) -> [Record] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ChaosError("\(path) cannot be read")
        }
        let decoder = JSONDecoder()
        var records: [Record] = []
        var number = 0
        for line in data.split(separator: UInt8(ascii: "\n")) {
            number += 1
            do {
                records.append(try decoder.decode(Record.self, from: line))
            } catch {
                // Only the last line may be torn.
                guard line.endIndex == data.endIndex, data.last != UInt8(ascii: "\n") else {
                    throw ChaosError("\(path), line \(number): \(error)")
                }
            }
        }
        return records
    }
}
