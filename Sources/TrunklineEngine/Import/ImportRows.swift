package import TrunklineCore
internal import TrunklinePhones

/// A row of a file as it was read: a job, or why it is none.
package struct ImportRow: Sendable {
    /// Counted from 1, as an editor shows it.
    package let number: Int
    package let content: Result<CarriedWork, Refusal>

    /// A row's job after the rules that need a clock.
    static func job(_ number: Int, now: Timestamp, _ make: () throws(Refusal) -> CarriedWork) -> ImportRow {
        do throws(Refusal) {
            let job = try make()
            try job.validate(now: now)
            return ImportRow(number: number, content: .success(job))
        } catch {
            return ImportRow(number: number, content: .failure(error))
        }
    }
}

/// What cuts a file into rows, as its bytes come. Throws where the file as a whole is of no use.
package protocol ImportFormat {
    /// Takes the next bytes and gives the rows that end in them.
    ///
    /// - Parameter now: what the rules that need a clock compare with.
    mutating func push(_ chunk: [UInt8], now: Timestamp) throws -> [ImportRow]
    /// The last row, if it had no end.
    mutating func finish(now: Timestamp) throws -> [ImportRow]
}

/// NDJSON: one `trunkline.send.v1` or `trunkline.deliver.v1` object per line.
package struct NDJSONFormat: ImportFormat {
    private var lines = LineReader()

    package init() {}

    package mutating func push(_ chunk: [UInt8], now: Timestamp) -> [ImportRow] {
        lines.push(chunk).map { Self.row($0, now) }
    }

    package mutating func finish(now: Timestamp) -> [ImportRow] { lines.finish().map { Self.row($0, now) } }

    private static func row(_ line: LineReader.Line, _ now: Timestamp) -> ImportRow {
        switch line.content {
        case .tooLong(let bytes):
            let reason = "the line has \(bytes) bytes, at most \(SendJob.maximumMessageBytes) are allowed"
            return ImportRow(number: line.number, content: .failure(Refusal(kind: .tooLarge, reason: reason)))
        case .bytes(let bytes):
            return .job(line.number, now: now) { () throws(Refusal) in
                let work = try CarriedWork.decode(json: bytes)
                try PhoneNumbers.check(work)
                return work
            }
        }
    }
}

/// CSV: the first row names the columns, and a map says how a row becomes a job.
package struct CSVFormat: ImportFormat {
    private var table: MappedTable

    /// - Parameter map: nil when the columns are called like the fields of a job.
    package init(map: FieldMap?) { table = MappedTable(map: map, for: .notice) }

    /// Throws a `Refusal` for what is no table, and a ``FieldMapError`` when map and columns do not fit.
    package mutating func push(_ chunk: [UInt8], now: Timestamp) throws -> [ImportRow] {
        try table.push(chunk).map { Self.row($0, now) }
    }

    package mutating func finish(now: Timestamp) throws -> [ImportRow] { try table.finish().map { Self.row($0, now) } }

    private static func row(_ row: MappedTable.Row, _ now: Timestamp) -> ImportRow {
        .job(row.number, now: now) { () throws(Refusal) in .send(try row.content.get().job()) }
    }
}
