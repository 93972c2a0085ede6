import Foundation
import Glibc
import TestKit
import Testing
import TrunklineChaos
import TrunklineTesting

/// SIGTERM in the first milliseconds of a process: neither lost nor deadly.
@Suite struct StopSignalTests {
    enum Command: String, CaseIterable { case worker, simulate, enqueue }

    /// Starts the command and sends it a SIGTERM as early as it can be had: while the program is still being loaded (`blocked`:
    /// it waits until somebody wants it), or right when the program catches it.
    private func stop(_ command: Command, blocked: Bool, _ install: TestInstall, _ round: Int) async throws {
        let log = install.folder.appendingPathComponent("\(command)-\(blocked)-\(round).log").path
        let fifo = install.folder.appendingPathComponent("input-\(command)-\(blocked)-\(round)").path
        let arguments: [String]
        switch command {
        case .worker: arguments = ["worker"]
        case .simulate: arguments = ["simulate", "ezwhatsapp", "--listen", "127.0.0.1:0"]
        // Its input never ends by itself.
        case .enqueue: arguments = ["enqueue", "-"]
        }
        try #require(mkfifo(fifo, 0o600) == 0)
        let held = open(fifo, O_RDWR)
        defer { close(held) }
        let process = try install.start(arguments, input: fifo, output: log, blocked: blocked ? [SIGTERM] : [])
        if !blocked {
            try await install.wait(for: "the first instruction") { !process.isRunning || catches(process.pid) }
        }
        process.send(SIGTERM)
        try await install.wait(for: "the end of \(command)", within: .seconds(90)) { !process.isRunning }
        let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        #expect(process.exitStatus == (command == .enqueue ? 128 + SIGTERM : 0), "\(command) \(blocked): \(text)")
        if command == .enqueue { #expect(text.contains("the same file again is safe"), "\(text)") }
    }

    private func catches(_ pid: Int32) -> Bool {
        let status = text(of: "/proc/\(pid)/status")
        let line = status.split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
        let mask = UInt64(line?.dropFirst(7).trimmingCharacters(in: .whitespaces) ?? "", radix: 16) ?? 0
        return mask & (1 << UInt64(SIGTERM - 1)) != 0
    }

    @Test(arguments: Command.allCases)
    func aSignalBeforeAnybodyListensIsNeitherLostNorDeadly(_ command: Command) async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            for round in 1...10 {
                try await stop(command, blocked: true, install, round)
                try await stop(command, blocked: false, install, round)
            }
        }
    }

    /// A core file would hold keys and customers' texts.
    @Test func aProcessWritesNoCore() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let worker = try install.startWorker(["TRUNKLINE_CORE_DUMPS": ""])
            try await install.wait(for: "a worker that owns shards") {
                try await install.number("select count(*) from trunkline.shards where owner is not null") == 2
            }
            let limits = text(of: "/proc/\(worker.pid)/limits")
            let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") } ?? ""
            let words = core.split(whereSeparator: \.isWhitespace).map(String.init)
            #expect(words.suffix(3) == ["0", "0", "bytes"], "\(core)")
        }
    }
}
