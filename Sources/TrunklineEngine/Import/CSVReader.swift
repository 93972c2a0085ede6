package import TrunklineCore

/// A strict reader for CSV (RFC 4180) that takes bytes as they come.
///
/// Ours, because SwiftCSV 0.10 wants the whole file as one `String` and walks it character by character (100 MB of export
/// are several gigabytes of work and memory), gives up the whole file at the first bad quote without saying where, and
/// silently drops spaces around quoted fields. Here one bad row is one refusal with its number, and the good rows go on.
///
/// Rows end with LF or CRLF (a lone CR is refused), fields may be quoted, quotes within are doubled, quoted fields may hold
/// line breaks; a byte order mark is passed over, blank lines too. Text is UTF-8. The first row is the header and names
/// the columns.
package struct CSVReader: Sendable {
    /// A row after the header.
    package struct Row: Sendable, Hashable {
        /// The header is row 1, as a spreadsheet shows it. Blank lines do not count.
        package let number: Int
        /// As many fields as the header has, or why the row cannot be read.
        package let content: Content

        package enum Content: Sendable, Hashable {
            case fields([String])
            case broken(Refusal)
        }
    }

    private enum Place {
        /// At the beginning of a field.
        case start
        /// In a field without quotes.
        case plain
        /// Between quotes.
        case quoted
        /// After a quote within quotes: it ended the field, or another quote follows.
        case quote
        /// After a CR that must be followed by LF.
        case carriageReturn
        /// In a row that is refused already: everything up to its line's end is passed over.
        case broken
    }

    /// The names of the columns, nil until the first row was read.
    package private(set) var header: [String]?

    private let limit: Int
    private let wantedSeparator: UInt8?
    private var separator: UInt8 = 0x2C
    private var place = Place.start
    private var field: [UInt8] = []
    private var fields: [String] = []
    private var size = 0
    private var problem: Refusal?
    private var isFieldQuoted = false
    private var number = 1
    /// The first bytes, until the header's line is there.
    private var held: [UInt8]? = []

    /// - Parameters:
    ///   - separator: the byte between fields; nil for whichever of comma, semicolon and tab the header has most of.
    ///   - limit: the most bytes of a row.
    package init(separator: UInt8? = nil, limit: Int = SendJob.maximumMessageBytes) {
        wantedSeparator = separator
        self.limit = limit
        self.separator = separator ?? 0x2C
    }

    /// Takes the next bytes and gives the rows that end in them. Throws when the header cannot be used; then nothing more
    /// can be read.
    package mutating func push(_ chunk: [UInt8]) throws(Refusal) -> [Row] {
        var rows: [Row] = []
        guard let chunk = try begin(chunk) else { return rows }
        for byte in chunk { try take(byte, &rows) }
        return rows
    }

    /// The rest: call once after the last bytes. Throws when the file had no header.
    package mutating func finish() throws(Refusal) -> [Row] {
        var rows: [Row] = []
        if let head = try begin([], isLast: true) {
            for byte in head { try take(byte, &rows) }
        }
        switch place {
        case .quoted:
            problem = Refusal(
                kind: .malformed,
                reason: "a quote that opens in this row is never closed, so nothing after it could be read"
            )
            try endRow(&rows)
        case .start where size == 0: break
        case .carriageReturn: try endLine(1, &rows)
        case .quote, .plain, .start: try endLine(0, &rows)
        case .broken: try endRow(&rows)
        }
        guard header != nil else {
            throw Refusal(kind: .malformed, reason: "the file is empty: its first row must name the columns")
        }
        return rows
    }

    // MARK: Inside

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
    /// A header longer than this has its separator guessed from its beginning.
    private static let guessLimit = 16_384

    /// Holds the first bytes back until the header's line is there: mark and separator are seen in it.
    private mutating func begin(_ chunk: [UInt8], isLast: Bool = false) throws(Refusal) -> [UInt8]? {
        guard var head = held else { return chunk }
        head.append(contentsOf: chunk)
        guard isLast || head.contains(0x0A) || head.count > Self.guessLimit else {
            held = head
            return nil
        }
        held = nil
        if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
            throw Refusal(kind: .malformed, reason: "the file is UTF-16; save it as CSV in UTF-8")
        }
        if head.starts(with: Self.byteOrderMark) { head.removeFirst(3) }
        guessSeparator(head)
        return head
    }

    private mutating func guessSeparator(_ head: [UInt8]) {
        guard wantedSeparator == nil else { return }
        var counts: [UInt8: Int] = [:]
        var isQuoted = false
        for byte in head {
            if byte == 0x22 { isQuoted.toggle() }
            if isQuoted { continue }
            if byte == 0x0A { break }
            if byte == 0x2C || byte == 0x3B || byte == 0x09 { counts[byte, default: 0] += 1 }
        }
        separator = 0x2C
        for candidate: UInt8 in [0x3B, 0x09] where counts[candidate, default: 0] > counts[separator, default: 0] {
            separator = candidate
        }
    }

    private mutating func take(_ byte: UInt8, _ rows: inout [Row]) throws(Refusal) {
        size += 1
        switch place {
        case .start:
            switch byte {
            case 0x22:
                isFieldQuoted = true
                place = .quoted
            case separator: endField()
            case 0x0A: try endLine(1, &rows)
            case 0x0D: place = .carriageReturn
            default:
                keep(byte)
                place = .plain
            }
        case .plain:
            switch byte {
            case separator: endField()
            case 0x0A: try endLine(1, &rows)
            case 0x0D: place = .carriageReturn
            case 0x22: refuse("a quote stands in the middle of a field that does not begin with one")
            default: keep(byte)
            }
        case .quoted:
            if byte == 0x22 { place = .quote } else { keep(byte) }
        case .quote:
            switch byte {
            case 0x22:
                keep(byte)
                place = .quoted
            case separator: endField()
            case 0x0A: try endLine(1, &rows)
            case 0x0D: place = .carriageReturn
            default: refuse("text follows the closing quote of a field; a quote within a field must be doubled")
            }
        case .carriageReturn:
            if byte == 0x0A {
                try endLine(2, &rows)
            } else {
                refuse("a carriage return stands outside of quotes and ends no line")
            }
        case .broken:
            if byte == 0x0A { try endRow(&rows) }
        }
    }

    /// - Parameter end: the bytes of the line's end, which are not the row's.
    private mutating func endLine(_ end: Int, _ rows: inout [Row]) throws(Refusal) {
        size -= end
        endField()
        try endRow(&rows)
    }

    private mutating func keep(_ byte: UInt8) {
        // What is beyond the limit is read over without being kept; the row's end still has to be found.
        if size <= limit { field.append(byte) }
    }

    private mutating func refuse(_ reason: String) {
        problem = Refusal(
            kind: .malformed,
            reason: "column \(columnName(fields.count)): \(reason)"
        )
        place = .broken
    }

    /// The column's name, if the header says it and it can be shown; else its number from 1.
    private func columnName(_ index: Int) -> String {
        guard let header, index < header.count else { return String(index + 1) }
        return header[index]
    }

    private mutating func endField() {
        if problem == nil, size <= limit {
            if let text = String(validating: field, as: UTF8.self) {
                fields.append(text)
            } else {
                problem = Refusal(kind: .malformed, reason: "column \(columnName(fields.count)) is not UTF-8")
            }
        }
        field.removeAll(keepingCapacity: true)
        place = .start
    }

    private mutating func endRow(_ rows: inout [Row]) throws(Refusal) {
        defer {
            fields.removeAll(keepingCapacity: true)
            field.removeAll(keepingCapacity: true)
            problem = nil
            isFieldQuoted = false
            size = 0
            place = .start
        }
        if problem == nil, size <= limit, fields.count == 1, fields[0].isEmpty, !isFieldQuoted { return }
        if size > limit {
            problem = Refusal(
                kind: .tooLarge,
                reason: "the row has \(size) bytes, at most \(limit) are allowed"
            )
        }
        guard let header else {
            try name(fields)
            number += 1
            return
        }
        if problem == nil, fields.count != header.count {
            problem = Refusal(
                kind: .malformed,
                reason: "the row has \(fields.count) fields, the header \(header.count)"
            )
        }
        number += 1
        rows.append(Row(number: number - 1, content: problem.map { .broken($0) } ?? .fields(fields)))
    }

    private mutating func name(_ fields: [String]) throws(Refusal) {
        if let problem {
            throw Refusal(kind: .malformed, reason: "the header (row 1): \(problem.reason)")
        }
        header = fields.map { $0.trimmingSpaces }
    }
}

extension String {
    /// Without white space at both ends.
    var trimmingSpaces: String {
        guard let first = unicodeScalars.first, let last = unicodeScalars.last else { return self }
        guard first.properties.isWhitespace || last.properties.isWhitespace else { return self }
        let from = unicodeScalars.firstIndex { !$0.properties.isWhitespace }
        let to = unicodeScalars.lastIndex { !$0.properties.isWhitespace }
        guard let from, let to else { return "" }
        return String(unicodeScalars[from...to])
    }
}
