internal import TrunklineCore

/// Cuts bytes into lines as they come, with bounded memory: a line that is too long is counted, not kept.
///
/// Lines end with LF or CRLF; the last one needs no end. Blank lines are passed over but counted, so that a number is the
/// one an editor shows. A byte order mark at the beginning is passed over.
package struct LineReader: Sendable {
    package struct Line: Sendable, Hashable {
        /// Counted from 1.
        package let number: Int
        /// The bytes without the line's end, or how long a line was that is longer than the limit.
        package let content: Content

        package enum Content: Sendable, Hashable {
            case bytes([UInt8])
            case tooLong(bytes: Int)
        }
    }

    private let limit: Int
    private var pending: [UInt8] = []
    /// Bytes of the current line that were not kept.
    private var dropped = 0
    private var number = 1
    private var isFirst = true

    /// - Parameter limit: the most bytes of a line.
    package init(limit: Int = SendJob.maximumMessageBytes) {
        self.limit = limit
    }

    /// Takes the next bytes and gives the lines that end in them.
    package mutating func push(_ chunk: [UInt8]) -> [Line] {
        var lines: [Line] = []
        var start = chunk.startIndex
        while let end = chunk[start...].firstIndex(of: 0x0A) {
            keep(chunk[start..<end])
            close(&lines)
            start = end + 1
        }
        keep(chunk[start...])
        return lines
    }

    /// The last line, if it had no end.
    package mutating func finish() -> [Line] {
        var lines: [Line] = []
        if !pending.isEmpty || dropped > 0 { close(&lines) }
        return lines
    }

    private mutating func keep(_ bytes: ArraySlice<UInt8>) {
        // One more than the limit may be the CR of the line's end; three more the byte order mark.
        let room = max(0, limit + 4 - pending.count)
        if dropped == 0, bytes.count <= room {
            pending.append(contentsOf: bytes)
        } else {
            pending.append(contentsOf: bytes.prefix(room))
            dropped += max(0, bytes.count - room)
        }
    }

    private mutating func close(_ lines: inout [Line]) {
        if isFirst, pending.starts(with: [0xEF, 0xBB, 0xBF]) { pending.removeFirst(3) }
        isFirst = false
        if dropped == 0, pending.last == 0x0D { pending.removeLast() }
        let length = pending.count + dropped
        if length > limit {
            lines.append(Line(number: number, content: .tooLong(bytes: length)))
        } else if pending.contains(where: { $0 != 0x20 && $0 != 0x09 }) {
            lines.append(Line(number: number, content: .bytes(pending)))
        }
        pending.removeAll(keepingCapacity: true)
        dropped = 0
        number += 1
    }
}
