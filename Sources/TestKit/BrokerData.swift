internal import Foundation

/// Whether a broker has written the names of its quorum queues, seen in its data folder.
///
/// RabbitMQ keeps them in a table that it writes half a second to a second after the last change, unlike the messages. A
/// queue that was declared right before a SIGKILL comes back as another, empty one without a leader.
public func hasWrittenQueueNames(brokerData folder: String) -> Bool {
    let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
    // Beside them 4.x keeps a group of its own for coordination, in another folder.
    let quorum = all.filter { $0.contains("/quorum/") }
    let tables = quorum.filter { $0.hasSuffix("/names.dets") }
        .compactMap { FileManager.default.contents(atPath: folder + "/" + $0) }
    let queues = quorum.filter { $0.hasSuffix("/config") }.compactMap { $0.split(separator: "/").dropLast().last }
    return !queues.isEmpty && queues.allSatisfy { queue in tables.contains { $0.range(of: Data(queue.utf8)) != nil } }
}
