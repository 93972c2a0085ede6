import Foundation
import TestKit
import Testing

@testable import TrunklineSimulator

@Suite struct JournalTests {
    @Test func aRestartRemembersKeysLinesAndSettings() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            let (first, report) = try await withSimulator({ $0.journal = path }) { server async throws in
                try server.control("PUT", "/__sim/settings", #"{"replayStatus":200,"keyScope":"line"}"#)
                try server.control("PUT", "/__sim/lines/line-02/state", #"{"state":"qr_required"}"#)
                try server.control("PUT", "/__sim/lines/line-03", #"{"token":"ezw_line_third","workspace":"other"}"#)
                let first = try await server.send(key: "k")
                _ = try await server.send(key: "k", token: "ezw_line_third")
                try await eventually("the answers are on record") { server.report().total.answers == 2 }
                return (first?.json, server.report())
            }
            try await withSimulator({ $0.journal = path }) { server async throws in
                #expect(server.report().total == report.total)
                let replay = try #require(try await server.send(key: "k"))
                #expect(replay.status == 200)
                #expect(replay.json == first)
                #expect(try await server.send(key: "k", body: goodBody + " ")?.status == 409)
                #expect(try await server.send(key: "k", token: "ezw_line_third")?.status == 200)
                let health = try await server.health(token: "ezw_line_line-02")
                #expect(health?.json["health"]?["status"]?["text"] == .string("QR"))
                #expect(server.report().askedAgainAfterAnswer == 2)
                // Numbers go on where they were.
                #expect(server.report().sequence > report.sequence)
                let new = try #require(try await server.send(key: "new")?.json["attemptId"])
                #expect(new != first?["attemptId"])
            }
            let sequences = try records(path).map(\.seq)
            #expect(sequences == Array(1...Int64(sequences.count)))
            // The token itself is not on file.
            #expect(!String(decoding: try readFile(path), as: UTF8.self).contains("ezw_line_"))
        }
    }

    @Test func aTornLastLineIsCutOff() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            let first = try await withSimulator({ $0.journal = path }) { try await $0.send(key: "k")?.json }
            let whole = try readFile(path)
            for torn in [#"{"seq":99,"t":1,"mono":1,"kind":"eff"#, "{", "\u{0}\u{0}\u{0}\n"] {
                try appendFile(path, torn)
                #expect(try SimulatorReport(journal: path).total.messages == 1)
                let after = try await withSimulator({ $0.journal = path }) { try await $0.send(key: "k")?.json }
                #expect(after == first)
                let now = try readFile(path)
                #expect(now.starts(with: whole))
                #expect(now.split(separator: UInt8(ascii: "\n")).allSatisfy { (try? JSON.parse($0)) != nil })
            }
        }
    }

    @Test func aJournalBrokenInTheMiddleIsRefusedInWords() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            try appendFile(path, "this is no journal\n{}\n")
            var options = SimulatorOptions()
            options.port = 0
            options.journal = path
            do {
                _ = try await SimulatorServer.start(options)
                Issue.record("it started")
            } catch let error as SimulatorError {
                #expect(error.code == .journal)
                #expect(error.description.contains("cannot be read at line 1"))
            }
            #expect(try readFile(path).count == "this is no journal\n{}\n".utf8.count)
        }
    }

    @Test func twoSimulatorsCannotShareAJournal() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            try await withSimulator({ $0.journal = path }) { _ in
                var options = SimulatorOptions()
                options.port = 0
                options.journal = path
                await #expect(throws: SimulatorError.self) { try await SimulatorServer.start(options) }
            }
        }
    }

    @Test func aCopyOfTheDescriptorDoesNotKeepTheJournalLocked() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            // What a child has between its making and its first own program.
            let copy = try await withSimulator({ $0.journal = path }) { _ in dup(try descriptor(of: path)) }
            defer { close(copy) }
            try #require(copy >= 0)
            #expect(try await withSimulator({ $0.journal = path }) { try await $0.send(key: "k")?.status } == 202)
        }
    }

    /// Of this process, of the file.
    private func descriptor(of path: String) throws -> Int32 {
        let folder = "/proc/self/fd"
        // The folder has a name of its own, and perhaps another parent behind a link.
        let end = "/" + path.split(separator: "/").suffix(2).joined(separator: "/")
        let found = try FileManager.default.contentsOfDirectory(atPath: folder).first {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)"))?.hasSuffix(end) == true
        }
        return try #require(found.flatMap(Int32.init))
    }

    @Test func anEffectIsOnFileBeforeItsAnswer() async throws {
        try await withTemporaryDirectory { directory in
            for syncs in [false, true] {
                let path = directory + "/journal-\(syncs)"
                try await withSimulator({
                    $0.journal = path
                    $0.syncsJournal = syncs
                }) { server async throws in
                    for number in 0..<20 {
                        #expect(try await server.send(key: "k\(number)")?.status == 202)
                        // The answer is here: the file knows of the message, without asking the simulator.
                        #expect(try SimulatorReport(journal: path).total.messages == number + 1)
                    }
                }
            }
        }
    }

    @Test func theStateDirectlyAfterAKillIsEnough() async throws {
        // A copy of the file at any moment is what a SIGKILL would leave behind.
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            let first: JSON? = try await withSimulator({ $0.journal = path }) { server async throws in
                try server.control("POST", "/__sim/answers/hold")
                let client = try RawClient(port: server.port)
                await client.write(request("POST", "/api/v1/messages/text", key: "k", body: goodBody))
                try await eventually("it is held") { server.report().total.messages == 1 }
                try appendFile(directory + "/copy", String(decoding: try readFile(path), as: UTF8.self))
                try server.control("POST", "/__sim/answers/release")
                return await client.read()?.json
            }
            try await withSimulator({ $0.journal = directory + "/copy" }) { server async throws in
                // It was accepted and not answered; asking again gives the same attempt.
                #expect(server.report().total.messages == 1)
                #expect(server.report().total.answers == 0)
                #expect(try await server.send(key: "k")?.json == first)
                #expect(server.report().askedAgainAfterAnswer == 0)
            }
        }
    }

    @Test func aJournalThatCannotBeWrittenEndsTheSimulatorAndNothingIsAnswered() async throws {
        // A file in memory that is forbidden to grow behaves like a full disk.
        typealias MemoryFile = @convention(c) (UnsafePointer<CChar>, UInt32) -> Int32
        let symbol = try #require(dlsym(nil, "memfd_create"))
        let allowSealing: UInt32 = 2
        let descriptor = unsafeBitCast(symbol, to: MemoryFile.self)("journal", allowSealing)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var options = SimulatorOptions()
        options.port = 0
        options.lines = 1
        options.journal = "/proc/self/fd/\(descriptor)"
        let server = try await SimulatorServer.start(options)
        #expect(try await server.send(key: "a")?.status == 202)
        try await eventually("its answer is on record") { server.report().total.answers == 1 }
        let addSeals: Int32 = 1_033
        let mayNotGrow: Int32 = 4
        try #require(fcntl(descriptor, addSeals, mayNotGrow) == 0)
        #expect(try await server.send(key: "b") == nil)
        do {
            try await server.wait()
            Issue.record("it ended as if nothing had happened")
        } catch let error as SimulatorError {
            #expect(error.code == .journal)
            #expect(error.description.contains("cannot write the journal"))
        }
    }

    @Test func onlyAFileCanBeAJournal() async throws {
        for path in ["/dev/full", "/", "/nowhere/journal"] {
            var options = SimulatorOptions()
            options.port = 0
            options.journal = path
            await #expect(throws: SimulatorError.self) { try await SimulatorServer.start(options) }
        }
    }

    /// Random faults, many clients, few keys: whatever happens, no key becomes two messages, every request ends once, and
    /// the file tells the same story as the memory.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func underEveryFaultAKeyIsOneMessage(_ seed: UInt64) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/journal"
            let server = try await withSimulator({
                $0.journal = path
                $0.seed = seed
            }) { server async throws in
                for fault in [
                    #"{"kind":"latency","minMs":0,"maxMs":4,"probability":0.5}"#,
                    #"{"kind":"dropBefore","probability":0.1}"#,
                    #"{"kind":"acceptThenDrop","probability":0.1}"#,
                    #"{"kind":"status","status":503,"probability":0.1}"#,
                    #"{"kind":"acceptThenStatus","status":500,"probability":0.1}"#,
                    #"{"kind":"truncate","probability":0.1}"#,
                ] {
                    try server.control("POST", "/__sim/faults", fault)
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<8 {
                        group.addTask {
                            for number in 0..<40 {
                                let token = worker.isMultiple(of: 2) ? "ezw_line_line-01" : "ezw_line_line-02"
                                let client = try RawClient(port: server.port)
                                let key = "k\((number * 7 + worker) % 30)"
                                await client.write(
                                    request("POST", "/api/v1/messages/text", token: token, key: key, body: goodBody)
                                )
                                // Some do not wait for their answer.
                                if (number + worker) % 5 != 0 { _ = await client.read() }
                                client.close()
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                return server
            }
            // Stopped: whatever was still on its way has ended.
            let online = server.report()
            #expect(online.total.requests == online.total.answers + online.total.noAnswers)
            #expect(online.total.requests > 200)
            #expect(online.sentTwice == 0, "seed \(seed)")
            #expect(online.distinctKeys == online.total.messages)
            var offline = try SimulatorReport(journal: path)
            offline.sequence = online.sequence
            #expect(offline == online)
            var open: Set<Int64> = []
            for record in try records(path) {
                switch record.kind {
                case .request: open.insert(record.seq)
                case .effect: #expect(open.contains(record.request ?? 0))
                case .answer, .noAnswer: #expect(open.remove(record.request ?? 0) != nil)
                default: break
                }
            }
            #expect(open.isEmpty)
        }
    }
}
