internal import CPlatform

/// A value in a table of arguments or headers.
package enum RabbitValue: Sendable, Hashable {
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    /// Seconds since 1970, as AMQP has it.
    case timestamp(seconds: UInt64)
    case array([RabbitValue])
    case table([String: RabbitValue])
    case void
}

extension RabbitValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
}

/// Memory for the arguments of one C call; everything is freed when it goes.
@safe final class Arena {
    // Safe: what it lends is an unsafe type, and its holder keeps it for as long as the call lasts.
    private var blocks: [UnsafeMutableRawBufferPointer] = unsafe []

    deinit {
        unsafe blocks.forEach { unsafe $0.deallocate() }
    }

    /// Not initialized; for values that need no clean-up.
    private func allocate<Element>(
        _ type: Element.Type,
        _ count: Int
    ) -> UnsafeMutableBufferPointer<Element> {
        let block = UnsafeMutableRawBufferPointer.allocate(
            byteCount: MemoryLayout<Element>.stride * count,
            alignment: MemoryLayout<Element>.alignment
        )
        unsafe blocks.append(block)
        return unsafe block.bindMemory(to: type)
    }

    func bytes(_ text: String) -> amqp_bytes_t { unsafe bytes(Array(text.utf8)) }

    func bytes(_ source: [UInt8]) -> amqp_bytes_t {
        guard !source.isEmpty else { return unsafe amqp_bytes_t(len: 0, bytes: nil) }
        let block = unsafe allocate(UInt8.self, source.count)
        _ = unsafe block.initialize(from: source)
        return unsafe amqp_bytes_t(UnsafeRawBufferPointer(block))
    }

    func table(_ values: [String: RabbitValue]) -> amqp_table_t {
        guard !values.isEmpty else { return unsafe amqp_table_t(num_entries: 0, entries: nil) }
        let entries = unsafe allocate(amqp_table_entry_t.self, values.count)
        // Sorted, so that the same arguments are the same bytes.
        for (index, (key, value)) in values.sorted(by: { $0.key < $1.key }).enumerated() {
            unsafe entries.initializeElement(at: index, to: amqp_table_entry_t(key: bytes(key), value: field(value)))
        }
        return unsafe amqp_table_t(num_entries: Int32(values.count), entries: entries.baseAddress)
    }

    private func array(_ values: [RabbitValue]) -> amqp_array_t {
        guard !values.isEmpty else { return unsafe amqp_array_t(num_entries: 0, entries: nil) }
        let entries = unsafe allocate(amqp_field_value_t.self, values.count)
        for (index, value) in values.enumerated() { unsafe entries.initializeElement(at: index, to: field(value)) }
        return unsafe amqp_array_t(num_entries: Int32(values.count), entries: entries.baseAddress)
    }

    private func field(_ value: RabbitValue) -> amqp_field_value_t {
        typealias Value = amqp_field_value_t.__Unnamed_union_value
        let (kind, field): (amqp_field_value_kind_t, Value) =
            switch value {
            case .bool(let value): unsafe (AMQP_FIELD_KIND_BOOLEAN, Value(boolean: value ? 1 : 0))
            case .int(let value): unsafe (AMQP_FIELD_KIND_I64, Value(i64: value))
            case .double(let value): unsafe (AMQP_FIELD_KIND_F64, Value(f64: value))
            case .string(let value): unsafe (AMQP_FIELD_KIND_UTF8, Value(bytes: bytes(value)))
            case .bytes(let value): unsafe (AMQP_FIELD_KIND_BYTES, Value(bytes: bytes(value)))
            case .timestamp(let seconds): unsafe (AMQP_FIELD_KIND_TIMESTAMP, Value(u64: seconds))
            case .array(let values): unsafe (AMQP_FIELD_KIND_ARRAY, Value(array: array(values)))
            case .table(let values): unsafe (AMQP_FIELD_KIND_TABLE, Value(table: table(values)))
            case .void: unsafe (AMQP_FIELD_KIND_VOID, Value())
            }
        return unsafe amqp_field_value_t(kind: UInt8(kind.rawValue), value: field)
    }
}

extension amqp_bytes_t {
    /// The same memory: librabbitmq only reads what it is given.
    init(_ buffer: UnsafeRawBufferPointer) {
        unsafe self.init(len: buffer.count, bytes: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
    }

    var buffer: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : len) }

    /// The bytes as text, with invalid UTF-8 replaced: broker texts and names are only shown or compared.
    var text: String { unsafe String(decoding: buffer, as: UTF8.self) }

    func equals(_ other: String) -> Bool { unsafe buffer.count == other.utf8.count && buffer.elementsEqual(other.utf8) }
}

extension amqp_table_t {
    func first(_ key: StaticString) -> amqp_field_value_t? {
        let entries = unsafe UnsafeBufferPointer(start: entries, count: entries == nil ? 0 : Int(num_entries))
        return key.withUTF8Buffer { key in unsafe entries.first { unsafe $0.key.buffer.elementsEqual(key) }?.value }
    }
}

extension amqp_field_value_t {
    private func isKind(_ kind: amqp_field_value_kind_t) -> Bool { unsafe self.kind == UInt8(kind.rawValue) }

    /// Any of the integer kinds: the broker chooses the width.
    var integer: Int64? {
        switch unsafe amqp_field_value_kind_t(UInt32(kind)) {
        case AMQP_FIELD_KIND_I64: unsafe value.i64
        case AMQP_FIELD_KIND_I32: unsafe Int64(value.i32)
        case AMQP_FIELD_KIND_U32: unsafe Int64(value.u32)
        case AMQP_FIELD_KIND_U64: unsafe Int64(clamping: value.u64)
        case AMQP_FIELD_KIND_I16: unsafe Int64(value.i16)
        case AMQP_FIELD_KIND_U16: unsafe Int64(value.u16)
        case AMQP_FIELD_KIND_I8: unsafe Int64(value.i8)
        case AMQP_FIELD_KIND_U8: unsafe Int64(value.u8)
        default: nil
        }
    }

    var string: String? {
        unsafe isKind(AMQP_FIELD_KIND_UTF8) || isKind(AMQP_FIELD_KIND_BYTES) ? value.bytes.text : nil
    }

    var table: amqp_table_t? { unsafe isKind(AMQP_FIELD_KIND_TABLE) ? value.table : nil }

    var array: UnsafeBufferPointer<amqp_field_value_t>? {
        guard unsafe isKind(AMQP_FIELD_KIND_ARRAY) else { return nil }
        return unsafe UnsafeBufferPointer(start: value.array.entries, count: Int(value.array.num_entries))
    }
}
