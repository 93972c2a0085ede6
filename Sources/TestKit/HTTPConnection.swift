internal import Foundation
internal import Glibc

/// What a server answered.
package struct HTTPAnswer: Sendable {
    package let status: Int
    /// Names in lower case, in the order in which they came.
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]

    package var text: String { String(decoding: body, as: UTF8.self) }

    /// The first value of a header, whatever the case of its name.
    package subscript(_ name: String) -> String? { headers.first { $0.name == name.lowercased() }?.value }

    /// A member of its body that is a JSON object; nil without one.
    package func member(_ name: String) -> String? {
        let object = (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any]
        return object?[name].map { "\($0)" }
    }
}

/// A connection to an HTTP server of this machine, over which a test says what it likes, byte by byte.
///
/// Everything blocks: off the cooperative pool, and for one task at a time.
package final class HTTPConnection: @unchecked Sendable {
    // Unchecked: whoever uses it does so for one task at a time.
    private let descriptor: Int32
    private var unread: [UInt8] = []

    /// Nil when nobody listens there.
    ///
    /// - Parameters:
    ///   - patience: seconds until an answer that does not come is none: whoever waits for nothing must end some day.
    ///   - source: the last number of the address of 127.0.0.0/24 that it comes from; nil: whatever the system takes.
    package init?(to port: UInt16, patience: Int = 60, from source: UInt8? = nil) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if let source {
            var own = Socket.loopback(0)
            own.sin_addr.s_addr = (0x7F00_0000 | UInt32(source)).bigEndian
            _ = Socket.withAddress(&own) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        var address = Socket.loopback(port)
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        // What is whole already is ended by `deinit`, which closes: twice would close a descriptor of somebody else.
        guard Socket.withAddress(&address, { connect(descriptor, $0, length) }) == 0 else { return nil }
    }

    deinit { Glibc.close(descriptor) }

    /// False when the other side has gone.
    @discardableResult
    package func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    package func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// The next answer; nil when the connection ended before its end. Informational answers are passed over.
    package func readAnswer() -> HTTPAnswer? {
        while true {
            while Self.end(of: unread) == nil { guard readMore() else { return nil } }
            guard let end = Self.end(of: unread) else { return nil }
            let lines = String(decoding: unread[..<end], as: UTF8.self).components(separatedBy: "\r\n")
            unread.removeFirst(end + 4)
            let status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            if (100..<200).contains(status) { continue }
            let headers = lines.dropFirst().map { line in
                let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                return (
                    name: parts[0].lowercased(),
                    value: parts.count == 2 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
                )
            }
            let length = headers.first { $0.name == "content-length" }.flatMap { Int($0.value) } ?? 0
            while unread.count < length { guard readMore() else { return nil } }
            let body = Array(unread.prefix(length))
            unread.removeFirst(length)
            return HTTPAnswer(status: status, headers: headers, body: body)
        }
    }

    /// The status of the next answer, of which nothing but the head may have come: `100 Continue`.
    package func readInterim() -> Int? {
        while Self.end(of: unread) == nil { guard readMore() else { return nil } }
        guard let end = Self.end(of: unread) else { return nil }
        let line = String(decoding: unread.prefix { $0 != 13 }, as: UTF8.self)
        unread.removeFirst(end + 4)
        return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }

    /// Whether the other side ends the connection before it says another thing.
    package func isEnded() -> Bool { unread.isEmpty && !readMore() }

    private func readMore() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return false }
        unread += buffer[..<count]
        return true
    }

    private static func end(of bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (0...bytes.count - 4).first { bytes[$0..<($0 + 4)].elementsEqual([13, 10, 13, 10]) }
    }

    /// A request with its length, as bytes.
    package static func request(
        _ method: String,
        _ path: String,
        headers: [(String, String)] = [],
        body: [UInt8] = []
    ) -> [UInt8] {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(body.count)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        return Array((head + "\r\n").utf8) + body
    }

    /// One request on a connection of its own.
    ///
    /// - Throws: ``KitError`` without an answer.
    package static func ask(
        _ method: String,
        _ path: String,
        headers: [(String, String)] = [],
        body: [UInt8] = [],
        of port: UInt16,
        patience: Int = 60,
        from source: UInt8? = nil
    ) async throws(KitError) -> HTTPAnswer {
        let answer = await offPool { () -> HTTPAnswer? in
            guard let connection = HTTPConnection(to: port, patience: patience, from: source) else { return nil }
            let headers = headers + [("Connection", "close")]
            // Who is refused may be so before the end of what is said.
            connection.write(request(method, path, headers: headers, body: body))
            return connection.readAnswer()
        }
        guard let answer else { throw KitError("\(method) \(path): no answer") }
        return answer
    }
}

/// The port of this machine that a server has said it listens on; of several the last.
package func announcedPort(in text: String) -> UInt16? {
    text.range(of: "listening on http://127.0.0.1:", options: .backwards)
        .flatMap { UInt16(text[$0.upperBound...].prefix { $0.isNumber }) }
}
