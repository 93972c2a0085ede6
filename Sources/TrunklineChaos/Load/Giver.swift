internal import Foundation
internal import RabbitDriver
internal import Synchronization
internal import TestKit

/// One job on its way into the system, for the first time, again after a doubt, or as a repeat.
struct Give: Sendable {
    let job: LoadPlan.Job
    let way: ProducerRecord.Way
    /// ``Moment/now`` at which it is due.
    var due: Int64
    /// A repeat of a promised key: when it fails it is let go.
    let isRepeat: Bool
}

/// Gives wait here until they are due, in the order of their times.
final class Mailbox: Sendable {
    private struct State {
        var planned: ArraySlice<Give>
        /// What comes between the plan: retries and repeats.
        var later: [Give] = []
    }
    private let state: Mutex<State>

    /// - Parameter planned: sorted by their times.
    init(_ planned: [Give]) { state = Mutex(State(planned: planned[...])) }

    func add(_ give: Give) { state.withLock { $0.later.append(give) } }

    func due(at now: Int64, atMost limit: Int) -> [Give] {
        state.withLock { state in
            var taken: [Give] = []
            while taken.count < limit, let first = state.planned.first, first.due <= now {
                taken.append(state.planned.removeFirst())
            }
            guard state.later.contains(where: { $0.due <= now }) else { return taken }
            let ripe = state.later.partition { $0.due <= now }
            taken += state.later[ripe...].sorted { $0.due < $1.due }
            state.later.removeSubrange(ripe...)
            return taken
        }
    }

    var isEmpty: Bool { state.withLock { $0.planned.isEmpty && $0.later.isEmpty } }
}

/// What the message of a job is.
struct JobText: Sendable {
    /// Wall clock of the begin of the load, microseconds.
    let begin: Int64

    func notBefore(_ job: LoadPlan.Job) -> Int64? {
        job.notBeforeAfter.map { begin + Int64((job.at + $0) * 1_000_000) }
    }

    func factAt(_ job: LoadPlan.Job) -> Int64? { job.fact.map { begin - 86_400_000_000 + Int64($0) * 60_000_000 } }

    func encode(_ job: LoadPlan.Job) -> String {
        var text: String
        switch job.lane.kind {
        case .line:
            text =
                #"{"schema":"trunkline.send.v1","line":"\#(job.lane.id)","key":"\#(job.key)","to":"\#(job.to ?? "")","#
            text += #""body":"Notice \#(job.key).","purpose":"order""#
        case .destination:
            text = #"{"schema":"trunkline.deliver.v1","destination":"\#(job.lane.id)","key":"\#(job.key)","#
            // The time belongs to the content, which is the same whenever it is given.
            text += #""type":"order.ready","timestamp":"\#(Moment.rfc3339(microseconds: begin))","#
            text += #""data":{"event":"\#(job.key)"}"#
            if let name = job.orderingKey { text += #","orderingKey":"\#(name)""# }
        }
        if let time = notBefore(job) { text += #","notBefore":"\#(Moment.rfc3339(microseconds: time))""# }
        if let key = job.supersedeKey, let fact = factAt(job) {
            text += #","supersedeKey":"\#(key)","factAt":"\#(Moment.rfc3339(microseconds: fact))""#
        }
        return text + "}"
    }
}

/// The routing key that a way uses.
enum Routing {
    static let exchange = "trunkline.jobs"

    static func queue(_ way: ProducerRecord.Way, _ lane: LoadPlan.Lane) -> String {
        switch way {
        case .row: return "row"
        case .intake, .foreign: return "send"
        case .bulk: return "bulk"
        case .posted: return "posted"
        case .shard, .direct:
            let shard = Int(crc32(Array(lane.name.utf8))) % Stage.shards
            return shard < 10 ? "shard.0\(shard)" : "shard.\(shard)"
        }
    }

    /// CRC-32 as in zlib, of `docs/messages.md`: written anew, because nothing of the engine is used here.
    private static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var sum = ~UInt32(0)
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? (sum >> 1) ^ 0xEDB8_8320 : sum >> 1 }
        }
        return ~sum
    }
}
