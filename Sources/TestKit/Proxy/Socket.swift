internal import Glibc

/// The few socket calls that the proxy needs; every descriptor is non-blocking.
enum Socket {
    static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private static func make() -> Int32 {
        socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }

    static func withAddress<Result>(
        _ address: inout sockaddr_in,
        _ body: (UnsafeMutablePointer<sockaddr>) -> Result
    ) -> Result {
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
        }
    }

    /// A descriptor that is bound to a port of 127.0.0.1, a free one unless it is named, and does not listen; nil when the
    /// kernel refuses.
    ///
    /// The number is nobody else's for as long as it is open: neither for a listener nor for an outgoing connection. Only
    /// another descriptor of this kind may be bound to it by name.
    static func bound(to port: UInt16 = 0) -> (descriptor: Int32, port: UInt16)? {
        let descriptor = make()
        guard descriptor >= 0 else { return nil }
        // Neither what is left of earlier connections nor the descriptor that keeps the number is in the way.
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = loopback(port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withAddress(&address) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
        guard isBound else {
            Glibc.close(descriptor)
            return nil
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    /// A listening descriptor on that port, which a descriptor of ``bound(to:)`` may keep; nil when the kernel refuses.
    static func listen(on port: UInt16) -> Int32? {
        guard let (descriptor, _) = bound(to: port) else { return nil }
        guard Glibc.listen(descriptor, 512) == 0 else {
            Glibc.close(descriptor)
            return nil
        }
        return descriptor
    }

    static func accept(_ listener: Int32) -> Int32? {
        // accept4 hides behind _GNU_SOURCE.
        let descriptor = Glibc.accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        sendAtOnce(descriptor)
        return descriptor
    }

    /// A connection that is being made; nil when it is refused at once.
    static func connect(to port: UInt16) -> Int32? {
        let descriptor = make()
        guard descriptor >= 0 else { return nil }
        sendAtOnce(descriptor)
        var address = loopback(port)
        let code = withAddress(&address) {
            Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
        guard code == 0 || errno == EINPROGRESS else {
            Glibc.close(descriptor)
            return nil
        }
        return descriptor
    }

    /// Whether the making of a connection has succeeded.
    static func isConnected(_ descriptor: Int32) -> Bool {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 && code == 0
    }

    private static func sendAtOnce(_ descriptor: Int32) {
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Our own port of a connection, or the other end's.
    static func port(_ descriptor: Int32, ofPeer: Bool) -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withAddress(&address) {
            ofPeer ? getpeername(descriptor, $0, &length) : getsockname(descriptor, $0, &length)
        }
        return code == 0 ? UInt16(bigEndian: address.sin_port) : 0
    }

    static func close(_ descriptor: Int32, _ how: FaultProxy.Cut) {
        if how == .reset {
            var value = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
        }
        Glibc.close(descriptor)
    }
}
