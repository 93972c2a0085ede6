internal import Mustache
package import TrunklineCore
internal import TrunklinePhones

/// A map that knows where the columns of one file are.
package struct BoundFieldMap: Sendable {
    enum Source: Sendable {
        case column(Int)
        case constant(String)
        case template(MustacheTemplate)
    }

    /// What templates see of a row: `v3` is the text of the fourth column, `s3` whether it has any.
    fileprivate struct Row: MustacheParent {
        let fields: [String]

        func child(named name: String) -> Any? {
            guard let position = Int(name.dropFirst()), position < fields.count else { return nil }
            let text = fields[position].trimmingSpaces
            return name.utf8.first == 0x73 ? !text.isEmpty : text
        }
    }

    let sources: [String: Source]
    let country: Source?

    /// The job of a row, or why there is none. Checks every rule that needs neither a clock nor the database.
    package func job(_ fields: [String]) throws(Refusal) -> SendJob { try MappedRow(map: self, fields: fields).job() }

    /// Nil when it comes out blank. A column's text never has the white space around it that exports leave.
    fileprivate func text(of source: Source, _ row: Row) -> String? {
        let text =
            switch source {
            case .column(let position): row.fields[position].trimmingSpaces
            case .constant(let text): text
            case .template(let template): template.render(row)
            }
        return text.unicodeScalars.allSatisfy(\.properties.isWhitespace) ? nil : text
    }
}

/// A row seen through a map: its fields by their names.
struct MappedRow: Sendable {
    private let map: BoundFieldMap
    private let row: BoundFieldMap.Row

    init(map: BoundFieldMap, fields: [String]) {
        self.map = map
        row = BoundFieldMap.Row(fields: fields)
    }

    /// Nil when nothing is mapped to it or it comes out blank.
    func value(_ name: String) -> String? { map.sources[name].flatMap { map.text(of: $0, row) } }

    /// The country that the row's local phone numbers are read in.
    var country: String? { map.country.flatMap { map.text(of: $0, row) } }

    func required(_ name: String) throws(Refusal) -> String {
        guard let text = value(name) else {
            throw Refusal(
                kind: .invalid,
                field: name,
                reason: "\(name) is missing: what it is made of is empty in this row"
            )
        }
        return text
    }

    func moment(_ name: String) throws(Refusal) -> Timestamp? {
        guard let text = value(name) else { return nil }
        guard let moment = Timestamp(rfc3339: text) else {
            throw Refusal(
                kind: .invalid,
                field: name,
                reason: "\(name) is not an RFC 3339 time with its offset, such as 2026-12-01T18:00:00Z"
            )
        }
        return moment
    }

    /// What is mapped to `name.X`, by X.
    func members(_ name: String) -> [String: String] {
        var members: [String: String] = [:]
        for field in map.sources.keys where field.hasPrefix(name + ".") {
            if let text = value(field) { members[String(field.dropFirst(name.utf8.count + 1))] = text }
        }
        return members
    }
}

/// A table as its bytes come: each row seen through the map, or why it cannot be read.
struct MappedTable {
    struct Row {
        /// The header is row 1, as a spreadsheet shows it.
        let number: Int
        let content: Result<MappedRow, Refusal>
    }

    private var reader: CSVReader
    private let map: FieldMap?
    private let target: FieldMap.Target
    private var bound: BoundFieldMap?

    /// - Parameter map: nil when the columns are called like the fields.
    init(map: FieldMap?, for target: FieldMap.Target) {
        self.map = map
        self.target = target
        reader = CSVReader(separator: map?.separator)
    }

    /// Throws a `Refusal` for what is no table, and a ``FieldMapError`` when map and columns do not fit.
    mutating func push(_ chunk: [UInt8]) throws -> [Row] { try rows(reader.push(chunk)) }

    mutating func finish() throws -> [Row] { try rows(reader.finish()) }

    private mutating func rows(_ rows: [CSVReader.Row]) throws -> [Row] {
        if bound == nil, let header = reader.header {
            bound = try (map ?? FieldMap(columnsNamedLikeFields: header, for: target)).bound(to: header)
        }
        guard let bound else { return [] }
        return rows.map { row in
            switch row.content {
            case .broken(let refusal): Row(number: row.number, content: .failure(refusal))
            case .fields(let fields): Row(number: row.number, content: .success(MappedRow(map: bound, fields: fields)))
            }
        }
    }
}

extension MappedRow {
    /// The job of a row, or why there is none. Checks every rule that needs neither a clock nor the database.
    func job() throws(Refusal) -> SendJob {
        let line = try LineID(required("line"))
        let key = try IdempotencyKey(required("key"))
        let to = try PhoneNumbers.e164(required("to"), country: country)
        let body = try required("body")
        var button: Button?
        switch (value("button.text"), value("button.url")) {
        case (nil, nil): break
        case (let text?, let url?): button = try Button(text: text, url: url)
        case (nil, _):
            throw Refusal(kind: .invalid, field: "button.text", reason: "half a button: button.text is missing")
        case (_, nil):
            throw Refusal(kind: .invalid, field: "button.url", reason: "half a button: button.url is missing")
        }
        return try SendJob(
            line: line,
            key: key,
            to: to,
            body: body,
            button: button,
            purpose: Purpose(word: required("purpose")),
            notBefore: moment("notBefore"),
            sendBefore: moment("sendBefore"),
            supersedeKey: value("supersedeKey"),
            factAt: moment("factAt"),
            orderingKey: value("orderingKey"),
            tags: members("tags")
        )
    }

    /// The contact of a row, or why there is none. Checks every rule that needs neither a clock nor the database.
    ///
    /// - Parameter country: the two-letter country that local phone numbers are read in, where the row does not say it.
    func contact(country usual: String?) throws(Refusal) -> (phone: PhoneNumber, facts: ContactFacts) {
        let written = try required("phone")
        let phone: PhoneNumber
        do throws(Refusal) {
            phone = try PhoneNumbers.e164(written, country: country ?? value("country") ?? usual)
        } catch {
            throw Refusal(kind: error.kind, field: error.field == "to" ? "phone" : error.field, reason: error.reason)
        }
        let tags = value("tags").map { text in
            text.split(separator: ",").map { String($0).trimmingSpaces }.filter { !$0.isEmpty }
        }
        let facts = try ContactFacts(
            factAt: moment("factAt"),
            name: value("name"),
            email: value("email"),
            language: value("language"),
            country: value("country")?.uppercased(),
            status: value("status"),
            consent: value("consent"),
            ids: members("ids"),
            tags: tags,
            notes: value("notes").map { [$0] },
            links: members("links")
        )
        return (phone, facts)
    }
}
