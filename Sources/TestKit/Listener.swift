internal import Glibc

/// A listening socket on a free port of 127.0.0.1, for servers made of threads that block.
package final class Listener: Sendable {
    package let port: UInt16
    private let descriptor: Int32

    package init() {
        let opened = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Socket.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = Socket.withAddress(&address) { address in
            bind(opened, address, length) == 0 && listen(opened, 1_024) == 0
                && getsockname(opened, address, &length) == 0
        }
        precondition(isListening, "no listening socket: errno \(errno)")
        descriptor = opened
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { Glibc.close(descriptor) }

    /// Waits for a connection, which its caller closes; nil when this is closed.
    package func accept() -> Int32? {
        while true {
            let connection = Glibc.accept(descriptor, nil, nil)
            if connection >= 0 {
                // A program that another test starts must not keep it open.
                precondition(fcntl(connection, F_SETFD, FD_CLOEXEC) == 0)
                return connection
            }
            guard errno == EINTR || errno == ECONNABORTED else { return nil }
        }
    }

    /// As ``accept()``; nil, too, when nobody comes within `limit`.
    package func accept(within limit: Duration) -> Int32? {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, Int32(limit / .milliseconds(1))) == 1 else { return nil }
        return accept()
    }

    /// Refuses whoever comes, and ends whoever waits in ``accept()``.
    package func close() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}
