package import Logging

/// How a simulator is started.
package struct SimulatorOptions: Sendable {
    /// The address to listen on; only loopback addresses unless `allowsRemote`. Default 127.0.0.1.
    package var host = "127.0.0.1"
    /// 0 takes a free port. Default 3010, as EZWhatsApp's local runtime.
    package var port = 3010
    /// Path of the journal; it is created when missing and read when present. nil keeps everything in memory only.
    package var journal: String?
    /// Whether an answer waits until the journal is on the disk (survives a power loss), not only with the kernel
    /// (survives the death of the simulator). Default false.
    package var syncsJournal = false
    /// Whether others than this machine may connect: the control surface has no password. Default false.
    package var allowsRemote = false
    /// How many lines to register at the start, named by the prefix and a number. 0 to 100,000; default 0.
    package var lines = 0
    /// What comes before a line's number, which starts at 1 and is padded with zeros to the width of the last one, at
    /// least two digits: `line-01` … `line-20`. Its token is `ezw_line_line-01`.
    package var linePrefix = "line-"
    /// The workspace of lines that are registered without one. Default `default`.
    package var workspace = "default"
    /// The settings to start with; nil takes those of the journal, else the defaults.
    package var settings: SimulatorSettings?
    /// Seeds the dice of faults that have a probability. Default 1.
    package var seed: UInt64 = 1
    /// How long to wait before each further try of a webhook; its count is the number of further tries.
    package var webhookRetryDelays: [Duration] = [.seconds(1), .seconds(2), .seconds(4), .seconds(8)]
    /// How long a receiver of a webhook may take to answer.
    package var webhookTimeout: Duration = .seconds(5)
    /// What is logged; default warnings and errors.
    package var logLevel: Logger.Level = .warning

    package init() {}

    /// The ids of the lines to register at the start.
    package var lineIDs: [String] {
        guard lines > 0 else { return [] }
        let width = max(2, String(lines).count)
        return (1...lines).map { number in
            let digits = String(number)
            return linePrefix + String(repeating: "0", count: width - digits.count) + digits
        }
    }

    /// Takes over `HOST:PORT`, e.g. `127.0.0.1:3010` or `[::1]:0`.
    ///
    /// - Throws: `SimulatorError` (`refused`).
    package mutating func setListen(_ text: String) throws(SimulatorError) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw SimulatorError(.refused, "'\(text)' is no address: HOST:PORT was expected, e.g. 127.0.0.1:3010")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, !host.contains("[") else {
            throw SimulatorError(.refused, "'\(text)' is no address: HOST:PORT was expected, e.g. 127.0.0.1:3010")
        }
        self.host = String(host)
        self.port = Int(port)
    }

    func validate() throws(SimulatorError) {
        guard (0...65_535).contains(port) else { throw SimulatorError(.refused, "\(port) is no port: 0 to 65535") }
        guard (0...100_000).contains(lines) else {
            throw SimulatorError(.refused, "\(lines) lines are too many or too few: 0 to 100000")
        }
        guard World.isLineID(workspace) else {
            throw SimulatorError(.refused, "'\(workspace)' is no workspace id: 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        if let id = lineIDs.last, !World.isLineID(id) {
            throw SimulatorError(.refused, "'\(id)' is no line id: 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        guard allowsRemote || Self.isLoopback(host) else {
            throw SimulatorError(
                .refused,
                "\(host) is no loopback address, and whoever can connect controls the simulator; "
                    + "use 127.0.0.1, or allow it with --allow-remote"
            )
        }
    }

    static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || isIPv4(host) && host.hasPrefix("127.")
    }

    static func isIPv4(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return parts.count == 4 && parts.allSatisfy { $0 != nil }
    }
}
