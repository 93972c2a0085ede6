internal import Glibc

/// A port of 127.0.0.1 that refuses every connection for as long as this process lives: bound, so that no other test and no
/// other program can get the number, and never listened on.
package let refusingPort: UInt16 = {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    precondition(descriptor >= 0, "no descriptor: \(errno)")
    var address = Socket.loopback(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = Socket.withAddress(&address) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
    }
    precondition(isBound, "no port: \(errno)")
    return UInt16(bigEndian: address.sin_port)
}()
