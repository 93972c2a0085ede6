import RabbitDriver
import Testing

@testable import TrunklineEngine

@Suite struct ArrivalsTests {
    /// Nobody's: what is asked here needs no broker.
    private final class NoBroker: BrokerLink {
        var onConnect: (() -> Void)?
        var onDisconnect: ((RabbitError) -> Void)?
        var onConnectFailed: ((RabbitError) -> Void)?
        let isConnected = false
        let serverVersion: String? = nil
        func open() {}
        func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void) {}
        func close(done: @escaping () -> Void) {}
    }

    private let broker = NoBroker()

    private func queue(_ kind: ConsumedQueue.Kind) -> ConsumedQueue {
        ConsumedQueue(
            kind: kind,
            name: kind.via,
            broker: broker,
            newTag: { 0 },
            onDelivery: { _, _ in },
            onFailure: { _, _ in },
            onLeft: { _ in }
        )
    }

    private func arrival(_ queue: ConsumedQueue, _ tag: UInt64, isSuspect: Bool = false) -> Arrivals.Arrival {
        Arrivals.Arrival(
            queue: queue,
            epoch: queue.epoch,
            tag: tag,
            redelivered: isSuspect,
            isSuspect: isSuspect,
            body: [],
            bodySize: 0
        )
    }

    /// The shards and the imports always have more than a batch: each of the other queues goes on all the same.
    @Test func noWayStarvesBehindTheShardsAndTheImports() {
        var arrivals = Arrivals()
        let kinds: [ConsumedQueue.Kind] = [.shard(1), .bulk, .intake, .webhook, .unrouted, .dead]
        let queues = kinds.map(queue)
        for queue in queues { for tag in 1...1_000 as ClosedRange<UInt64> { arrivals.append(arrival(queue, tag)) } }
        var served: [Arrivals.Way: Int] = [:]
        for turn in 1...100 {
            guard let (way, batch) = arrivals.next(limit: { _ in 10 }) else { break }
            served[way, default: 0] += 1
            #expect(batch.count == 10)
            for index in [0, 1] {
                for tag in 0..<10 as Range<UInt64> {
                    arrivals.append(arrival(queues[index], UInt64(turn) * 10 + 1_000 + tag))
                }
            }
        }
        #expect(served[.shard] == 50)
        for way in [.bulk, .intake, .webhook, .unrouted, .dead] as [Arrivals.Way] { #expect(served[way] == 10) }
    }

    /// What was left aside is put back in front, and a batch that failed meanwhile in front of that.
    @Test func theLowestOfWhatIsForgottenNeedNotBeInFront() {
        var arrivals = Arrivals()
        let (shard, other) = (queue(.shard(1)), queue(.shard(2)))
        for tag in 21...22 as ClosedRange<UInt64> { arrivals.append(arrival(shard, tag)) }
        arrivals.putBack([arrival(shard, 5)], way: .shard)
        arrivals.putBack([arrival(other, 1), arrival(shard, 11)], way: .shard)
        #expect(arrivals.forget(shard) == 5)
        #expect(arrivals.next { _ in 10 }?.arrivals.map(\.tag) == [1])
        #expect(arrivals.forget(shard) == nil)
    }

    @Test func aWayKeepsItsOrderAlsoWhenABatchComesBack() {
        var arrivals = Arrivals()
        let shard = queue(.shard(1))
        for tag in 1...6 as ClosedRange<UInt64> { arrivals.append(arrival(shard, tag)) }
        let first = arrivals.next { _ in 4 }!
        arrivals.putBack(first.arrivals, way: first.way)
        #expect(arrivals.next { _ in 5 }?.arrivals.map(\.tag) == [1, 2, 3, 4, 5])
        #expect(arrivals.next { _ in 5 }?.arrivals.map(\.tag) == [6])
        #expect(arrivals.next { _ in 5 } == nil && arrivals.isEmpty)
    }

    @Test func aSuspectMessageIsTakenAlone() {
        var arrivals = Arrivals()
        let bulk = queue(.bulk)
        for tag in 1...4 as ClosedRange<UInt64> { arrivals.append(arrival(bulk, tag, isSuspect: tag == 3)) }
        var batches: [[UInt64]] = []
        while let (_, batch) = arrivals.next(limit: { _ in 10 }) { batches.append(batch.map(\.tag)) }
        #expect(batches == [[1, 2], [3], [4]])
    }

    @Test func deliveriesOfAChannelThatIsGoneAreForgotten() {
        var arrivals = Arrivals()
        let (gone, live) = (queue(.intake), queue(.webhook))
        for queue in [gone, live] { arrivals.append(arrival(queue, 1)) }
        gone.connectionLost()
        #expect(arrivals.next { _ in 10 }?.way == .webhook)
        #expect(arrivals.next { _ in 10 } == nil && arrivals.isEmpty)
    }
}
