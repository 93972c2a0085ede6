import Foundation
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("CSV")
struct CSVReaderTests {
    /// Reads `text` whole and byte by byte: both must give the same.
    private func read(_ text: String, separator: UInt8? = nil, limit: Int = 65_536) throws -> (
        header: [String], rows: [CSVReader.Row]
    ) {
        try read(Array(text.utf8), separator: separator, limit: limit)
    }

    private func read(_ bytes: [UInt8], separator: UInt8? = nil, limit: Int = 65_536) throws -> (
        header: [String], rows: [CSVReader.Row]
    ) {
        var whole = CSVReader(separator: separator, limit: limit)
        let rows = try whole.push(bytes) + whole.finish()
        var slow = CSVReader(separator: separator, limit: limit)
        var slowly: [CSVReader.Row] = []
        for byte in bytes { slowly += try slow.push([byte]) }
        slowly += try slow.finish()
        #expect(rows == slowly)
        return (whole.header ?? [], rows)
    }

    private func fields(_ rows: [CSVReader.Row]) -> [[String]] {
        rows.compactMap { row in
            if case .fields(let fields) = row.content { return fields }
            return nil
        }
    }

    private func problems(_ rows: [CSVReader.Row]) -> [Int: String] {
        rows.reduce(into: [:]) { problems, row in
            if case .broken(let refusal) = row.content { problems[row.number] = refusal.reason }
        }
    }

    @Test("plain, quoted, doubled quotes, separators and line breaks within quotes, empty fields")
    func fields() throws {
        let (header, rows) = try read("a,b,c\n1,2,3\n\"x, y\",\"say \"\"hi\"\"\",\"two\nlines\r\nthree\"\n,\"\",\n")
        #expect(header == ["a", "b", "c"])
        #expect(fields(rows) == [["1", "2", "3"], ["x, y", "say \"hi\"", "two\nlines\r\nthree"], ["", "", ""]])
        #expect(rows.map(\.number) == [2, 3, 4])
    }

    @Test("byte order mark, CRLF, no end of the last line, blank lines, spaces are kept")
    func ends() throws {
        let (header, rows) = try read("\u{FEFF}Order,Name\r\n1, Noa כהן \r\n\r\n2,\"\u{1F600}\"")
        #expect(header == ["Order", "Name"])
        #expect(fields(rows) == [["1", " Noa כהן "], ["2", "\u{1F600}"]])
        #expect(rows.map(\.number) == [2, 3])
        #expect(try fields(read("a\n\"\"\nx\r").rows) == [[""], ["x"]])
        #expect(try read("a,b\r\n").rows.isEmpty)
        #expect(try fields(read("\u{FEFF}a,b\n1,").rows) == [["1", ""]])
    }

    @Test("semicolons and tabs are seen in the header; a given separator counts")
    func separators() throws {
        #expect(try fields(read("a;b;c\n1,5;2;3\n").rows) == [["1,5", "2", "3"]])
        #expect(try fields(read("a\tb\n1,5\t2\n").rows) == [["1,5", "2"]])
        #expect(try fields(read("\"a;b;c\",d\n1,2\n").rows) == [["1", "2"]])
        #expect(try read("a|b\n1|2\n", separator: 0x7C).header == ["a", "b"])
    }

    @Test("one bad row is one refusal with its number, and the good rows go on")
    func badRows() throws {
        let (_, rows) = try read("a,b\n1,2\n3\n4,5,6\nx\"y,7\n\"x\"y,8\n9,1\r0\n11,12\n")
        #expect(fields(rows) == [["1", "2"], ["11", "12"]])
        let problems = problems(rows)
        #expect(problems[3] == "the row has 1 fields, the header 2")
        #expect(problems[4] == "the row has 3 fields, the header 2")
        #expect(problems[5]?.contains("column a: a quote stands in the middle") == true)
        #expect(problems[6]?.contains("must be doubled") == true)
        #expect(problems[7]?.contains("carriage return") == true)
        #expect(problems.count == 5)
    }

    @Test("text that is not UTF-8 is refused by row and column")
    func encoding() throws {
        let (_, rows) = try read(Array("a,b\n1,".utf8) + [0xFF, 0x0A] + Array("2,ok\n".utf8))
        #expect(problems(rows)[2] == "column b is not UTF-8")
        #expect(fields(rows) == [["2", "ok"]])
        #expect(throws: Refusal.self) { try read([0xFF, 0xFE, 0x61, 0x00, 0x0A, 0x00]) }
    }

    @Test("a row over the limit is refused without being kept; the limit itself is allowed")
    func size() throws {
        let exact = String(repeating: "x", count: 98)
        let (_, rows) = try read(
            "a,b\n\(exact),1\r\n\(exact)y,1\n\"\(String(repeating: "z\n", count: 500))\",1\n3,4\n",
            limit: 100
        )
        #expect(fields(rows) == [[exact, "1"], ["3", "4"]])
        #expect(problems(rows)[3] == "the row has 101 bytes, at most 100 are allowed")
        #expect(problems(rows)[4]?.contains("at most 100") == true)
    }

    @Test("a quote that is never closed is said, and nothing behind it becomes a row")
    func unclosed() throws {
        let (_, rows) = try read("a,b\n1,2\n\"3,4\n5,6\n")
        #expect(fields(rows) == [["1", "2"]])
        #expect(problems(rows)[3]?.contains("never closed") == true)
    }

    @Test("an empty file and a broken header end with a sentence")
    func header() {
        #expect(throws: Refusal.self) { try read("") }
        #expect(throws: Refusal.self) { try read("\n\n") }
        #expect(throws: Refusal.self) { try read("a,b\"c\n1,2\n") }
    }
}

@Suite("Lines")
struct LineReaderTests {
    private func read(_ bytes: [UInt8], limit: Int) -> [LineReader.Line] {
        var whole = LineReader(limit: limit)
        let lines = whole.push(bytes) + whole.finish()
        var slow = LineReader(limit: limit)
        let slowly = bytes.flatMap { slow.push([$0]) } + slow.finish()
        #expect(lines == slowly)
        return lines
    }

    @Test("LF, CRLF, blank lines, no end, byte order mark")
    func ends() {
        let lines = read(Array("\u{FEFF}{1}\r\n\n  \n{2}\n{3}".utf8), limit: 10)
        #expect(lines.map(\.number) == [1, 4, 5])
        #expect(
            lines.map(\.content) == [.bytes(Array("{1}".utf8)), .bytes(Array("{2}".utf8)), .bytes(Array("{3}".utf8))]
        )
    }

    @Test("a line over the limit is counted, not kept, and the next one is read")
    func tooLong() {
        let bytes = Array(
            (String(repeating: "x", count: 10) + "\r\n" + String(repeating: "y", count: 11) + "\n"
                + String(repeating: "z", count: 70_000) + "\nok\n").utf8
        )
        let lines = read(bytes, limit: 10)
        #expect(
            lines.map(\.content) == [
                .bytes(Array(repeating: 0x78, count: 10)), .tooLong(bytes: 11), .tooLong(bytes: 70_000),
                .bytes(Array("ok".utf8)),
            ]
        )
    }
}

@Suite("The map from rows to notices")
struct FieldMapTests {
    private let yaml = """
        country: Country
        fields:
          line: {column: Line}
          key: {template: "order:{{Store}}.{{Order no.}}:ready"}
          to: {column: Phone}
          body: {template: "Hi {{Customer}} & co{{#Pickup}}, at {{{Pickup}}}{{/Pickup}}{{^Pickup}}, by post{{/Pickup}}{{! nothing }}."}
          button.text: {column: Label}
          button.url: {column: URL}
          purpose: {template: order}
          sendBefore: {column: Until}
          tags.order: {column: Order no.}
        """
    private let header = [
        "Line", "Store", "Order no.", "Phone", "Country", "Customer", "Pickup", "Label", "URL", "Until",
    ]

    private func job(_ row: [String]) throws -> SendJob {
        try FieldMap(yaml: yaml).bound(to: header).job(row)
    }

    @Test("columns, templates, sections, tags; local numbers by the row's country; nothing is escaped")
    func whole() throws {
        let job = try job([
            "acme-1", "acme", " 1042 ", "050-123 4567", "IL", "Tom <&> \"Ann\"", "Pier 1 & 2", "See",
            "https://a.example/?x=1&y=2", "2030-01-01T00:00:00Z",
        ])
        #expect(job.line.value == "acme-1")
        #expect(job.to.value == "+972501234567")
        #expect(job.body == "Hi Tom <&> \"Ann\" & co, at Pier 1 & 2.")
        #expect(job.button?.url == "https://a.example/?x=1&y=2")
        #expect(job.purpose == .order)
        #expect(job.sendBefore == Timestamp(rfc3339: "2030-01-01T00:00:00Z"))
        #expect(job.tags == ["order": "1042"])
    }

    @Test("a blank column makes a section false and a field absent")
    func blank() throws {
        let job = try job(["acme-1", "acme", "1", "+34 600 111 222", "", "Ann", "  ", "", "", ""])
        #expect(job.body == "Hi Ann & co, by post.")
        #expect(job.button == nil && job.sendBefore == nil)
        #expect(job.to.value == "+34600111222")
    }

    @Test("what is wrong with a row is said by field, without the customer's data")
    func refusals() throws {
        func refusal(_ row: [String]) throws -> Refusal? {
            do {
                _ = try job(row)
                return nil
            } catch let error as Refusal {
                return error
            }
        }
        let good = ["acme-1", "acme", "1", "+34600111222", "", "Ann", "", "", "", ""]
        #expect(try refusal(good) == nil)
        func with(_ column: Int, _ value: String) -> [String] {
            var row = good
            row[column] = value
            return row
        }
        #expect(try refusal(with(0, ""))?.field == "line")
        #expect(try refusal(with(2, "a b"))?.field == "key")
        #expect(try refusal(with(3, "12"))?.field == "to")
        #expect(try refusal(with(3, "050-123 4567"))?.field == "to")
        #expect(try refusal(with(4, "XX"))?.field == "country")
        #expect(try refusal(with(5, "bell\u{7}"))?.field == "body")
        #expect(try refusal(with(7, "See"))?.field == "button.url")
        #expect(try refusal(with(8, "https://a.example"))?.field == "button.text")
        #expect(try refusal(with(9, "tomorrow"))?.field == "sendBefore")
        #expect(try refusal(with(3, "050-123 4567"))?.reason.contains("4567") == false)
    }

    @Test(
        "a map that cannot be right is refused in words that name the place",
        arguments: [
            (
                "fields: {line: {column: Nowhere}, key: {template: a}, to: {template: a}, body: {template: a}, purpose: {template: a}}",
                "'Nowhere'"
            ),
            ("fields: {line: {column: Line}}", "lacks key, to, body, purpose"),
            ("fields: {lien: {column: Line}}", "'lien'"),
            ("files: {}", "'files'"),
            ("fields: {line: Line}", "fields.line"),
            ("fields: {line: {columns: Line}}", "'columns'"),
            ("fields: {line: {column: Line, template: x}}", "fields.line"),
            ("fields: [line]", "'fields'"),
            ("country: {}\nfields: {}", "'country'"),
            ("a: b: c", "YAML"),
            ("", "fields"),
            ("separator: ab\nfields: {}", "'separator'"),
        ]
    )
    func badMaps(_ yaml: String, _ words: String) {
        #expect {
            _ = try FieldMap(yaml: yaml).bound(to: header)
        } throws: { error in
            let text = (error as? FieldMapError)?.description ?? ""
            #expect(text.contains(words), "\(text)")
            return true
        }
    }

    @Test(
        "a template that cannot be right is refused in words",
        arguments: [
            ("{{Nowhere}}", "'Nowhere'"), ("{{#Line}}x", "never closed"),
            ("{{#Line}}{{/Store}}", "not the last one opened"),
            ("{{Line", "no end"), ("{{>partial}}", "columns and sections only"), ("{{.}}", "{{.}}"),
            ("{{{Line}}", "no end"),
        ]
    )
    func badTemplates(_ template: String, _ words: String) {
        let map = """
            fields: {line: {column: Line}, key: {column: Line}, to: {column: Line}, purpose: {column: Line}, body: {template: "\(template)"}}
            """
        #expect {
            _ = try FieldMap(yaml: map).bound(to: header)
        } throws: { error in
            let text = (error as? FieldMapError)?.description ?? ""
            #expect(text.contains(words) && text.contains("fields.body"), "\(text)")
            return true
        }
    }

    @Test("without a map the columns are the fields; a column that the file has twice cannot be named")
    func withoutMap() throws {
        let header = ["line", "key", "to", "body", "purpose", "tags.a"]
        let job = try FieldMap(columnsNamedLikeFields: header).bound(to: header).job([
            "l", "k", "+34600111222", "b", "order", "1",
        ])
        #expect(job.tags == ["a": "1"] && job.body == "b")
        #expect(throws: FieldMapError.self) { try FieldMap(columnsNamedLikeFields: ["line", "Phone"]) }
        #expect(throws: FieldMapError.self) { try FieldMap(columnsNamedLikeFields: ["line"]) }
        #expect(throws: FieldMapError.self) {
            try FieldMap(columnsNamedLikeFields: header).bound(to: header + ["line"])
        }
    }

    /// Three of the fifty bad rows name a line that does not exist, which only the database knows.
    @Test("the demo's export: 5,000 notices, 100 repeats, and every bad row of the file's is refused")
    func demo() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../demo").standardized
        let map = try FieldMap(yaml: String(contentsOf: folder.appending(path: "orders.yaml"), encoding: .utf8))
        var reader = CSVReader()
        let rows = try reader.push(Array(Data(contentsOf: folder.appending(path: "orders.csv")))) + reader.finish()
        let bound = try map.bound(to: reader.header ?? [])
        let now = try #require(Timestamp(rfc3339: "2026-12-01T00:00:00Z"))
        var contents: [String: Set<[UInt8]>] = [:]
        var jobs = 0
        var refused = 0
        for row in rows {
            guard case .fields(let fields) = row.content, let job = try? bound.job(fields),
                (try? job.validate(now: now)) != nil
            else {
                refused += 1
                continue
            }
            jobs += 1
            contents[job.key.value, default: []].insert(job.contentDigest)
        }
        #expect(rows.count == 5_150)
        #expect(refused == 47)
        #expect(jobs == 5_103)
        #expect(contents.count == 5_003)
        #expect(contents.values.allSatisfy { $0.count == 1 })
    }
}
