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
final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = []

    deinit {
        for block in blocks { block.deallocate() }
    }

    func bytes(_ text: String) -> amqp_bytes_t { bytes(Array(text.utf8)) }

    func bytes(_ source: [UInt8]) -> amqp_bytes_t {
        guard !source.isEmpty else { return amqp_bytes_t(len: 0, bytes: nil) }
        let block = UnsafeMutableRawPointer.allocate(byteCount: source.count, alignment: 1)
        blocks.append(block)
        block.copyMemory(from: source, byteCount: source.count)
        return amqp_bytes_t(len: source.count, bytes: block)
    }

    func table(_ values: [String: RabbitValue]) -> amqp_table_t {
        guard !values.isEmpty else { return amqp_table_t(num_entries: 0, entries: nil) }
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<amqp_table_entry_t>.stride * values.count,
            alignment: MemoryLayout<amqp_table_entry_t>.alignment
        )
        blocks.append(block)
        let entries = block.bindMemory(to: amqp_table_entry_t.self, capacity: values.count)
        // Sorted, so that the same arguments are the same bytes.
        for (index, (key, value)) in values.sorted(by: { $0.key < $1.key }).enumerated() {
            (entries + index).initialize(to: amqp_table_entry_t(key: bytes(key), value: field(value)))
        }
        return amqp_table_t(num_entries: Int32(values.count), entries: entries)
    }

    private func array(_ values: [RabbitValue]) -> amqp_array_t {
        guard !values.isEmpty else { return amqp_array_t(num_entries: 0, entries: nil) }
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<amqp_field_value_t>.stride * values.count,
            alignment: MemoryLayout<amqp_field_value_t>.alignment
        )
        blocks.append(block)
        let entries = block.bindMemory(to: amqp_field_value_t.self, capacity: values.count)
        for (index, value) in values.enumerated() {
            (entries + index).initialize(to: field(value))
        }
        return amqp_array_t(num_entries: Int32(values.count), entries: entries)
    }

    private func field(_ value: RabbitValue) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        func kind(_ kind: amqp_field_value_kind_t) { field.kind = UInt8(kind.rawValue) }
        switch value {
        case .bool(let value):
            kind(AMQP_FIELD_KIND_BOOLEAN)
            field.value.boolean = value ? 1 : 0
        case .int(let value):
            kind(AMQP_FIELD_KIND_I64)
            field.value.i64 = value
        case .double(let value):
            kind(AMQP_FIELD_KIND_F64)
            field.value.f64 = value
        case .string(let value):
            kind(AMQP_FIELD_KIND_UTF8)
            field.value.bytes = bytes(value)
        case .bytes(let value):
            kind(AMQP_FIELD_KIND_BYTES)
            field.value.bytes = bytes(value)
        case .timestamp(let seconds):
            kind(AMQP_FIELD_KIND_TIMESTAMP)
            field.value.u64 = seconds
        case .array(let values):
            kind(AMQP_FIELD_KIND_ARRAY)
            field.value.array = array(values)
        case .table(let values):
            kind(AMQP_FIELD_KIND_TABLE)
            field.value.table = table(values)
        case .void:
            kind(AMQP_FIELD_KIND_VOID)
        }
        return field
    }
}

extension amqp_bytes_t {
    /// The bytes as text, with invalid UTF-8 replaced: broker texts and names are only shown or compared.
    var text: String {
        guard len > 0, let bytes else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: len), as: UTF8.self)
    }

    func equals(_ other: String) -> Bool {
        guard len == other.utf8.count else { return false }
        guard len > 0, let bytes else { return true }
        return UnsafeRawBufferPointer(start: bytes, count: len).elementsEqual(other.utf8)
    }
}

extension amqp_table_t {
    func first(_ key: StaticString) -> amqp_field_value_t? {
        guard num_entries > 0, let entries else { return nil }
        for index in 0..<Int(num_entries) {
            let name = entries[index].key
            guard name.len == key.utf8CodeUnitCount, let bytes = name.bytes else { continue }
            if memcmp(bytes, key.utf8Start, name.len) == 0 { return entries[index].value }
        }
        return nil
    }
}

extension amqp_field_value_t {
    private func isKind(_ kind: amqp_field_value_kind_t) -> Bool { self.kind == UInt8(kind.rawValue) }

    /// Any of the integer kinds: the broker chooses the width.
    var integer: Int64? {
        if isKind(AMQP_FIELD_KIND_I64) { return value.i64 }
        if isKind(AMQP_FIELD_KIND_I32) { return Int64(value.i32) }
        if isKind(AMQP_FIELD_KIND_U32) { return Int64(value.u32) }
        if isKind(AMQP_FIELD_KIND_U64) { return Int64(clamping: value.u64) }
        if isKind(AMQP_FIELD_KIND_I16) { return Int64(value.i16) }
        if isKind(AMQP_FIELD_KIND_U16) { return Int64(value.u16) }
        if isKind(AMQP_FIELD_KIND_I8) { return Int64(value.i8) }
        if isKind(AMQP_FIELD_KIND_U8) { return Int64(value.u8) }
        return nil
    }

    var string: String? {
        isKind(AMQP_FIELD_KIND_UTF8) || isKind(AMQP_FIELD_KIND_BYTES) ? value.bytes.text : nil
    }

    var table: amqp_table_t? { isKind(AMQP_FIELD_KIND_TABLE) ? value.table : nil }

    var array: UnsafeBufferPointer<amqp_field_value_t>? {
        guard isKind(AMQP_FIELD_KIND_ARRAY) else { return nil }
        return UnsafeBufferPointer(start: value.array.entries, count: Int(value.array.num_entries))
    }
}
