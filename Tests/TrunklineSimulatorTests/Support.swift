import Dispatch
import Glibc
import Synchronization
import TestKit
import Testing

@testable import TrunklineSimulator

/// Runs a body against a simulator on a free port, and stops it whatever happens.
func withSimulator<Value: Sendable>(
    clock: SimulatorClock = .system,
    _ change: (inout SimulatorOptions) -> Void = { _ in },
    _ body: (SimulatorServer) async throws -> Value
) async throws -> Value {
    var options = SimulatorOptions()
    options.port = 0
    options.lines = 2
    change(&options)
    let server = try await SimulatorServer.start(options, clock: clock)
    do {
        let value = try await body(server)
        try await server.stop()
        return value
    } catch {
        try? await server.stop()
        throw error
    }
}

/// A time that stands still until it is moved.
final class ManualClock: Sendable {
    private let microseconds = Mutex<Int64>(1_780_000_000_000_000)

    func advance(seconds: Double) {
        microseconds.withLock { $0 += Int64(seconds * 1_000_000) }
    }

    var clock: SimulatorClock {
        SimulatorClock(
            wall: { self.microseconds.withLock { $0 } },
            monotonic: { self.microseconds.withLock { $0 } * 1_000 }
        )
    }
}

/// A directory that is gone when the body has ended.
func withTemporaryDirectory<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/trunkline-simulator-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp") }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { unlink("\(path)/\(name)") }
            }
            closedir(directory)
        }
        rmdir(path)
    }
    return try await body(path)
}

func readFile(_ path: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { throw TestFailure("open \(path)") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: buffer[..<count])
    }
}

func appendFile(_ path: String, _ text: String) throws {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT, 0o600)
    guard descriptor >= 0 else { throw TestFailure("open \(path)") }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard write(descriptor, bytes, bytes.count) == bytes.count else { throw TestFailure("write \(path)") }
}

/// The records of a journal file.
func records(_ path: String) throws -> [JournalRecord] {
    try readFile(path).split(separator: UInt8(ascii: "\n")).map { try JournalRecord(json: JSON.parse($0)) }
}

struct TestFailure: Error {
    var what: String
    init(_ what: String) { self.what = what }
}

/// What came back for one request.
struct RawAnswer: Sendable, Equatable {
    var status: Int
    var headers: [String: String]
    var body: [UInt8]
    /// The connection ended before the body was as long as announced.
    var isCut: Bool

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: JSON { (try? JSON.parse(body)) ?? .null }
}

/// A client on a bare socket: it can leave in the middle of things. Its blocking calls run on a queue of its own, because
/// the server under test needs the threads of the test.
final class RawClient: Sendable {
    private let descriptor: Int32
    private let queue = DispatchQueue(label: "raw client")
    private let isOpen = Mutex(true)

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let descriptor = descriptor
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // Closed by `deinit`, which runs here too.
        guard status == 0 else { throw TestFailure("connect: \(errno)") }
    }

    deinit { close() }

    func close() {
        let mustClose = isOpen.withLock { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        if mustClose { Glibc.close(descriptor) }
    }

    private func onQueue<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: body()) }
        }
    }

    func write(_ text: String) async {
        let descriptor = descriptor
        await onQueue {
            let bytes = Array(text.utf8)
            _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    /// nil: the connection ended (or was reset) without a byte.
    func read() async -> RawAnswer? {
        let descriptor = descriptor
        return await onQueue { Self.readAnswer(descriptor) }
    }

    private static func readAnswer(_ descriptor: Int32) -> RawAnswer? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var head: (status: Int, headers: [String: String], bodyStart: Int)?
        while true {
            if head == nil { head = parseHead(bytes) }
            let length = head.flatMap { $0.headers["content-length"] }.flatMap { Int($0) } ?? 0
            if let head, bytes.count >= head.bodyStart + length {
                let body = Array(bytes[head.bodyStart..<head.bodyStart + length])
                return RawAnswer(status: head.status, headers: head.headers, body: body, isCut: false)
            }
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 {
                guard let head else { return nil }
                let body = Array(bytes[head.bodyStart...])
                return RawAnswer(status: head.status, headers: head.headers, body: body, isCut: true)
            }
            bytes.append(contentsOf: buffer[..<count])
        }
    }

    private static func parseHead(_ bytes: [UInt8]) -> (status: Int, headers: [String: String], bodyStart: Int)? {
        let end = Array("\r\n\r\n".utf8)
        guard bytes.count >= 4, let start = bytes.indices.dropLast(3).first(where: { Array(bytes[$0..<$0 + 4]) == end })
        else { return nil }
        let lines = String(decoding: bytes[..<start], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
        }
        return (status, headers, start + 4)
    }
}

let goodBody = #"{"to":"+34600111222","body":"Order A-1 is ready."}"#

/// The text of one request.
func request(
    _ method: String,
    _ path: String,
    token: String? = "ezw_line_line-01",
    key: String? = nil,
    contentType: String? = "application/json",
    body: String? = nil
) -> String {
    var text = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if let token { text += "Authorization: Bearer \(token)\r\n" }
    if let key { text += "Idempotency-Key: \(key)\r\n" }
    if let body {
        if let contentType { text += "Content-Type: \(contentType)\r\n" }
        text += "Content-Length: \(body.utf8.count)\r\n"
    }
    return text + "\r\n" + (body ?? "")
}

extension SimulatorServer {
    /// One request on a connection of its own; nil when no answer came.
    func exchange(_ text: String) async throws -> RawAnswer? {
        let client = try RawClient(port: port)
        defer { client.close() }
        await client.write(text)
        return await client.read()
    }

    func send(
        key: String?,
        token: String? = "ezw_line_line-01",
        body: String = goodBody,
        contentType: String? = "application/json",
        path: String = "/api/v1/messages/text"
    ) async throws -> RawAnswer? {
        try await exchange(
            request("POST", path, token: token, key: key, contentType: contentType, body: body)
        )
    }

    func health(token: String = "ezw_line_line-01", query: String = "?wakeup=false") async throws -> RawAnswer? {
        try await exchange(request("GET", "/api/v1/health\(query)", token: token))
    }

    /// Asks the control surface over the network.
    func ask(_ method: String, _ path: String, _ body: String? = nil) async throws -> RawAnswer {
        let answer = try await exchange(request(method, "/__sim" + path, token: nil, body: body))
        return try #require(answer)
    }
}
