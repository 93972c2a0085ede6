/// The bytes of one value as they lie in a result of libpq. It may not outlive that result.
///
/// Every read is checked against the end, in release builds too: a server, or whoever poses as one, may send less than a type
/// needs.
@safe struct WireValue {
    // Safe by what it offers: nothing outside is read, and no pointer is given away.
    private let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = bytes }

    var count: Int { unsafe bytes.count }
    var array: [UInt8] { unsafe Array(bytes) }
    var text: String { unsafe String(decoding: bytes, as: UTF8.self) }

    /// A number in network order.
    func number<Number: FixedWidthInteger & BitwiseCopyable>(
        _ type: Number.Type = Number.self,
        at offset: Int = 0
    ) -> Number {
        check(offset, MemoryLayout<Number>.size)
        return unsafe Number(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    func part(from offset: Int, count: Int) -> WireValue {
        check(offset, count)
        return unsafe WireValue(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
    }

    private func check(_ offset: Int, _ wanted: Int) {
        precondition(
            offset >= 0 && wanted >= 0 && offset <= count && wanted <= count - offset,
            "\(wanted) bytes from \(offset) on of a value that has \(count)"
        )
    }
}
