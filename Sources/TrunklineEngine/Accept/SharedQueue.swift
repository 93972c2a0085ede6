internal import DequeModule
internal import Synchronization

/// What many callers give, taken in batches by a few servers side by side. Any task.
///
/// What arrives while a batch is under way is the next batch, so that commits are shared and a lone caller never waits for
/// others. Bounded: whoever would wait behind too much is sent away at once.
final class SharedQueue<Work: Sendable, Answer: Sendable>: Sendable {
    /// How much is taken at once, and how much may wait.
    struct Bounds: Sendable {
        /// Of one batch, unless one caller brings more.
        var batch: Int
        var batchBytes: Int
        /// That wait for their batch.
        var waiting: Int
        var waitingBytes: Int
    }

    private struct Ticket {
        let works: [Work]
        let bytes: Int
        /// Nil: it was not let in.
        let answer: CheckedContinuation<[Answer]?, Never>
    }

    private struct State {
        var tickets = Deque<Ticket>()
        var works = 0
        var bytes = 0
        var idle: [CheckedContinuation<Void, Never>] = []
        var isClosed = false
    }

    private let bounds: Bounds
    private let state = Mutex(State())

    init(_ bounds: Bounds) { self.bounds = bounds }

    /// What waits for its batch.
    var waiting: Int { state.withLock { $0.works } }

    /// Gives what one caller brings, in order, and waits for the answers: one for each, in the same order. It is never split
    /// over two batches.
    ///
    /// - Parameter bytes: what it holds in memory, about.
    func give(_ works: [Work], bytes: Int) async throws(SharedDesk.Full) -> [Answer] {
        if works.isEmpty { return [] }
        let answers = await withCheckedContinuation { (answer: CheckedContinuation<[Answer]?, Never>) in
            let (isIn, idle) = state.withLock { state in
                let hasRoom = state.works + works.count <= bounds.waiting && state.bytes + bytes <= bounds.waitingBytes
                guard !state.isClosed, state.tickets.isEmpty || hasRoom else {
                    return (false, nil as CheckedContinuation<Void, Never>?)
                }
                state.tickets.append(Ticket(works: works, bytes: bytes, answer: answer))
                state.works += works.count
                state.bytes += bytes
                return (true, state.idle.popLast())
            }
            idle?.resume()
            if !isIn { answer.resume(returning: nil) }
        }
        guard let answers else { throw SharedDesk.Full() }
        return answers
    }

    /// Serves one batch after another until ``close()``, and returns when nobody waits any more.
    ///
    /// - Parameter body: gives an answer for each work, in the same order.
    func serve(_ body: ([Work]) async -> [Answer]) async {
        while let tickets = await next() {
            let works = tickets.count == 1 ? tickets[0].works : tickets.flatMap(\.works)
            var rest = await body(works)[...]
            for ticket in tickets {
                ticket.answer.resume(returning: Array(rest.prefix(ticket.works.count)))
                rest = rest.dropFirst(ticket.works.count)
            }
        }
    }

    /// Nobody comes any more: who waits is served.
    func close() {
        let idle = state.withLock { state in
            state.isClosed = true
            defer { state.idle = [] }
            return state.idle
        }
        for continuation in idle { continuation.resume() }
    }

    /// Nil at the end.
    private func next() async -> [Ticket]? {
        while true {
            let (tickets, isClosed) = state.withLock { (Self.takeBatch(&$0, bounds), $0.isClosed) }
            if !tickets.isEmpty { return tickets }
            if isClosed { return nil }
            await withCheckedContinuation { idle in
                let goesOn = state.withLock { state in
                    if !state.tickets.isEmpty || state.isClosed { return true }
                    state.idle.append(idle)
                    return false
                }
                if goesOn { idle.resume() }
            }
        }
    }

    /// Whole tickets, so that what one caller brought stays in order.
    private static func takeBatch(_ state: inout State, _ bounds: Bounds) -> [Ticket] {
        var tickets: [Ticket] = []
        var (works, bytes) = (0, 0)
        while let first = state.tickets.first,
            tickets.isEmpty || works + first.works.count <= bounds.batch && bytes + first.bytes <= bounds.batchBytes
        {
            state.tickets.removeFirst()
            works += first.works.count
            bytes += first.bytes
            state.works -= first.works.count
            state.bytes -= first.bytes
            tickets.append(first)
        }
        return tickets
    }
}
