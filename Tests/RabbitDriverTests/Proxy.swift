import Foundation
import Synchronization
import Testing

/// A TCP proxy on loopback that can go silent in the middle of a frame, or reset.
final class Proxy: Sendable {
    private struct State {
        /// Bytes from the broker that may still pass; nil is no limit.
        var allowance: Int?
        var clients: [Int32] = []
        var isClosed = false
        var passed = 0
    }
    private let state = Mutex(State())
    private let listener: Int32
    let port: UInt16
    private let target: UInt16

    init(to target: UInt16) throws {
        self.target = target
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, pointer, &length) == 0
            }
        }
        try #require(bound)
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in accept() }
    }

    /// Lets `bytes` more pass to the clients, then nothing: the connections stay open and silent.
    func silence(after bytes: Int) { state.withLock { $0.allowance = bytes } }

    /// Bytes that have passed to the clients since the start.
    var passed: Int { state.withLock { $0.passed } }

    /// Resets every client's connection (RST) and lets everything pass again.
    func reset() {
        state.withLock { state in
            state.allowance = nil
            for client in state.clients {
                var linger = linger(l_onoff: 1, l_linger: 0)
                setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
                // A shutdown wakes the threads that read; they close, and that close resets.
                shutdown(client, Int32(SHUT_RD))
            }
            state.clients = []
        }
    }

    func close() {
        reset()
        state.withLock { $0.isClosed = true }
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private func accept() {
        while true {
            let client = Foundation.accept(listener, nil, nil)
            guard client >= 0, !state.withLock({ $0.isClosed }) else {
                Foundation.close(listener)
                return
            }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.loopback(port: target)
            let connected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard connected else {
                Foundation.close(client)
                Foundation.close(server)
                continue
            }
            state.withLock { $0.clients.append(client) }
            Thread.detachNewThread { [self] in
                let back = Thread { [self] in pass(from: server, to: client, limited: true) }
                back.start()
                pass(from: client, to: server, limited: false)
                shutdown(server, Int32(SHUT_RDWR))
                while !back.isFinished { usleep(1_000) }
                Foundation.close(client)
                Foundation.close(server)
            }
        }
    }

    private func pass(from source: Int32, to target: Int32, limited: Bool) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(source, &buffer, buffer.count)
            guard count > 0 else { return }
            var allowed = count
            if limited {
                allowed = state.withLock { state in
                    let allowed = min(count, state.allowance ?? count)
                    if state.allowance != nil { state.allowance = (state.allowance ?? 0) - allowed }
                    state.passed += allowed
                    return allowed
                }
            }
            var written = 0
            while written < allowed {
                let sent = buffer.withUnsafeBytes { bytes in
                    send(target, bytes.baseAddress! + written, allowed - written, Int32(MSG_NOSIGNAL))
                }
                guard sent > 0 else { return }
                written += sent
            }
        }
    }
}
