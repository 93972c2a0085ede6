import Dispatch
import Glibc
import Synchronization

/// The append-only file of what happened, one JSON object per line.
///
/// Records get their number and their place under one lock, so file order is the order of events. `commit` returns when
/// everything appended before it is in the file: after that it survives the death of the simulator (and, with `fsync`, of
/// the machine). An answer leaves only after the commit of what it answers.
final class Journal: Sendable {
    private struct Pending {
        var sequence: Int64
        var bytes: [UInt8] = []
        var waiters: [CheckedContinuation<Void, any Error>] = []
        var isSyncScheduled = false
        var failure: SimulatorError?
    }

    private let pending: Mutex<Pending>
    /// Held while writing: who comes second finds its records already written. -1: no file.
    private let file: Mutex<Int32>
    private let syncs: Bool
    private let queue = DispatchQueue(label: "trunkline.simulator.journal")
    private let clock: SimulatorClock

    /// Opens or creates a journal and hands every record that it holds to `replay`, in order. A torn last line, left by a
    /// crash in the middle of a write, is cut off.
    ///
    /// - Parameters:
    ///   - path: nil keeps no file.
    ///   - syncs: whether a commit waits for the disk (power loss), not only for the kernel (crash).
    init(
        path: String?,
        syncs: Bool,
        clock: SimulatorClock,
        replay: (JournalRecord) throws(SimulatorError) -> Void
    ) throws(SimulatorError) {
        self.syncs = syncs && path != nil
        self.clock = clock
        var last: Int64 = 0
        var descriptor: Int32 = -1
        if let path {
            descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else {
                throw SimulatorError(.journal, "cannot open the journal \(path): \(errorText(errno))")
            }
            do throws(SimulatorError) {
                var status = stat()
                guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                    throw SimulatorError(.journal, "the journal \(path) is not a regular file")
                }
                guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                    throw SimulatorError(.journal, "the journal \(path) is in use by another simulator")
                }
                let good = try JournalReader.read(descriptor, name: path) { record throws(SimulatorError) in
                    last = record.seq
                    try replay(record)
                }
                guard ftruncate(descriptor, off_t(good)) == 0 else {
                    throw SimulatorError(.journal, "cannot cut the journal \(path): \(errorText(errno))")
                }
            } catch {
                Self.release(descriptor)
                throw error
            }
        }
        pending = Mutex(Pending(sequence: last))
        file = Mutex(descriptor)
    }

    /// Gives the record its number and times and puts it in line for writing.
    ///
    /// Call it under the lock of the state that the record is about.
    func append(_ record: inout JournalRecord) {
        record.t = clock.wall()
        record.mono = clock.monotonic()
        pending.withLock { pending in
            pending.sequence += 1
            record.seq = pending.sequence
            var writer = JSONWriter(capacity: 384)
            record.write(to: &writer)
            pending.bytes.append(contentsOf: writer.bytes)
            pending.bytes.append(UInt8(ascii: "\n"))
        }
    }

    /// Returns when everything appended so far is on file.
    func commit() async throws {
        guard syncs else {
            try write()
            return
        }
        try await withCheckedThrowingContinuation { continuation in
            scheduleSync(continuation)
        }
    }

    /// As `commit`, for the moments before anything runs: it blocks.
    func commitNow() throws(SimulatorError) {
        try write()
        guard syncs else { return }
        let status = file.withLock { fdatasync($0) }
        guard status == 0 else { throw fail("cannot sync the journal: \(errorText(errno))") }
    }

    /// Writes what was appended, without waiting for the disk. Used where nothing depends on it yet.
    func commitSoon() {
        if syncs {
            scheduleSync(nil)
        } else {
            // The failure is kept and stops the next commit.
            try? write()
        }
    }

    /// The failure that ended the journal, if one did: nothing can be accepted any more.
    var failure: SimulatorError? { pending.withLock { $0.failure } }

    func close() {
        try? write()
        file.withLock { descriptor in
            if descriptor >= 0 {
                if syncs { fdatasync(descriptor) }
                Self.release(descriptor)
                descriptor = -1
            }
        }
    }

    /// Gives the lock back, then the file. Closing alone leaves the lock with a child that is being started just now: it has a
    /// copy of every descriptor until it becomes another program.
    private static func release(_ descriptor: Int32) {
        flock(descriptor, LOCK_UN)
        Glibc.close(descriptor)
    }

    private func scheduleSync(_ continuation: CheckedContinuation<Void, any Error>?) {
        let mustSchedule = pending.withLock { pending in
            if let continuation { pending.waiters.append(continuation) }
            defer { pending.isSyncScheduled = true }
            return !pending.isSyncScheduled
        }
        if mustSchedule { queue.async { self.sync() } }
    }

    private func sync() {
        let waiters = pending.withLock { pending in
            pending.isSyncScheduled = false
            defer { pending.waiters = [] }
            return pending.waiters
        }
        let result: Result<Void, any Error>
        do {
            try commitNow()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        for waiter in waiters { waiter.resume(with: result) }
    }

    private func write() throws(SimulatorError) {
        try file.withLock { descriptor throws(SimulatorError) in
            let (bytes, failure) = pending.withLock { pending in
                defer { pending.bytes = [] }
                return (pending.bytes, pending.failure)
            }
            if let failure { throw failure }
            guard descriptor >= 0, !bytes.isEmpty else { return }
            var offset = 0
            while offset < bytes.count {
                let written = bytes.withUnsafeBytes { buffer in
                    Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                }
                if written < 0 {
                    if errno == EINTR { continue }
                    throw fail("cannot write the journal: \(errorText(errno))")
                }
                offset += written
            }
        }
    }

    private func fail(_ description: String) -> SimulatorError {
        let failure = SimulatorError(.journal, description)
        pending.withLock { $0.failure = failure }
        return failure
    }
}

/// Reads a journal from its beginning.
enum JournalReader {
    /// - Returns: how many bytes hold whole records; what follows is a torn line.
    /// - Throws: `SimulatorError` (`journal`) naming the line that cannot be read; only the last one may be broken.
    static func read(
        _ descriptor: Int32,
        name: String,
        _ body: (JournalRecord) throws(SimulatorError) -> Void
    ) throws(SimulatorError) -> Int {
        var good = 0
        var lineNumber = 0
        var buffer: [UInt8] = []
        var offset: off_t = 0
        var broken: String?
        while true {
            let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 20) { chunk, count in
                count = max(0, pread(descriptor, chunk.baseAddress, chunk.count, offset))
            }
            guard !chunk.isEmpty else { break }
            offset += off_t(chunk.count)
            buffer.append(contentsOf: chunk)
            var start = 0
            while let end = buffer[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if let broken { throw SimulatorError(.journal, broken) }
                lineNumber += 1
                do {
                    let record = try JournalRecord(json: try JSON.parse(buffer[start..<end]))
                    try body(record)
                    good += end + 1 - start
                } catch let error as JSONError {
                    broken = "the journal \(name) cannot be read at line \(lineNumber): \(error.reason)"
                } catch {
                    throw SimulatorError(.journal, "\(error)")
                }
                start = end + 1
            }
            buffer.removeSubrange(..<start)
        }
        return good
    }
}

func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}
