internal import Mustache
internal import TrunklineCore
internal import TrunklinePhones
internal import Yams

/// How a row of a table becomes a send job or a contact: per field a column or a template (`--map FILE.yaml`).
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
    /// What rows become.
    package struct Target: Sendable {
        /// What can be mapped.
        let names: [String]
        /// Besides `NAME.X` for any X.
        let open: [String]
        let required: [String]
        /// In a sentence: "a send job".
        let noun: String
        /// What needs the required fields: "every notice".
        let each: String

        package static let notice = Target(
            names: [
                "line", "key", "to", "body", "button.text", "button.url", "purpose", "notBefore", "sendBefore",
                "supersedeKey", "factAt", "orderingKey",
            ],
            open: ["tags"],
            required: ["line", "key", "to", "body", "purpose"],
            noun: "a send job",
            each: "every notice"
        )
        package static let contact = Target(
            names: ["phone", "name", "email", "language", "country", "status", "consent", "tags", "notes", "factAt"],
            open: ["ids", "links"],
            required: ["phone"],
            noun: "a contact",
            each: "every contact"
        )

        func knows(_ name: String) -> Bool {
            names.contains(name) || open.contains { name.hasPrefix($0 + ".") && name.utf8.count > $0.utf8.count + 1 }
        }

        var words: String {
            names.joined(separator: ", ") + " and " + open.map { $0 + ".NAME" }.joined(separator: ", ")
        }
    }

    private let target: Target
    enum Value: Sendable, Hashable {
        case column(String)
        case template(String)
    }

    var fields: [String: Value]
    var country: Value?
    /// The byte between the columns of the file, when the map says so.
    package private(set) var separator: UInt8?

    /// Reads a map. Throws a sentence that names the key at fault.
    package init(yaml: String, for target: Target = .notice) throws(FieldMapError) {
        self.target = target
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
                    throw FieldMapError("'fields' must hold one entry per field")
                }
                for (name, source) in mapping {
                    guard let name = name.string, target.knows(name) else {
                        throw FieldMapError(
                            "'fields' names \(Self.shown(name.string)), which is no field of \(target.noun); known are \(target.words)"
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
        let missing = target.required.filter { fields[$0] == nil }
        guard missing.isEmpty else {
            throw FieldMapError(
                "the map lacks \(missing.joined(separator: ", ")): \(target.each) needs \(missing.count == 1 ? "it" : "them")"
            )
        }
    }

    /// The map for a table whose columns are called like the fields.
    package init(columnsNamedLikeFields header: [String], for target: Target = .notice) throws(FieldMapError) {
        self.target = target
        fields = [:]
        for column in header {
            guard target.knows(column) else {
                throw FieldMapError(
                    "the column \(Self.shown(column)) is no field of \(target.noun); say with --map which column becomes which field"
                )
            }
            guard fields.updateValue(.column(column), forKey: column) == nil else {
                throw FieldMapError("the column '\(column)' is there twice")
            }
        }
        let missing = target.required.filter { fields[$0] == nil }
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

/// Why a map cannot be used: one sentence.
package struct FieldMapError: ExplainedError, Hashable {
    package let description: String
    package var isRefusal: Bool { false }

    init(_ description: String) { self.description = description }
}
