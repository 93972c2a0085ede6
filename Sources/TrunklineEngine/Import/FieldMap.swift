internal import Mustache
package import TrunklineCore
internal import TrunklinePhones
internal import Yams

/// How a row of a table becomes a send job: per field of the job a column or a template (`--map FILE.yaml`).
///
/// ```yaml
/// country: Country              # the column with the two-letter country that local phone numbers are read in
/// fields:
///   line: {column: Line}
///   key: {template: "order:{{Store}}.{{Order}}:ready"}
///   to: {column: Phone}
///   body: {template: "Hello {{Customer}}{{#Pickup}}, it waits at {{Pickup}}{{/Pickup}}"}
/// ```
/// Templates are Mustache over the row's columns, whose names may hold anything but braces; nothing is escaped, and a
/// section is written when its column is not blank. A field that comes out blank is absent.
package struct FieldMap: Sendable {
    /// What can be mapped; `tags.NAME` besides.
    package static let names = [
        "line", "key", "to", "body", "button.text", "button.url", "purpose", "notBefore", "sendBefore", "supersedeKey",
        "factAt", "orderingKey",
    ]
    private static let required = ["line", "key", "to", "body", "purpose"]

    enum Value: Sendable, Hashable {
        case column(String)
        case template(String)
    }

    var fields: [String: Value]
    var country: Value?
    /// The byte between the columns of the file, when the map says so.
    package private(set) var separator: UInt8?

    /// Reads a map. Throws a sentence that names the key at fault.
    package init(yaml: String) throws(FieldMapError) {
        let document: Node?
        do {
            document = try Yams.compose(yaml: yaml)
        } catch {
            throw FieldMapError("the map is not valid YAML\(Self.lineWords(of: error))")
        }
        guard let root = document?.mapping else {
            throw FieldMapError("the map must have the keys 'fields' and, if wanted, 'country'")
        }
        fields = [:]
        var sawFields = false
        for (key, value) in root {
            switch key.string {
            case "country":
                country = try Self.value(value, of: "country", bareColumn: true)
            case "separator":
                guard let text = value.scalar?.string, text.utf8.count == 1, let byte = text.utf8.first,
                    byte == 0x2C || byte == 0x3B || byte == 0x09 || byte == 0x7C
                else { throw FieldMapError("'separator' must be one of \",\" \";\" \"|\" and \"\\t\"") }
                separator = byte
            case "fields":
                sawFields = true
                guard let mapping = value.mapping else {
                    throw FieldMapError("'fields' must hold one entry per field of the job")
                }
                for (name, source) in mapping {
                    guard let name = name.string, Self.isKnown(name) else {
                        throw FieldMapError(
                            "'fields' names \(Self.shown(name.string)), which is no field of a send job; known are \(Self.names.joined(separator: ", ")) and tags.NAME"
                        )
                    }
                    guard fields[name] == nil else { throw FieldMapError("the field '\(name)' is mapped twice") }
                    fields[name] = try Self.value(source, of: "fields.\(name)", bareColumn: false)
                }
            default:
                throw FieldMapError(
                    "the map has the key \(Self.shown(key.string)), which is not known; known are country, fields and separator"
                )
            }
        }
        guard sawFields else { throw FieldMapError("the map has no 'fields'") }
        let missing = Self.required.filter { fields[$0] == nil }
        guard missing.isEmpty else {
            throw FieldMapError(
                "the map lacks \(missing.joined(separator: ", ")): every notice needs \(missing.count == 1 ? "it" : "them")"
            )
        }
    }

    /// The map for a table whose columns are called like the fields of a job.
    package init(columnsNamedLikeFields header: [String]) throws(FieldMapError) {
        fields = [:]
        for column in header {
            guard Self.isKnown(column) else {
                throw FieldMapError(
                    "the column \(Self.shown(column)) is no field of a send job; say with --map which column becomes which field"
                )
            }
            guard fields.updateValue(.column(column), forKey: column) == nil else {
                throw FieldMapError("the column '\(column)' is there twice")
            }
        }
        let missing = Self.required.filter { fields[$0] == nil }
        guard missing.isEmpty else {
            throw FieldMapError(
                "the file has no column \(missing.joined(separator: ", ")); say with --map which column becomes which field"
            )
        }
    }

    /// The map for a file with these columns. Throws when the map names a column that the file does not have, or has twice.
    package func bound(to header: [String]) throws(FieldMapError) -> BoundFieldMap {
        var columns: [String: Int] = [:]
        var twice: Set<String> = []
        for (index, name) in header.enumerated() where !name.isEmpty {
            if columns.updateValue(index, forKey: name) != nil { twice.insert(name) }
        }
        let names = Columns(index: columns, twice: twice, header: header)
        var sources: [String: BoundFieldMap.Source] = [:]
        for (field, value) in fields.sorted(by: { $0.key < $1.key }) {
            sources[field] = try Self.bind(value, of: "fields.\(field)", names)
        }
        let bound = try country.map { value throws(FieldMapError) in try Self.bind(value, of: "country", names) }
        return BoundFieldMap(sources: sources, country: bound)
    }

    // MARK: Reading

    private static func isKnown(_ name: String) -> Bool {
        names.contains(name) || (name.hasPrefix("tags.") && name.utf8.count > 5)
    }

    private static func value(_ node: Node, of path: String, bareColumn: Bool) throws(FieldMapError) -> Value {
        if bareColumn, let column = node.scalar?.string {
            guard !column.isEmpty else { throw FieldMapError("'\(path)' is empty") }
            return .column(column)
        }
        guard let mapping = node.mapping, mapping.count == 1,
            let (key, value) = mapping.first.map({ ($0.key, $0.value) })
        else {
            throw FieldMapError("'\(path)' must be {column: NAME} or {template: \"…\"}")
        }
        guard let text = value.scalar?.string else { throw FieldMapError("'\(path)': the value must be a text") }
        switch key.string {
        case "column": return .column(text)
        case "template": return .template(text)
        default:
            throw FieldMapError("'\(path)' has the key \(shown(key.string)); known are column and template")
        }
    }

    static func shown(_ text: String?) -> String {
        guard let text else { return "that is not a text" }
        return "'\(text.prefix(60))'"
    }

    private static func lineWords(of error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            ": line \(mark.line): \(problem)"
        default: ""
        }
    }

    // MARK: Binding

    private struct Columns {
        let index: [String: Int]
        let twice: Set<String>
        let header: [String]

        func position(of name: String, in path: String) throws(FieldMapError) -> Int {
            guard !twice.contains(name) else {
                throw FieldMapError("'\(path)' names the column '\(name)', which the file has twice")
            }
            guard let position = index[name] else {
                let known = header.filter { !$0.isEmpty }.prefix(40).joined(separator: ", ")
                throw FieldMapError(
                    "'\(path)' names the column \(FieldMap.shown(name)), which the file does not have; it has \(known)"
                )
            }
            return position
        }
    }

    private static func bind(_ value: Value, of path: String, _ columns: Columns) throws(FieldMapError)
        -> BoundFieldMap.Source
    {
        switch value {
        case .column(let name): return .column(try columns.position(of: name, in: path))
        case .template(let text):
            let tags: TemplateTags
            do {
                tags = try TemplateTags(text, of: "columns")
            } catch {
                throw FieldMapError("'\(path)': \(error.description)")
            }
            guard tags.hasTags else { return .constant(text) }
            let rewritten = try tags.mustache { name throws(FieldMapError) in try columns.position(of: name, in: path) }
            do {
                return .template(try MustacheTemplate(string: rewritten))
            } catch {
                throw FieldMapError("'\(path)': the template's sections do not close as they open")
            }
        }
    }
}

/// A map that knows where the columns of one file are.
package struct BoundFieldMap: Sendable {
    enum Source: Sendable {
        case column(Int)
        case constant(String)
        case template(MustacheTemplate)
    }

    /// What templates see of a row: `v3` is the text of the fourth column, `s3` whether it has any.
    private struct Row: MustacheParent {
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
    package func job(_ fields: [String]) throws(Refusal) -> SendJob {
        let row = Row(fields: fields)
        func value(_ name: String) -> String? { sources[name].flatMap { text(of: $0, row) } }
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
        let line = try LineID(required("line"))
        let key = try IdempotencyKey(required("key"))
        let to = try PhoneNumbers.e164(required("to"), country: country.flatMap { text(of: $0, row) })
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
        var tags: [String: String] = [:]
        for name in sources.keys where name.hasPrefix("tags.") {
            if let text = value(name) { tags[String(name.dropFirst(5))] = text }
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
            tags: tags
        )
    }

    /// Nil when it comes out blank. A column's text never has the white space around it that exports leave.
    private func text(of source: Source, _ row: Row) -> String? {
        let text =
            switch source {
            case .column(let position): row.fields[position].trimmingSpaces
            case .constant(let text): text
            case .template(let template): template.render(row)
            }
        return text.unicodeScalars.allSatisfy(\.properties.isWhitespace) ? nil : text
    }
}

/// Why a map cannot be used: one sentence.
package struct FieldMapError: ExplainedError, Hashable {
    package let description: String
    package var isRefusal: Bool { false }

    init(_ description: String) { self.description = description }
}
