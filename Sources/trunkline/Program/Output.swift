internal import Foundation
internal import TrunklineCore

/// What commands print on standard output: a table for people or one JSON document for programs.
enum Output {
    /// Prints `value` as one JSON document, keys sorted.
    static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        json(document: String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Prints a JSON document that is serialized already.
    static func json(document: String) { write(Printable.json(document), to: .standardOutput) }

    /// Prints rows under headers, columns padded to their widest cell; numbers stand on the right.
    static func table(_ headers: [String], _ rows: [[String]]) {
        let rows = rows.map { row in row.map(Printable.line) }
        var widths = headers.map(width)
        for row in rows {
            for (column, cell) in row.enumerated() where column < widths.count {
                widths[column] = max(widths[column], width(cell))
            }
        }
        let isNumeric = headers.indices.map { column in
            !rows.isEmpty && rows.allSatisfy { column < $0.count && (Double($0[column]) != nil || $0[column] == "-") }
        }
        func write(_ cells: [String]) {
            var text = ""
            for (column, cell) in cells.enumerated() {
                let padding = String(repeating: " ", count: max(0, widths[column] - width(cell)))
                text += isNumeric[column] ? padding + cell : cell + padding
                if column + 1 < cells.count { text += "  " }
            }
            line(text.replacing(/\ +$/, with: ""))
        }
        write(headers)
        rows.forEach(write)
    }

    /// Prints names and values, one per line.
    static func facts(_ facts: [(String, String)]) {
        let widest = facts.map { width($0.0) }.max() ?? 0
        for (name, value) in facts {
            line(name + String(repeating: " ", count: widest - width(name) + 2) + value)
        }
    }

    /// Prints one line, whatever is in it.
    static func line(_ text: String = "") { write(Printable.line(text), to: .standardOutput) }

    /// Prints one line on standard error: what is not the command's result.
    static func note(_ text: String) { write(Printable.line(text), to: .standardError) }

    /// Prints a text of ours that has several lines.
    static func text(_ text: String, to handle: FileHandle = .standardOutput) {
        write(Printable.lines(text), to: handle)
    }

    private static func write(_ text: String, to handle: FileHandle) { handle.write(Data((text + "\n").utf8)) }

    /// A time, readable: `2026-12-01 18:00:00Z`. `-` for none.
    static func time(_ moment: Timestamp?) -> String {
        guard let moment else { return "-" }
        let date = Date(timeIntervalSince1970: Double(moment.microseconds) / 1_000_000)
        return date.formatted(
            .iso8601.year().month().day().dateTimeSeparator(.space).time(includingFractionalSeconds: false).timeZone(
                separator: .omitted
            )
        )
    }

    private static func width(_ text: String) -> Int { text.count }
}
