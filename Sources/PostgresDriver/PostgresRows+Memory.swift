internal import CPlatform

extension PostgresRows {
    /// A result that no server made, for those who put something else behind a connection's place: a simulated database.
    ///
    /// Values that do not fit their column's type trap, as they would when they are read.
    package convenience init(columns: [PostgresType], rows: [[PostgresParameter]]) {
        // Null only when memory is out.
        let result = unsafe PQmakeEmptyPGresult(nil, PGRES_TUPLES_OK)!
        var name = Array("column".utf8CString)
        unsafe name.withUnsafeMutableBufferPointer { name in
            var attributes = unsafe columns.map { type in
                unsafe PGresAttDesc(
                    name: name.baseAddress,
                    tableid: 0,
                    columnid: 0,
                    format: 1,
                    typid: type.oid,
                    typlen: -1,
                    atttypmod: -1
                )
            }
            if unsafe !attributes.isEmpty { unsafe PQsetResultAttrs(result, Int32(attributes.count), &attributes) }
        }
        for (row, values) in rows.enumerated() {
            precondition(values.count == columns.count, "a row has a value for each column")
            for (column, value) in values.enumerated() {
                guard var bytes = Self.wire(value, as: columns[column]) else {
                    unsafe PQsetvalue(result, Int32(row), Int32(column), nil, -1)
                    continue
                }
                let count = Int32(bytes.count)
                if bytes.isEmpty { bytes = [0] }
                unsafe bytes.withUnsafeMutableBytes { buffer in
                    let start = unsafe buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
                    _ = unsafe PQsetvalue(result, Int32(row), Int32(column), start, count)
                }
            }
        }
        unsafe self.init(takingOwnershipOf: result)
    }

    private static func wire(_ value: PostgresParameter, as type: PostgresType) -> [UInt8]? {
        switch (value, type) {
        case (.null, _): return nil
        case (.text(let text), .text): return Array(text.utf8)
        case (.int4(let number), .int4): return bigEndian(number)
        case (.int4(let number), .int8): return bigEndian(Int64(number))
        case (.int8(let number), .int8): return bigEndian(number)
        case (.bool(let flag), .bool): return [flag ? 1 : 0]
        case (.bytes(let bytes), .bytea): return bytes
        case (.uuid(let bytes), .uuid): return bytes
        case (.timestamp(let microseconds), .timestamptz):
            return bigEndian(Wire.microsecondsSince2000(microseconds))
        case (.int4Array(let elements), .int4Array):
            return array(elements.map { $0.map { bigEndian($0) } }, of: .int4)
        case (.textArray(let elements), .textArray):
            return array(elements.map { $0.map { Array($0.utf8) } }, of: .text)
        default: preconditionFailure("a value that does not fit type \(type.oid)")
        }
    }

    private static func array(_ elements: [[UInt8]?], of type: PostgresType) -> [UInt8] {
        guard !elements.isEmpty else { return bigEndian(Int32(0)) + bigEndian(Int32(0)) + bigEndian(type.oid) }
        var bytes = bigEndian(Int32(1)) + bigEndian(Int32(elements.contains { $0 == nil } ? 1 : 0))
        bytes += bigEndian(type.oid) + bigEndian(Int32(elements.count)) + bigEndian(Int32(1))
        for element in elements {
            bytes += bigEndian(element.map { Int32($0.count) } ?? -1)
            bytes += element ?? []
        }
        return bytes
    }

    private static func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
        unsafe withUnsafeBytes(of: number.bigEndian) { unsafe Array($0) }
    }
}
