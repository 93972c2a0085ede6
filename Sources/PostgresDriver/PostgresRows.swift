internal import CPlatform

/// The result of one statement: its rows, in binary format, decoded on access.
///
/// Reading a column as a type that it does not have, or outside the result, is a programmer's error and traps; `nil` always
/// means SQL NULL. Integers may be read as a wider type than they have. What has no accessor (`numeric`, `inet`, …) is cast
/// to text in the SQL.
@safe package final class PostgresRows: @unchecked Sendable {
    // Unchecked because of the C pointer only: libpq documents a PGresult as read-only once it is given out, so any number
    // of threads may read it, and it is freed when no one holds it any more.
    // https://www.postgresql.org/docs/15/libpq-threading.html
    private let result: OpaquePointer

    /// The number of rows.
    package let count: Int
    /// The number of columns.
    package let columnCount: Int

    /// The result is freed with this object.
    init(takingOwnershipOf result: OpaquePointer) {
        unsafe self.result = result
        count = unsafe Int(PQntuples(result))
        columnCount = unsafe Int(PQnfields(result))
    }

    deinit {
        unsafe PQclear(result)
    }

    /// The rows that an INSERT, UPDATE, DELETE, SELECT, … touched; 0 for other statements.
    package var affectedRows: Int {
        guard let text = unsafe PQcmdTuples(result) else { return 0 }
        return unsafe Int(String(cString: text)) ?? 0
    }

    /// What the server says that it has done: `INSERT 0 1`, `COMMIT`, `ROLLBACK`, …
    package var commandTag: String {
        unsafe PQcmdStatus(result).map { unsafe String(cString: $0) } ?? ""
    }

    /// The columns' names, in order.
    package var columnNames: [String] {
        (0..<columnCount).map { column in unsafe PQfname(result, Int32(column)).map { unsafe String(cString: $0) } ?? ""
        }
    }

    /// The type of a column.
    package func type(ofColumn column: Int) -> PostgresType {
        precondition(column >= 0 && column < columnCount, "no column \(column)")
        return unsafe PostgresType(oid: PQftype(result, Int32(column)))
    }

    // MARK: Values

    package func isNull(_ row: Int, _ column: Int) -> Bool {
        check(row, column)
        return unsafe PQgetisnull(result, Int32(row), Int32(column)) == 1
    }

    /// The value as the server wrote it: binary for statements, text for scripts.
    package func rawBytes(_ row: Int, _ column: Int) -> [UInt8]? {
        value(row, column).map(\.array)
    }

    /// A `text`, `varchar`, `char`, `name`, `json`, `jsonb` or enum value. Copied.
    package func text(_ row: Int, _ column: Int) -> String? {
        guard let bytes = value(row, column) else { return nil }
        let type = type(ofColumn: column)
        if type == .jsonb {
            // Binary jsonb is its text behind one byte of version.
            precondition(bytes.number(UInt8.self) == 1, "jsonb of an unknown version")
            return bytes.part(from: 1, count: bytes.count - 1).text
        }
        // Types of the server's own number range other than these hold binary values; those above it are enums, domains
        // and extensions' types, of which the caller knows that they are text.
        precondition(
            Self.textTypes.contains(type.oid) || type.oid >= Self.firstUserType,
            "column \(column) has type \(type.oid), which is no text: cast it in the SQL"
        )
        return bytes.text
    }

    package func int2(_ row: Int, _ column: Int) -> Int16? {
        integer(row, column).map { Int16($0) }
    }

    /// An `int2` or `int4`.
    package func int4(_ row: Int, _ column: Int) -> Int32? {
        integer(row, column).map { value in
            precondition(type(ofColumn: column) != .int8, "column \(column) is an int8")
            return Int32(value)
        }
    }

    /// An `int2`, `int4` or `int8`.
    package func int8(_ row: Int, _ column: Int) -> Int64? {
        integer(row, column)
    }

    package func float8(_ row: Int, _ column: Int) -> Double? {
        value(row, column, is: .float8).map { Double(bitPattern: $0.number()) }
    }

    package func bool(_ row: Int, _ column: Int) -> Bool? {
        value(row, column, is: .bool).map { $0.number(UInt8.self) != 0 }
    }

    /// A `bytea`. Copied.
    package func bytes(_ row: Int, _ column: Int) -> [UInt8]? {
        value(row, column, is: .bytea).map(\.array)
    }

    /// A `timestamptz` in microseconds since 1970-01-01 UTC. Infinity traps: no column of ours may hold it.
    package func timestamp(_ row: Int, _ column: Int) -> Int64? {
        value(row, column, is: .timestamptz).map { Wire.microsecondsSince1970($0.number()) }
    }

    /// A `uuid`, 16 bytes.
    package func uuid(_ row: Int, _ column: Int) -> [UInt8]? {
        value(row, column, is: .uuid).map(\.array)
    }

    package func textArray(_ row: Int, _ column: Int) -> [String?]? {
        array(row, column, of: .text, is: .textArray, \.text)
    }

    package func int4Array(_ row: Int, _ column: Int) -> [Int32?]? {
        array(row, column, of: .int4, is: .int4Array) { $0.number() }
    }

    package func int8Array(_ row: Int, _ column: Int) -> [Int64?]? {
        array(row, column, of: .int8, is: .int8Array) { $0.number() }
    }

    package func boolArray(_ row: Int, _ column: Int) -> [Bool?]? {
        array(row, column, of: .bool, is: .boolArray) { $0.number(UInt8.self) != 0 }
    }

    package func byteaArray(_ row: Int, _ column: Int) -> [[UInt8]?]? {
        array(row, column, of: .bytea, is: .byteaArray, \.array)
    }

    /// Microseconds since 1970-01-01 UTC each.
    package func timestampArray(_ row: Int, _ column: Int) -> [Int64?]? {
        array(row, column, of: .timestamptz, is: .timestamptzArray) { Wire.microsecondsSince1970($0.number()) }
    }

    package func uuidArray(_ row: Int, _ column: Int) -> [[UInt8]?]? {
        array(row, column, of: .uuid, is: .uuidArray, \.array)
    }

    // MARK: Inside

    /// text, varchar, bpchar, name, json, unknown.
    private static let textTypes: Set<UInt32> = [25, 1043, 1042, 19, 114, 705]
    /// FirstNormalObjectId of the server: types below it are built in.
    private static let firstUserType: UInt32 = 16384

    private func check(_ row: Int, _ column: Int) {
        precondition(
            row >= 0 && row < count && column >= 0 && column < columnCount,
            "no row \(row), column \(column) in a result of \(count) rows, \(columnCount) columns"
        )
    }

    /// It must not leave this object.
    private func value(_ row: Int, _ column: Int) -> WireValue? {
        guard !isNull(row, column) else { return nil }
        return unsafe WireValue(
            UnsafeRawBufferPointer(
                start: PQgetvalue(result, Int32(row), Int32(column)),
                count: Int(PQgetlength(result, Int32(row), Int32(column)))
            )
        )
    }

    private func isBinary(_ column: Int) -> Bool { unsafe PQfformat(result, Int32(column)) == 1 }

    private func value(_ row: Int, _ column: Int, is type: PostgresType) -> WireValue? {
        check(row, column)
        precondition(
            self.type(ofColumn: column) == type && isBinary(column),
            "column \(column) has type \(self.type(ofColumn: column).oid), read as \(type.oid)"
        )
        return value(row, column)
    }

    private func integer(_ row: Int, _ column: Int) -> Int64? {
        let type = type(ofColumn: column)
        precondition(
            [.int2, .int4, .int8].contains(type) && isBinary(column),
            "column \(column) has type \(type.oid), read as an integer"
        )
        guard let bytes = value(row, column) else { return nil }
        switch bytes.count {
        case 2: return Int64(bytes.number(Int16.self))
        case 4: return Int64(bytes.number(Int32.self))
        default: return bytes.number()
        }
    }

    private func array<Element>(
        _ row: Int,
        _ column: Int,
        of elementType: PostgresType,
        is type: PostgresType,
        _ decode: (WireValue) -> Element
    ) -> [Element?]? {
        guard let bytes = value(row, column, is: type) else { return nil }
        let dimensions = bytes.number(Int32.self)
        if dimensions == 0 { return [] }
        precondition(dimensions == 1, "an array of \(dimensions) dimensions")
        let elements = Int(bytes.number(Int32.self, at: 12))
        var at = 20
        // Each has at least its length.
        precondition(
            (0...bytes.count / 4).contains(elements),
            "an array of \(elements) elements in \(bytes.count) bytes"
        )
        var decoded: [Element?] = []
        decoded.reserveCapacity(elements)
        for _ in 0..<elements {
            let length = Int(bytes.number(Int32.self, at: at))
            at += 4
            if length < 0 {
                decoded.append(nil)
            } else {
                decoded.append(decode(bytes.part(from: at, count: length)))
                at += length
            }
        }
        return decoded
    }
}

/// PostgreSQL's binary representations: big-endian numbers, time counted from 2000.
enum Wire {
    /// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's day zero.
    static let epoch: Int64 = 946_684_800_000_000

    /// The two ends of the range stand for -infinity and infinity.
    static func microsecondsSince1970(_ wire: Int64) -> Int64 {
        precondition(wire != .max && wire != .min, "an infinite timestamp")
        // Traps on overflow: the last 30 years of the server's range, before the year 294277, are out of ours.
        return wire + epoch
    }

    static func microsecondsSince2000(_ microseconds: Int64) -> Int64 {
        let (wire, overflow) = microseconds.subtractingReportingOverflow(epoch)
        precondition(!overflow && wire != .min && wire != .max, "an infinite timestamp")
        return wire
    }
}
