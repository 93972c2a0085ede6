internal import CPlatform

/// Turns parameters into what libpq's send functions take. One per connection: the buffers are used again and again.
///
/// A final class, so that no exclusive access to the connection is held while libpq reads the buffers.
final class ParameterEncoder {
    /// PostgreSQL's limit for one message is 1 GiB minus one byte; libpq copies ours into one.
    static let maximumBytes = 1_000_000_000
    /// A buffer that one large statement has grown is given back.
    private static let keptCapacity = 1 << 20

    private var bytes: [UInt8] = []
    /// Where each parameter begins in `bytes`; nil for NULL.
    private var offsets: [Int?] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []

    /// Throws `invalidParameter` for values that PostgreSQL cannot store. The message names the parameter's number, never
    /// its value.
    func encode(_ parameters: [PostgresParameter], for statement: PostgresStatement) throws(PostgresError) {
        precondition(
            parameters.count == statement.parameterTypes.count,
            "statement \"\(statement.name)\" takes \(statement.parameterTypes.count) parameters, given \(parameters.count)"
        )
        precondition(parameters.count <= 65_535, "more parameters than the protocol can count")
        reset()
        // libpq takes a null pointer for SQL NULL: with one byte in front, an empty value never has one.
        bytes.append(0)
        for (index, parameter) in parameters.enumerated() {
            try encode(parameter, as: statement.parameterTypes[index], number: index + 1, of: statement)
            guard bytes.count <= Self.maximumBytes else {
                reset()
                throw PostgresError(
                    code: .invalidParameter,
                    message: "the parameters are together larger than \(Self.maximumBytes) bytes"
                )
            }
        }
    }

    /// Calls `body` with the encoded parameters; the pointers are valid until it returns.
    func withEncoded<R>(
        _ body: (
            _ count: Int32, _ values: UnsafePointer<UnsafePointer<CChar>?>?, _ lengths: UnsafePointer<Int32>?,
            _ formats: UnsafePointer<Int32>?
        ) -> R
    ) -> R {
        defer { if bytes.capacity > Self.keptCapacity { bytes = [] } }
        return unsafe bytes.withUnsafeBytes { buffer in
            let pointers = unsafe offsets.map { offset in
                unsafe offset.flatMap {
                    unsafe buffer.baseAddress?.advanced(by: $0).assumingMemoryBound(to: CChar.self)
                }
            }
            return unsafe body(Int32(offsets.count), pointers, lengths, formats)
        }
    }

    private func reset() {
        bytes.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        formats.removeAll(keepingCapacity: true)
    }

    // MARK: One parameter

    private func encode(
        _ parameter: PostgresParameter,
        as declared: PostgresType,
        number: Int,
        of statement: PostgresStatement
    ) throws(PostgresError) {
        func fits(_ type: PostgresType) {
            precondition(
                declared == type,
                "parameter \(number) of statement \"\(statement.name)\" has type \(declared.oid), given \(type.oid)"
            )
        }
        let start = bytes.count
        var format: Int32 = 1
        switch parameter {
        case .null:
            offsets.append(nil)
            lengths.append(0)
            formats.append(1)
            return
        case .text(let text):
            try append(text, number)
            // The binary form of these types is the text itself; any other type reads the text.
            format = [.text, .varchar, .json].contains(declared) ? 1 : 0
        case .int4(let value) where declared == .int8:
            append(Int64(value))
        case .int4, .int8, .float8, .bool, .bytes, .timestamp, .uuid:
            appendScalar(parameter, fits)
        case .textArray, .int4Array, .int8Array, .boolArray, .byteaArray, .timestampArray, .uuidArray:
            try appendArray(parameter, number, fits)
        }
        if format == 0 {
            // libpq ignores the length of a value in text format and reads up to a NUL.
            bytes.append(0)
        }
        offsets.append(start)
        lengths.append(Int32(clamping: bytes.count - start))
        formats.append(format)
    }

    private func appendScalar(_ parameter: PostgresParameter, _ fits: (PostgresType) -> Void) {
        switch parameter {
        case .int4(let value):
            fits(.int4)
            append(value)
        case .int8(let value):
            fits(.int8)
            append(value)
        case .float8(let value):
            fits(.float8)
            append(Int64(bitPattern: value.bitPattern))
        case .bool(let value):
            fits(.bool)
            bytes.append(value ? 1 : 0)
        case .bytes(let value):
            fits(.bytea)
            bytes.append(contentsOf: value)
        case .timestamp(let microseconds):
            fits(.timestamptz)
            append(Wire.microsecondsSince2000(microseconds))
        case .uuid(let value):
            fits(.uuid)
            append(uuid: value)
        default:
            preconditionFailure("not a scalar")
        }
    }

    private func appendArray(
        _ parameter: PostgresParameter,
        _ number: Int,
        _ fits: (PostgresType) -> Void
    ) throws(PostgresError) {
        switch parameter {
        case .textArray(let elements):
            fits(.textArray)
            try append(elements, of: .text) { element throws(PostgresError) in try self.append(element, number) }
        case .int4Array(let elements):
            fits(.int4Array)
            append(elements, of: .int4) { self.append($0) }
        case .int8Array(let elements):
            fits(.int8Array)
            append(elements, of: .int8) { self.append($0) }
        case .boolArray(let elements):
            fits(.boolArray)
            append(elements, of: .bool) { self.bytes.append($0 ? 1 : 0) }
        case .byteaArray(let elements):
            fits(.byteaArray)
            append(elements, of: .bytea) { self.bytes.append(contentsOf: $0) }
        case .timestampArray(let elements):
            fits(.timestamptzArray)
            append(elements, of: .timestamptz) { self.append(Wire.microsecondsSince2000($0)) }
        case .uuidArray(let elements):
            fits(.uuidArray)
            append(elements, of: .uuid) { self.append(uuid: $0) }
        default:
            preconditionFailure("not an array")
        }
    }

    private func append<Number: FixedWidthInteger>(_ number: Number) {
        unsafe withUnsafeBytes(of: number.bigEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private func append(_ text: String, _ number: Int) throws(PostgresError) {
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        // Asked of the copy, which is contiguous whatever the string is.
        let hasNUL = unsafe bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress, buffer.count > start else { return false }
            return unsafe memchr(base.advanced(by: start), 0, buffer.count - start) != nil
        }
        if hasNUL {
            throw PostgresError(
                code: .invalidParameter,
                message: "parameter \(number) holds a NUL character, which PostgreSQL's text cannot hold"
            )
        }
    }

    private func append(uuid: [UInt8]) {
        precondition(uuid.count == 16, "a uuid has 16 bytes, given \(uuid.count)")
        bytes.append(contentsOf: uuid)
    }

    /// PostgreSQL's array format: dimensions, whether there are NULLs, element type, then per dimension its length and first
    /// index, then the elements, each behind its length. An empty array has no dimension.
    private func append<Element, Failure: Error>(
        _ elements: [Element?],
        of type: PostgresType,
        _ encode: (Element) throws(Failure) -> Void
    ) throws(Failure) {
        append(Int32(elements.isEmpty ? 0 : 1))
        append(Int32(elements.contains { $0 == nil } ? 1 : 0))
        append(type.oid)
        guard !elements.isEmpty else { return }
        append(Int32(elements.count))
        append(Int32(1))
        for element in elements {
            guard let element else {
                append(Int32(-1))
                continue
            }
            let lengthAt = bytes.count
            append(Int32(0))
            try encode(element)
            let length = UInt32(clamping: bytes.count - lengthAt - 4)
            unsafe withUnsafeBytes(of: length.bigEndian) {
                unsafe bytes.replaceSubrange(lengthAt..<lengthAt + 4, with: $0)
            }
        }
    }
}
