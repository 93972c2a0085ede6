internal import Foundation
internal import Glibc

/// A request to a server of this machine that answers at once, like the control surface of a simulator.
package enum SmallRequest {
    /// The body of the answer.
    ///
    /// - Throws: ``KitError`` without an answer with a status of the 200s within ten seconds.
    @discardableResult
    package static func send(
        _ method: String,
        _ path: String,
        _ body: String = "",
        to port: UInt16
    ) async throws(KitError) -> String {
        let answer = await offPool { exchange(method, path, body, port) }
        guard let answer, answer.hasPrefix("HTTP/1.1 2"), let end = answer.range(of: "\r\n\r\n") else {
            throw KitError("\(method) \(path) was refused: \(answer ?? "no answer")")
        }
        return String(answer[end.upperBound...])
    }

    /// On a connection of its own, blocking.
    private static func exchange(_ method: String, _ path: String, _ body: String, _ port: UInt16) -> String? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = Socket.loopback(port)
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let connected = Socket.withAddress(&address) { connect(descriptor, $0, length) }
        let head = [
            "\(method) \(path) HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Length: \(body.utf8.count)",
        ]
        let request = Array((head.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
        guard connected == 0, Glibc.send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
        else {
            return nil
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
