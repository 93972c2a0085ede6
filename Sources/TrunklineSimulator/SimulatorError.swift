/// Why the simulator cannot start or go on, in words for the person who started it.
package struct SimulatorError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of trouble it is. More may be added.
    package enum Code: Sendable, Hashable {
        /// An option, or a request to the control surface, that makes no sense; nothing was changed.
        case refused
        /// The address cannot be listened on.
        case cannotListen
        /// The journal cannot be opened, read or written.
        case journal
    }

    package var code: Code
    /// One sentence; safe to print.
    package var description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

/// A request of the control surface that is refused: it names what was wrong and what would have been right.
struct ControlRefusal: Error, Sendable {
    var status: Int
    var code: String
    var message: String
    var known: [String] = []

    static func invalid(_ message: String) -> ControlRefusal {
        ControlRefusal(status: 400, code: "invalid_request", message: message)
    }

    static func unknown(_ what: String, _ name: String, known: some Sequence<String>) -> ControlRefusal {
        let known = Array(known)
        let code = "unknown_" + what.split(separator: " ").joined(separator: "_")
        return ControlRefusal(
            status: 400,
            code: code,
            message: "unknown \(what) '\(name)'; known: \(known.joined(separator: ", "))",
            known: known
        )
    }

    static func notFound(_ message: String) -> ControlRefusal {
        ControlRefusal(status: 404, code: "not_found", message: message)
    }
}

/// Reads the members of a control request one by one and refuses those that nobody asked for.
struct ControlFields {
    private var members: [JSON.Member]
    private let what: String
    private var asked: [String] = []

    /// - Parameter what: what the object describes, for messages: "fault", "settings", …
    init(_ json: JSON, what: String) throws(ControlRefusal) {
        guard case .object(let members) = json else {
            throw .invalid("\(what): a JSON object was expected, not \(json.typeName)")
        }
        var seen: Set<String> = []
        for member in members where !seen.insert(member.name).inserted {
            throw .invalid("\(what): the field '\(member.name)' is given twice")
        }
        self.members = members
        self.what = what
    }

    /// The fields of the request.
    var names: [String] { members.map(\.name) }

    mutating func value(_ name: String) -> JSON? {
        asked.append(name)
        guard let value = members.first(where: { $0.name == name })?.value, value != .null else { return nil }
        return value
    }

    mutating func string(_ name: String) throws(ControlRefusal) -> String? {
        guard let value = value(name) else { return nil }
        guard let string = value.string else { throw .invalid("\(what): '\(name)' must be a string") }
        return string
    }

    mutating func bool(_ name: String) throws(ControlRefusal) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let bool = value.bool else { throw .invalid("\(what): '\(name)' must be true or false") }
        return bool
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int>) throws(ControlRefusal) -> Int? {
        guard let value = value(name) else { return nil }
        guard let integer = value.integer, let small = Int(exactly: integer), range.contains(small) else {
            throw .invalid(
                "\(what): '\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return small
    }

    mutating func number(_ name: String, in range: ClosedRange<Double>) throws(ControlRefusal) -> Double? {
        guard let value = value(name) else { return nil }
        let number: Double? =
            switch value {
            case .integer(let integer): Double(integer)
            case .double(let double): double
            default: nil
            }
        guard let number, range.contains(number) else {
            throw .invalid("\(what): '\(name)' must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Call this last: what was not asked for is not known, and the request is refused instead of half understood.
    func refuseOthers() throws(ControlRefusal) {
        for member in members where !asked.contains(member.name) {
            throw .unknown("\(what) field", member.name, known: asked)
        }
    }
}
