import PostgresDriver

/// Reading a statement's parameters.
extension PostgresParameter {
    var isNull: Bool { self == .null }
    var uuid: [UInt8]? { if case .uuid(let value) = self { value } else { nil } }
    var bytes: [UInt8]? { if case .bytes(let value) = self { value } else { nil } }
    var text: String? { if case .text(let value) = self { value } else { nil } }
    var bool: Bool { if case .bool(let value) = self { value } else { preconditionFailure("no bool") } }
    var int4: Int32 { if case .int4(let value) = self { value } else { preconditionFailure("no int4") } }
    var int8: Int64 { if case .int8(let value) = self { value } else { preconditionFailure("no int8") } }
    var int4s: [Int32] { maybeInt4s.map { $0! } }
    var maybeInt4s: [Int32?] {
        if case .int4Array(let value) = self { value } else { preconditionFailure("no int4[]") }
    }
    var int8s: [Int64] {
        if case .int8Array(let value) = self { value.map { $0! } } else { preconditionFailure("no int8[]") }
    }
    var texts: [String?] { if case .textArray(let value) = self { value } else { preconditionFailure("no text[]") } }
    var bools: [Bool] {
        if case .boolArray(let value) = self { value.map { $0! } } else { preconditionFailure("no bool[]") }
    }
    var byteas: [[UInt8]] {
        if case .byteaArray(let value) = self { value.map { $0! } } else { preconditionFailure("no bytea[]") }
    }
    var timestamps: [Int64?] {
        if case .timestampArray(let value) = self { value } else { preconditionFailure("no timestamptz[]") }
    }
    var uuids: [[UInt8]] {
        if case .uuidArray(let value) = self { value.map { $0! } } else { preconditionFailure("no uuid[]") }
    }

    init(_ text: String?) { self = text.map { .text($0) } ?? .null }
    init(_ number: Int32?) { self = number.map { .int4($0) } ?? .null }
    init(_ number: Int64?) { self = number.map { .int8($0) } ?? .null }
    init(_ uuid: [UInt8]?) { self = uuid.map { .uuid($0) } ?? .null }
}
