import Foundation
import TestKit
import Testing

/// Programs that are run, and files that they leave.
@Suite struct ProgramTests {
    @Test func aCommandGivesItsStatusAndBothOfItsVoices() async throws {
        let said = try await Command.run(
            "/bin/sh",
            ["-c", "read line; echo \"got $line\"; echo oh >&2; exit 3"],
            input: "x\n"
        )
        #expect(said.status == 3 && said.output == "got x\n" && said.errors == "oh\n")
        let error = #expect(throws: KitError.self) { try said.requireSuccess("it") }
        #expect(error?.description.contains("it: ended with 3: oh") == true)
    }

    /// A signal is no exit status: 128 + 15 is what a shell makes of it, and what a program may return.
    @Test func aSignalIsToldFromEveryExitStatus() async throws {
        #expect(try await Command.run("/bin/sh", ["-c", "kill -TERM $$"]).status == -SIGTERM)
        #expect(try await Command.run("/bin/sh", ["-c", "exit 143"]).status == 143)
    }

    @Test func whatTakesTooLongIsKilled() async throws {
        #expect(try await Command.run("/bin/sleep", ["600"], limit: .milliseconds(50)).status == -SIGKILL)
    }

    @Test func whatACancelledTaskRunsIsKilled() async throws {
        let folder = temporaryFolder("cancelled")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let task = Task { try await Command.run("/bin/sh", ["-c", "echo > started; exec sleep 600"], folder: folder) }
        try await eventually("the program") { FileManager.default.fileExists(atPath: folder + "/started") }
        task.cancel()
        #expect(try await task.value.status == -SIGKILL)
    }

    /// Its standard input ends when it may: not before the test has looked, and not while another program inherits it.
    @Test func standardInputIsHeldWhileATestLooks() async throws {
        let said = try await Command.run("/bin/cat", [], input: "late") { pid in
            try await eventually("the program") { text(of: "/proc/\(pid)/cmdline").hasPrefix("/bin/cat") }
            #expect(kill(pid, 0) == 0)
        }
        #expect(said.status == 0 && said.output == "late")
    }

    /// Test runners block signals on their threads, and their children would inherit it.
    @Test func aProgramFindsNoSignalBlockedButThoseItShould() async throws {
        for blocked in [[], [SIGTERM]] {
            let output = temporaryFolder("mask")
            defer { try? FileManager.default.removeItem(atPath: output) }
            let child = try ChildProcess(
                "/bin/grep",
                ["SigBlk", "/proc/self/status"],
                output: output,
                blocked: blocked
            )
            #expect(await child.end() == 0)
            let mask = UInt64(text(of: output).split(separator: "\t").last?.dropLast() ?? "", radix: 16)
            #expect(mask == (blocked.isEmpty ? 0 : 1 << UInt64(SIGTERM - 1)))
        }
    }

    @Test func aVariableIsReadAsAShellWouldReadIt() throws {
        let path = temporaryFolder("env")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("export A=plain\nexport AB='it'\\''s quoted'\nexport EMPTY=\n".utf8).write(to: URL(filePath: path))
        #expect(try variable("A", inFile: path) == "plain")
        #expect(try variable("AB", inFile: path) == "it's quoted")
        #expect(try variable("EMPTY", inFile: path) == "")
        #expect(throws: KitError.self) { try variable("B", inFile: path) }
    }

    @Test func whatNeverComesIsSaidInWords() async throws {
        let error = await #expect(throws: KitError.self) {
            try await eventually("the day", within: .milliseconds(1), situation: { "(it is night)" }) { false }
        }
        #expect(error?.description.contains("the day (it is night)") == true)
    }
}
