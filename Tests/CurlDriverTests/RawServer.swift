import Glibc
import Synchronization

/// An HTTP server made of blocking sockets and threads, so that a test decides about every byte and every close.
final class RawServer: Sendable {
    struct Request: Sendable {
        /// Which connection carried it; the first is 0.
        var connection: Int
        var method: String
        var target: String
        /// Names in lower case.
        var headers: [(name: String, value: String)]
        var body: [UInt8]

        subscript(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private struct State {
        var isStopped = false
        var descriptors: Set<Int32> = []
        var threads: [pthread_t] = []
        var accepted = 0
        var requests: [Request] = []
    }

    let port: UInt16
    private let listener: Int32
    private let state = Mutex(State())
    private let script: @Sendable (Connection) -> Void

    /// Runs `script` on a thread of its own for each connection, and closes the connection when it returns.
    init(_ script: @escaping @Sendable (Connection) -> Void) {
        self.script = script
        (listener, port) = Self.listen()
        run { [self] in acceptLoop() }
    }

    /// Answers every request with the same bytes for as long as the client keeps the connection.
    convenience init(answering answer: String) {
        self.init { connection in
            while connection.readRequest() != nil { connection.write(answer) }
        }
    }

    /// Every request that was read whole: an effect, as far as a peer is concerned.
    var requests: [Request] { state.withLock { $0.requests } }
    /// How many connections were accepted.
    var connections: Int { state.withLock { $0.accepted } }
    func url(_ path: String = "/") -> String { "http://127.0.0.1:\(port)\(path)" }

    /// Ends every connection and waits for the threads.
    func stop() {
        let threads = state.withLock { state in
            state.isStopped = true
            for descriptor in state.descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
            return state.threads
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for thread in threads { pthread_join(thread, nil) }
        // Threads of connections that were accepted while we looked.
        for thread in state.withLock({ $0.threads.dropFirst(threads.count) }) { pthread_join(thread, nil) }
        close(listener)
    }

    private func acceptLoop() {
        while true {
            let descriptor = accept(listener, nil, nil)
            if descriptor < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                return
            }
            closeOnExec(descriptor)
            let ordinal: Int? = state.withLock { state in
                guard !state.isStopped else { return nil }
                state.descriptors.insert(descriptor)
                state.accepted += 1
                return state.accepted - 1
            }
            guard let ordinal else {
                close(descriptor)
                return
            }
            run { [self] in
                let connection = Connection(server: self, descriptor: descriptor, ordinal: ordinal)
                script(connection)
                state.withLock { _ = $0.descriptors.remove(descriptor) }
                connection.end()
                close(descriptor)
            }
        }
    }

    private func run(_ body: @escaping @Sendable () -> Void) {
        let thread = startThread(body)
        state.withLock { $0.threads.append(thread) }
    }

    fileprivate func record(_ request: Request) { state.withLock { $0.requests.append(request) } }

    private static func listen() -> (Int32, UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                precondition(bind(descriptor, address, length) == 0)
                precondition(Glibc.listen(descriptor, 1_024) == 0)
                precondition(getsockname(descriptor, address, &length) == 0)
            }
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    /// One connection, used by its script's thread only.
    final class Connection {
        let ordinal: Int
        private let server: RawServer
        private let descriptor: Int32
        private var buffer: [UInt8] = []
        private var resets = false

        init(server: RawServer, descriptor: Int32, ordinal: Int) {
            self.server = server
            self.descriptor = descriptor
            self.ordinal = ordinal
        }

        /// The next whole request, recorded as an effect; nil when the client has gone.
        func readRequest() -> Request? {
            while true {
                if let end = headEnd() {
                    let head = String(decoding: buffer[..<end], as: UTF8.self)
                    var lines = head.split(separator: "\r\n").map(String.init)[...]
                    let first = lines.removeFirst().split(separator: " ")
                    let headers = lines.map { line in
                        let colon = line.firstIndex(of: ":")!
                        let value = line[line.index(after: colon)...].drop { $0 == " " }
                        return (name: line[..<colon].lowercased(), value: String(value))
                    }
                    let length = headers.first { $0.name == "content-length" }.flatMap { Int($0.value) } ?? 0
                    if buffer.count >= end + 4 + length {
                        let request = Request(
                            connection: ordinal,
                            method: String(first[0]),
                            target: String(first[1]),
                            headers: headers,
                            body: Array(buffer[(end + 4)..<(end + 4 + length)])
                        )
                        buffer.removeFirst(end + 4 + length)
                        server.record(request)
                        return request
                    }
                }
                guard readMore() > 0 else { return nil }
            }
        }

        /// Everything until the client ends the connection.
        func readToEnd() -> [UInt8] {
            while readMore() > 0 {}
            return buffer
        }

        private func headEnd() -> Int? {
            guard buffer.count >= 4 else { return nil }
            return (0...(buffer.count - 4)).first { Array(buffer[$0..<($0 + 4)]) == [13, 10, 13, 10] }
        }

        private func readMore() -> Int {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(descriptor, &chunk, chunk.count, 0)
                if count < 0, errno == EINTR { continue }
                if count > 0 { buffer.append(contentsOf: chunk[..<count]) }
                return count
            }
        }

        /// Whether all of it could be written.
        @discardableResult
        func write(_ text: String) -> Bool { write(Array(text.utf8)) }

        @discardableResult
        func write(_ bytes: [UInt8]) -> Bool {
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                }
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return false }
                sent += count
            }
            return true
        }

        /// Ends the connection even if a program that another test started meanwhile inherited the descriptor.
        func end() {
            if !resets { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }

        /// Makes the close of this connection a reset.
        func resetOnClose() {
            resets = true
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
    }
}

/// A signal between threads that is given once and lasts.
final class Signal: Sendable {
    private let descriptors: (read: Int32, write: Int32)

    init() {
        var pair: [Int32] = [0, 0]
        precondition(pipe(&pair) == 0)
        pair.forEach(closeOnExec)
        descriptors = (pair[0], pair[1])
    }

    deinit {
        close(descriptors.read)
        close(descriptors.write)
    }

    func give() {
        var byte: UInt8 = 1
        precondition(write(descriptors.write, &byte, 1) == 1)
    }

    /// The same for a test: waits on a thread of its own.
    func given() async -> Bool { await offPool { self.wait() } }

    /// Blocks the calling thread; false after `seconds` without the signal.
    @discardableResult
    func wait(seconds: Int32 = 20) -> Bool {
        var entry = pollfd(fd: descriptors.read, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, seconds * 1_000) == 1
    }
}

/// A program that another test starts must not keep our connections open.
func closeOnExec(_ descriptor: Int32) {
    precondition(fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0)
}

private func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let code = pthread_create(
        &thread,
        nil,
        { pointer in
            Unmanaged<Box>.fromOpaque(pointer!).takeRetainedValue().body()
            return nil
        },
        Unmanaged.passRetained(Box(body)).toOpaque()
    )
    precondition(code == 0)
    return thread
}

/// Runs what blocks outside of the cooperative pool: on two cores, two blocked tests would stop all others.
func offPool<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        pthread_detach(startThread { continuation.resume(returning: body()) })
    }
}
