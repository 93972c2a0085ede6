internal import Foundation
internal import Glibc
internal import Synchronization
internal import TestKit

/// Runs `producer.py`: the producer that shares no line with the product, speaks AMQP by a library of its own, and writes
/// down itself what it was promised. Here it only gets its jobs, and its notes are read.
final class ForeignProducer: Sendable {
    private static let python = "/usr/bin/python3"

    private let arguments: [String]
    private let environment: [String: String]
    private let jobs: FileHandle
    private let notes: String
    private let log: String
    private struct State {
        var child: ChildProcess?
        var given: [String: LoadPlan.Job] = [:]
        /// Of its notes, what was read.
        var offset: UInt64 = 0
        var misbehaviour: [String] = []
    }
    private let state = Mutex(State())

    init(_ stage: Stage) throws {
        let folder = stage.options.folder
        let path = folder + "/foreign-jobs.ndjson"
        notes = folder + "/foreign.ndjson"
        log = folder + "/foreign.log"
        guard FileManager.default.createFile(atPath: path, contents: nil),
            FileManager.default.createFile(atPath: notes, contents: nil),
            let jobs = FileHandle(forWritingAtPath: path)
        else { throw ChaosError("\(path) cannot be written") }
        self.jobs = jobs
        arguments = [
            stage.options.checkout.root + "/Sources/TrunklineChaos/Foreign/producer.py",
            Routing.exchange, path, notes,
        ]
        // Everybody may read command lines; it holds the password.
        environment = Stage.cleanEnvironment.merging(["AMQP_URL": stage.servers.brokerURL(port: stage.producer.port)]) {
            $1
        }
    }

    func start() throws {
        let child = try ChildProcess(Self.python, arguments, environment: environment, output: log, errors: log)
        state.withLock { $0.child = child }
    }

    /// Sentences about its process.
    var misbehaviour: [String] { state.withLock { $0.misbehaviour } }

    private struct Line: Encodable {
        let note: ProducerRecord
        let routingKey: String
        let body: String
    }

    /// Hands it jobs, each with what is to be noted of it.
    func give(_ gives: [(note: ProducerRecord, body: [UInt8], job: LoadPlan.Job)]) {
        guard !gives.isEmpty else { return }
        var data = Data()
        for (note, body, job) in gives {
            let line = Line(note: note, routingKey: note.queue ?? "", body: String(decoding: body, as: UTF8.self))
            guard let text = try? JSONEncoder().encode(line) else { preconditionFailure("a job of ours is no JSON") }
            data += text
            data.append(UInt8(ascii: "\n"))
            state.withLock { $0.given[note.key] = job }
        }
        jobs.write(data)
    }

    /// What it has noted since the last look.
    func newAnswers() -> [(ProducerRecord.Answer, LoadPlan.Job)] {
        state.withLock { state in
            if let status = state.child?.exitStatus, state.misbehaviour.isEmpty {
                state.misbehaviour.append(
                    "the foreign client ended with \(ChildProcess.words(for: status)); see \(log)"
                )
            }
            guard let file = FileHandle(forReadingAtPath: notes) else { return [] }
            defer { try? file.close() }
            try? file.seek(toOffset: state.offset)
            let data = (try? file.readToEnd()) ?? Data()
            guard let end = data.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
            state.offset += UInt64(end - data.startIndex + 1)
            return data[...end].split(separator: UInt8(ascii: "\n")).compactMap { line in
                guard let record = try? JSONDecoder().decode(ProducerRecord.self, from: Data(line)),
                    let answer = record.answer, let job = state.given[record.key]
                else { return nil }
                return (answer, job)
            }
        }
    }

    /// Ends it; a publish that is under way comes to its end.
    func stop() async {
        guard let child = state.withLock({ $0.child }) else { return }
        let wasRunning = child.isRunning
        child.send(SIGTERM)
        let deadline = ContinuousClock.now + .seconds(30)
        while child.isRunning, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(20)) }
        let status = child.exitStatus
        child.send(SIGKILL)
        if wasRunning, status != 0 {
            state.withLock {
                $0.misbehaviour.append("the foreign client \(FleetProcess.words(forEnd: status)); see \(log)")
            }
        }
    }
}
