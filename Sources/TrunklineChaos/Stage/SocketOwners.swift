internal import Foundation
internal import Glibc
internal import TestKit

/// Which local ports a process uses towards one port of this machine: the kernel's tables say it.
enum SocketOwners {
    /// Client ports of process `pid` in connections to 127.0.0.1:`target`.
    static func ports(of pid: Int32, to target: UInt16) -> Set<UInt16> {
        let wanted = inodes(of: pid)
        guard !wanted.isEmpty else { return [] }
        var ports: Set<UInt16> = []
        for line in bytes(of: "/proc/\(pid)/net/tcp").split(separator: UInt8(ascii: "\n")).dropFirst() {
            // number: local address:port remote address:port state queues timer retransmits user time-out inode. The table holds
            // every connection of the machine, so that most lines must end at their remote port.
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), line.endIndex - colon > 29,
                port(line[(colon + 24)..<(colon + 29)]) == target
            else { continue }
            let fields = line[(colon + 29)...].split(separator: UInt8(ascii: " "), maxSplits: 7)
            guard fields.count > 6, let inode = number(fields[6]) else { continue }
            if wanted.contains(inode), let local = port(line[(colon + 10)..<(colon + 15)]) { ports.insert(local) }
        }
        return ports
    }

    private static func inodes(of pid: Int32) -> Set<UInt64> {
        let folder = "/proc/\(pid)/fd"
        var inodes: Set<UInt64> = []
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            var buffer = [UInt8](repeating: 0, count: 64)
            let count = buffer.withUnsafeMutableBytes {
                readlink(folder + "/" + name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), 64)
            }
            // socket:[12345]
            guard count > 9, buffer[0] == UInt8(ascii: "s"), buffer[7] == UInt8(ascii: "[") else { continue }
            if let inode = number(buffer[8..<(count - 1)]) { inodes.insert(inode) }
        }
        return inodes
    }

    private static func port(_ address: ArraySlice<UInt8>) -> UInt16? {
        guard let colon = address.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        return UInt16(String(decoding: address[address.index(after: colon)...], as: UTF8.self), radix: 16)
    }

    private static func number(_ digits: some Sequence<UInt8>) -> UInt64? {
        digits.reduce(into: UInt64?(0)) { value, digit in
            value = (48...57).contains(digit) ? value.map { $0 &* 10 &+ UInt64(digit - 48) } : nil
        }
    }
}
