internal import Glibc

/// A port of 127.0.0.1 that refuses every connection for as long as this process lives: bound, so that no other test and no
/// other program can get the number, and never listened on.
public let refusingPort: UInt16 = {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    precondition(descriptor >= 0, "no descriptor: \(errno)")
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            precondition(bind(descriptor, address, length) == 0, "no port: \(errno)")
            precondition(getsockname(descriptor, address, &length) == 0)
        }
    }
    return UInt16(bigEndian: address.sin_port)
}()
