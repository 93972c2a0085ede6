import Foundation
import TestKit
import Testing

/// What private servers are known and reached by.
@Suite struct CheckoutTests {
    @Test func whatAnEnvironmentFileSetsAShellReads() async throws {
        let values = [
            "PLAIN": "postgresql://postgres:0af@127.0.0.1:20001/trunkline?a=b", "EMPTY": "", "SPACE": "a b",
            "QUOTE": "it's", "QUOTES": "''", "SHELL": "$(rm x) `y` \\ \" * ~ # !", "SIGN": "a=b", "UMLAUT": "ä",
        ]
        var file = EnvironmentFile()
        for (name, value) in values { file.set(name, value) }
        let path = temporaryFolder("env")
        defer { removeFiles(path) }
        try file.write(to: path)
        #expect(EnvironmentFile.variables(of: path) == values)
        for (name, value) in values {
            let shell = try await Command.run(
                "/bin/sh",
                ["-c", #". "$0"; printf %s "$\#(name)""#, path],
                environment: [:]
            )
            #expect(shell.status == 0 && shell.output == value, "\(name)")
        }
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func everybodyGetsTheSameSecret() async throws {
        let root = temporaryFolder("checkout")
        defer { removeFiles(root) }
        let checkout = Checkout(root: root)
        let passwords = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<20 { group.addTask { try checkout.password() } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(passwords.count == 1 && passwords.first?.count == 48)
        #expect(try Checkout(root: root).password() == passwords.first)
        #expect(try Checkout(root: root + "-other").password() != passwords.first)
        removeFiles(root + "-other")
    }

    /// The number of a process is another's tomorrow.
    @Test func aRecordIsOfOneProcessOnly() async throws {
        let folder = temporaryFolder("record")
        try makeFolder(folder)
        defer { removeFiles(folder) }
        let record = ProcessRecord(folder + "/sleep.pid")
        try await record.start("/bin/sleep", ["600"], environment: ["PATH": "/usr/bin:/bin"], log: folder + "/log")
        let pid = try #require(record.pid)
        #expect(text(of: "/proc/\(pid)/cmdline") == "/bin/sleep\0600\0")
        // The same number, begun at another time.
        var fields = text(of: record.file).split(separator: " ").map(String.init)
        fields[1] += "0"
        let other = ProcessRecord(folder + "/other.pid")
        try writePrivately(fields.joined(separator: " "), to: other.file)
        #expect(!other.isAlive)
        try await other.end(SIGKILL, within: .seconds(1))
        #expect(record.pid == pid)
        try await record.end(SIGTERM, within: .seconds(20))
        #expect(kill(pid, 0) != 0 && !FileManager.default.fileExists(atPath: record.file))
    }

    @Test func aFrozenProcessIsEndedToo() async throws {
        let folder = temporaryFolder("frozen")
        try makeFolder(folder)
        defer { removeFiles(folder) }
        let record = ProcessRecord(folder + "/sleep.pid")
        let environment = ["PATH": "/usr/bin:/bin"]
        try await record.start("/bin/sleep", ["600"], environment: environment, log: folder + "/log")
        let pid = try #require(record.pid)
        kill(pid, SIGSTOP)
        try await record.end(SIGTERM, within: .seconds(20))
        #expect(kill(pid, 0) != 0)
    }

    /// Its sockets are open, and its locks are held, until the last of its threads has ended.
    @Test func aProcessWhoseFirstThreadHasEndedIsAlive() async throws {
        let folder = temporaryFolder("threads")
        try makeFolder(folder)
        defer { removeFiles(folder) }
        let record = ProcessRecord(folder + "/python.pid")
        // SYS_exit, which ends one thread: 60 on x86-64, 93 on arm64.
        let program = """
            import ctypes, platform, threading, time
            threading.Thread(target=time.sleep, args=(600,)).start()
            ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)
            """
        try await record.start("/usr/bin/python3", ["-c", program], environment: [:], log: folder + "/python.log")
        let pid = try #require(record.pid)
        try await eventually("its first thread to end") { text(of: "/proc/\(pid)/stat").contains(") Z ") }
        #expect(record.isAlive)
        try await record.kill()
        #expect(!record.isAlive)
    }

    @Test func whatCannotBeStartedIsSaid() async throws {
        let folder = temporaryFolder("missing")
        try makeFolder(folder)
        defer { removeFiles(folder) }
        let record = ProcessRecord(folder + "/none.pid")
        try await record.start("/no/such/program", [], environment: ["PATH": "/usr/bin:/bin"], log: folder + "/log")
        try await eventually("its end") { !record.isAlive }
        #expect(text(of: folder + "/log").contains("/no/such/program"))
    }

    @Test func oneAtATimeHoldsALock() async throws {
        let path = temporaryFolder("lock")
        defer { removeFiles(path, path + ".count") }
        try writePrivately("0", to: path + ".count")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await withFileLock(path) {
                        let count = Int(text(of: path + ".count")) ?? 0
                        await Task.yield()
                        try writePrivately("\(count + 1)", to: path + ".count")
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(text(of: path + ".count") == "20")
    }
}
