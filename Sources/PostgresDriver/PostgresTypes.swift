/// A PostgreSQL type, by its object id.
package struct PostgresType: Sendable, Hashable {
    package let oid: UInt32
    package init(oid: UInt32) { self.oid = oid }

    /// The server infers the type from the statement.
    package static let inferred = PostgresType(oid: 0)
    package static let bool = PostgresType(oid: 16)
    package static let bytea = PostgresType(oid: 17)
    package static let int8 = PostgresType(oid: 20)
    package static let int2 = PostgresType(oid: 21)
    package static let int4 = PostgresType(oid: 23)
    package static let text = PostgresType(oid: 25)
    package static let json = PostgresType(oid: 114)
    package static let float8 = PostgresType(oid: 701)
    package static let varchar = PostgresType(oid: 1043)
    package static let timestamptz = PostgresType(oid: 1184)
    package static let uuid = PostgresType(oid: 2950)
    package static let jsonb = PostgresType(oid: 3802)

    package static let boolArray = PostgresType(oid: 1000)
    package static let byteaArray = PostgresType(oid: 1001)
    package static let int4Array = PostgresType(oid: 1007)
    package static let textArray = PostgresType(oid: 1009)
    package static let int8Array = PostgresType(oid: 1016)
    package static let timestamptzArray = PostgresType(oid: 1185)
    package static let uuidArray = PostgresType(oid: 2951)
}

/// A statement that a connection prepares when it connects.
package struct PostgresStatement: Sendable, Hashable {
    /// Unique within a connection, at most 63 bytes. Empty: not prepared, but parsed at every execution.
    package let name: String
    /// One statement, with parameters `$1`, `$2`, …
    package let sql: String
    /// One per parameter.
    package let parameterTypes: [PostgresType]

    package init(name: String, sql: String, parameterTypes: [PostgresType] = []) {
        self.name = name
        self.sql = sql
        self.parameterTypes = parameterTypes
    }
}

/// A statement's parameter. Binary on the wire, except text for a parameter whose type is not a text type: that goes as
/// text, for the server to read (so `.text` serves for a `numeric`, `inet` or `interval`).
///
/// A parameter whose kind does not fit the declared type (an `int8` for an `int4`, …) is a programmer's error and traps;
/// `int4` fits `int8`, and the server never sees bytes of another type.
package enum PostgresParameter: Sendable, Hashable {
    case null
    /// A NUL character in it fails the statement with ``PostgresError/Code/invalidParameter``.
    case text(String)
    case int4(Int32)
    case int8(Int64)
    case float8(Double)
    case bool(Bool)
    case bytes([UInt8])
    /// Microseconds since 1970-01-01 UTC, for `timestamptz`. PostgreSQL's infinities cannot be written: those two
    /// values trap.
    case timestamp(microseconds: Int64)
    /// Exactly 16 bytes, else it traps.
    case uuid([UInt8])
    case textArray([String?])
    case int4Array([Int32?])
    case int8Array([Int64?])
    case boolArray([Bool?])
    case byteaArray([[UInt8]?])
    /// Microseconds since 1970-01-01 UTC each.
    case timestampArray([Int64?])
    /// 16 bytes each.
    case uuidArray([[UInt8]?])
}
