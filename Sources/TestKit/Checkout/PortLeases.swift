internal import Foundation
internal import Glibc

/// Ports of 127.0.0.1, reserved for the whole machine.
///
/// Servers of several checkouts and users may start side by side, and a number that is free now may be another's a moment
/// later. A file per port names the folder that it is for; the folder's files name its ports.
package struct PortLeases: Sendable {
    private let range: ClosedRange<UInt16>
    private static let reserved = "/var/tmp/trunkline-ports"

    /// - Parameter range: nil: as `TRUNKLINE_DEV_PORTS` says (`FIRST-LAST`), or below the kernel's range for outgoing
    ///   connections.
    package init(range: ClosedRange<UInt16>? = nil) {
        let words = ProcessInfo.processInfo.environment["TRUNKLINE_DEV_PORTS"]?.split(separator: "-") ?? []
        let wanted = words.compactMap { UInt16($0) }
        let named = wanted.count == 2 && wanted[0] <= wanted[1] ? wanted[0]...wanted[1] : nil
        self.range = range ?? named ?? 20_000...31_999
    }

    /// The port of that name of a folder, which must exist. That of an earlier call is kept, so that clients find a restarted
    /// server; one that somebody else has taken meanwhile is replaced.
    ///
    /// - Parameter patience: for whoever still listens on a kept one. A killed server may be the one: its process counts as ended
    ///   when its first thread has, and its sockets are open until the last has.
    /// - Throws: ``KitError`` when no port is free.
    package func port(
        _ name: String,
        of folder: String,
        patience: Duration = .seconds(20)
    ) async throws -> UInt16 {
        let file = "\(folder)/\(name).port"
        if let kept = Self.number(in: file), Self.isReserved(kept, for: folder) {
            try? await eventually("port \(kept)", within: patience, every: .milliseconds(20)) {
                !Self.isListening(kept)
            }
            if !Self.isListening(kept) { return kept }
        }
        let port = try await reserve(for: folder)
        try writePrivately("\(port)\n", to: file, mode: 0o644)
        return port
    }

    /// The port of that name that a folder has; nil when it has none.
    package static func held(_ name: String, of folder: String) -> UInt16? { number(in: "\(folder)/\(name).port") }

    /// Gives all ports of a folder back.
    package static func release(of folder: String) {
        for name in names(in: folder) where name.hasSuffix(".port") {
            if let port = number(in: "\(folder)/\(name)"), isReserved(port, for: folder) {
                removeFiles("\(reserved)/\(port)")
            }
            removeFiles("\(folder)/\(name)")
        }
    }

    private static func number(in file: String) -> UInt16? { UInt16(text(of: file).trimmingCharacters(in: .newlines)) }

    private static func isReserved(_ port: UInt16, for folder: String) -> Bool {
        isOurs("\(reserved)/\(port)") && text(of: "\(reserved)/\(port)") == folder + "\n"
    }

    private func reserve(for folder: String) async throws -> UInt16 {
        if mkdir(Self.reserved, 0o777) == 0 { chmod(Self.reserved, 0o1777) }
        guard isFolder(Self.reserved) else {
            throw KitError("could not make \(Self.reserved), in which ports are reserved")
        }
        return try await withFileLock(Self.reserved) {
            let listening = Self.listening()
            for _ in 0..<2_000 {
                let port = UInt16.random(in: range)
                let file = "\(Self.reserved)/\(port)"
                guard !listening.contains(port) else { continue }
                // Left by a folder that is gone.
                if isOurs(file), !isFolder(String(text(of: file).dropLast())) { removeFiles(file) }
                let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
                guard descriptor >= 0 else { continue }
                defer { close(descriptor) }
                let line = Array((folder + "\n").utf8)
                guard write(descriptor, line, line.count) == line.count else {
                    removeFiles(file)
                    throw KitError("\(file) cannot be written")
                }
                return port
            }
            throw KitError("found no free port between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    /// Whether anybody listens on it, on whatever address.
    package static func isListening(_ port: UInt16) -> Bool { listening().contains(port) }

    private static func listening() -> Set<UInt16> {
        var ports: Set<UInt16> = []
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // Columns: number, local address:port, remote address:port, state; 0A is LISTEN.
            for line in text(of: table).utf8.split(separator: UInt8(ascii: "\n")).dropFirst() {
                let columns = line.split(separator: UInt8(ascii: " "), maxSplits: 4)
                guard columns.count > 3, columns[3].elementsEqual("0A".utf8),
                    let port = UInt16(String(Substring(columns[1].suffix(4))), radix: 16)
                else { continue }
                ports.insert(port)
            }
        }
        return ports
    }
}
