internal import Glibc
internal import Synchronization

/// An HTTP server made of blocking sockets and threads, so that a test decides about every byte and every close.
package final class RawServer: Sendable {
    package struct Request: Sendable {
        /// Which connection carried it; the first is 0.
        package var connection: Int
        package var method: String
        package var target: String
        /// Names in lower case.
        package var headers: [(name: String, value: String)]
        package var body: [UInt8]

        package subscript(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private struct State {
        var isStopped = false
        var descriptors: Set<Int32> = []
        var threads: [pthread_t] = []
        var accepted = 0
        var requests: [Request] = []
    }

    private let listener: Listener
    package var port: UInt16 { listener.port }
    private let state = Mutex(State())
    private let script: @Sendable (Connection) -> Void

    /// Runs `script` on a thread of its own for each connection, and closes the connection when it returns.
    package init(_ script: @escaping @Sendable (Connection) -> Void) {
        self.script = script
        listener = Listener()
        run { [self] in acceptLoop() }
    }

    /// Answers every request with the same bytes for as long as the client keeps the connection.
    package convenience init(answering answer: String) {
        self.init { connection in
            while connection.readRequest() != nil { connection.write(answer) }
        }
    }

    /// Every request that was read whole: an effect, as far as a peer is concerned.
    package var requests: [Request] { state.withLock { $0.requests } }
    /// How many connections were accepted.
    package var connections: Int { state.withLock { $0.accepted } }
    package func url(_ path: String = "/") -> String { "http://127.0.0.1:\(port)\(path)" }

    /// Ends every connection and waits for the threads.
    package func stop() {
        let threads = state.withLock { state in
            state.isStopped = true
            for descriptor in state.descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
            return state.threads
        }
        listener.close()
        for thread in threads { pthread_join(thread, nil) }
        // Threads of connections that were accepted while we looked.
        for thread in state.withLock({ $0.threads.dropFirst(threads.count) }) { pthread_join(thread, nil) }
    }

    private func acceptLoop() {
        while let descriptor = listener.accept() {
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

    /// One connection, used by its script's thread only.
    package final class Connection {
        package let ordinal: Int
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
        package func readRequest() -> Request? {
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
        package func readToEnd() -> [UInt8] {
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
        package func write(_ text: String) -> Bool { write(Array(text.utf8)) }

        @discardableResult
        package func write(_ bytes: [UInt8]) -> Bool {
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
        package func end() {
            if !resets { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }

        /// Makes the close of this connection a reset.
        package func resetOnClose() {
            resets = true
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
    }
}

/// A signal between threads that is given once and lasts.
package final class Signal: Sendable {
    private let descriptors: (read: Int32, write: Int32)

    package init() {
        var pair: [Int32] = [0, 0]
        precondition(pipe(&pair) == 0)
        pair.forEach(closeOnExec)
        descriptors = (pair[0], pair[1])
    }

    deinit {
        close(descriptors.read)
        close(descriptors.write)
    }

    package func give() {
        var byte: UInt8 = 1
        precondition(write(descriptors.write, &byte, 1) == 1)
    }

    /// The same for a test: waits on a thread of its own.
    package func given() async -> Bool { await offPool { self.wait() } }

    /// Blocks the calling thread; false after `seconds` without the signal.
    @discardableResult
    package func wait(seconds: Int32 = 20) -> Bool {
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
package func offPool<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        pthread_detach(startThread { continuation.resume(returning: body()) })
    }
}
