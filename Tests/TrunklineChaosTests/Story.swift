import TestKit
import Testing
import TrunklineChaos

/// Evidence by hand: a clock that only the story moves, a producer's log and a journal.
struct Story {
    var evidence = Evidence()
    private(set) var now: Int64 = 1_000_000_000_000
    private var sequence: Int64 = 0
    private var tries = 0
    /// Wall clock, microseconds, at which ``now`` is 0.
    private static let epoch: Int64 = 1_780_000_000_000_000

    private var wall: Int64 { Self.epoch + now / 1_000 }

    mutating func pass(_ seconds: Double) { now += Int64(seconds * 1e9) }

    /// The producer gives a job; nil as answer: it never hears of it.
    mutating func give(
        _ key: String,
        supersedeKey: String? = nil,
        fact: Int64? = nil,
        way: ProducerRecord.Way = .row,
        to: String = "a",
        notBeforeIn seconds: Double? = nil,
        answer: ProducerRecord.Answer? = .promised,
        lasting: Double = 0.1,
        producer: Int? = nil,
        known queue: String? = nil,
        lane: String = "line:line-01",
        orderingKey: String? = nil
    ) {
        tries += 1
        var record = ProducerRecord(.try, number: tries, key: key, mono: now)
        record.lane = lane
        record.to = lane.hasPrefix("line:") ? to : nil
        record.orderingKey = orderingKey
        record.way = way
        record.queue = way == .row ? "row" : way == .shard ? "shard.01" : way == .posted ? "request.\(tries)" : "send"
        record.producer = producer ?? 100 + tries
        record.index = tries
        record.supersedeKey = supersedeKey
        record.factAt = fact
        record.notBefore = seconds.map { wall + Int64($0 * 1e6) }
        evidence.producer.append(record)
        pass(lasting)
        guard let answer else { return }
        var end = ProducerRecord(.end, number: tries, key: key, mono: now)
        end.answer = answer
        end.queue = queue
        evidence.producer.append(end)
        pass(0.001)
    }

    /// The producer gives an event for a destination.
    mutating func giveEvent(
        _ key: String,
        in orderingKey: String? = nil,
        supersedeKey: String? = nil,
        fact: Int64? = nil,
        way: ProducerRecord.Way = .row,
        lane: String = "destination:crm"
    ) {
        give(key, supersedeKey: supersedeKey, fact: fact, way: way, lane: lane, orderingKey: orderingKey)
    }

    mutating func cancel(_ pattern: String, at destination: String? = nil, saying words: [String: String]) {
        var record = ProducerRecord(.cancel, number: 1, key: pattern, mono: now)
        record.lane = destination
        evidence.producer.append(record)
        pass(0.1)
        for (key, word) in words {
            var record = ProducerRecord(.cancelled, number: 1, key: key, mono: now)
            record.said = word
            evidence.producer.append(record)
        }
    }

    /// A request comes, and is answered; nil as status: it is not, for that reason.
    mutating func send(
        _ key: String,
        lasting: Double = 0.05,
        status: Int? = 202,
        because reason: String = "dropped",
        makesMessage: Bool = true,
        to: String? = nil,
        port: UInt16 = 1,
        lane: String = "line:line-01",
        bytes: String? = nil
    ) {
        sequence += 3
        let person = lane.hasPrefix("line:") ? evidence.producer.first { $0.key == key }?.to ?? "a" : nil
        var call = Evidence.Call(seq: sequence, at: now, wall: wall, lane: lane, key: key, to: to ?? person)
        call.bodyHash = bytes
        call.port = port
        call.effect = makesMessage ? sequence + 1 : nil
        call.verdict = makesMessage ? "accepted" : "replay"
        call.status = status
        call.reason = status == nil ? reason : nil
        pass(lasting)
        call.end = now
        evidence.calls.append(call)
        evidence.calls.sort { $0.at < $1.at }
        pass(0.01)
    }

    /// The same of an event; it is new to its receiver unless that remembers it.
    mutating func deliver(
        _ key: String,
        lasting: Double = 0.05,
        status: Int? = 200,
        because reason: String = "dropped",
        isNew: Bool = true,
        port: UInt16 = 1,
        lane: String = "destination:crm",
        bytes: String? = nil
    ) {
        send(
            key,
            lasting: lasting,
            status: status,
            because: reason,
            makesMessage: isNew,
            port: port,
            lane: lane,
            bytes: bytes
        )
    }

    /// The same, given up by its client.
    mutating func hangUp(_ key: String, after seconds: Double, makesMessage: Bool = true, port: UInt16 = 1) {
        send(key, lasting: seconds, status: nil, because: "closed", makesMessage: makesMessage, port: port)
    }

    /// From now on the connection belongs to that worker.
    mutating func label(_ port: UInt16, worker: Int) {
        fault(.owner, seconds: 0) {
            $0.ports = [port]; $0.worker = worker
        }
    }

    /// Something happens to one connection.
    mutating func flow(_ port: UInt16, _ word: String) {
        fault(.flow, seconds: 0) {
            $0.ports = [port]; $0.word = word
        }
    }

    /// A worker and the API were partitioned so long ago, for so long; its connection was told. Time stays,
    /// or goes on to the end of it.
    mutating func partition(
        _ port: UInt16,
        worker: Int,
        _ direction: FaultProxy.Direction,
        began before: Double,
        seconds: Double
    ) {
        pass(-before)
        flow(port, "frozen")
        fault(.partition, seconds: seconds) {
            $0.part = .api; $0.worker = worker; $0.direction = direction
        }
        flow(port, "frozen")
        if seconds < before { pass(before - seconds) }
    }

    /// A fault that began so long ago, and has just ended.
    mutating func past(_ kind: FaultRecord.Kind, seconds: Double, _ body: (inout FaultRecord) -> Void) {
        pass(-seconds)
        fault(kind, seconds: seconds, body)
    }

    /// A fault that lasts so long, and what is particular about it.
    mutating func fault(_ kind: FaultRecord.Kind, seconds: Double = 0.01, _ body: (inout FaultRecord) -> Void) {
        var record = FaultRecord(kind, begin: now, hits: 1)
        body(&record)
        pass(seconds)
        record.end = now
        evidence.faults.append(record)
    }
}

/// What the checker finds in a story: exactly these counts.
func expect(
    _ story: Story,
    trips expected: ChaosReport.Count...,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let report = Checker.check(story.evidence)
    let tripped = ChaosReport.Count.allCases.filter { report[$0] > 0 }
    #expect(
        tripped == ChaosReport.Count.allCases.filter(expected.contains),
        "\(report.findings)",
        sourceLocation: sourceLocation
    )
}
