internal import TestKit

/// What the harness did to the connections of the API: when nothing passed, when everything was late, and which were cut.
struct Wire {
    struct Interval {
        let begin: Int64
        let end: Int64
        /// By how much everything was late; nil: nothing passed.
        var delay: Int64?
        /// Of whose connections; nil: of all.
        var worker: Int?
        var direction = FaultProxy.Direction.both
        /// It ended with the connection: what was held back reached nobody.
        var isCut = false

        func holds(_ moment: Int64) -> Bool { begin <= moment && moment <= end }
    }

    /// What came in a freeze needs that long to pass when it is over.
    private static let flush = Moment.seconds(1)

    /// When nothing passed on one connection, by its port.
    private var still: [UInt16: [Interval]] = [:]
    /// Freezes and slow times of the whole way, and partitions.
    private var whole: [Interval] = []
    private var cuts: [UInt16: [Int64]] = [:]

    init(_ faults: [FaultRecord]) {
        for fault in faults where fault.part == .api {
            switch fault.kind {
            case .proxyFreeze: whole.append(Interval(begin: fault.begin, end: fault.end))
            case .proxySlow: whole.append(Interval(begin: fault.begin, end: fault.end, delay: fault.delay ?? 0))
            case .partition:
                whole.append(
                    Interval(
                        begin: fault.begin,
                        end: fault.end,
                        worker: fault.worker,
                        direction: fault.direction ?? .both
                    )
                )
            default: break
            }
        }
        var open: [UInt16: Int64] = [:]
        for fault in faults where fault.kind == .flow {
            for port in fault.ports ?? [] {
                switch fault.word {
                case "frozen":
                    // Begin and end of each time are told in turn.
                    if let begin = open.removeValue(forKey: port) {
                        stood(port, from: begin, to: fault.begin)
                    } else {
                        open[port] = fault.begin
                    }
                case "cut", "undelivered":
                    cuts[port, default: []].append(fault.begin)
                    if let begin = open.removeValue(forKey: port) {
                        stood(port, from: begin, to: fault.begin, isCut: true)
                    }
                default: break
                }
            }
        }
        for (port, begin) in open { stood(port, from: begin, to: .max, isCut: true) }
    }

    /// A connection was told that it stood still: both ways, unless partitions of one direction are all that there was.
    private mutating func stood(_ port: UInt16, from begin: Int64, to end: Int64, isCut: Bool = false) {
        let slack = Moment.seconds(0.5)
        let causes = whole.filter { $0.delay == nil && $0.begin <= end && $0.end >= begin }
        let isFreeze = causes.contains { $0.worker == nil }
        let directions = Set(causes.filter { $0.begin <= begin + slack }.map(\.direction))
        still[port, default: []].append(
            Interval(
                begin: begin,
                end: end,
                direction: isFreeze || directions.count != 1 ? .both : directions.first ?? .both,
                isCut: isCut
            )
        )
    }

    /// How long the bytes of a request that came at `moment` may have been on their way. What one fault held back may have
    /// run into the next before it came through, so each counts from when the one before it let go.
    func lateness(_ port: UInt16?, _ worker: Int?, at moment: Int64) -> Int64 {
        // A connection that was made in a freeze was told of none; it lay in the kernel.
        var causes = (port.flatMap { still[$0] } ?? []) + whole.filter { $0.worker == nil || $0.worker == worker }
        causes.removeAll { $0.direction == .toClient }
        var left = moment
        while let index = causes.firstIndex(where: { isJustOver($0, left) }) {
            let cause = causes.remove(at: index)
            left = cause.delay.map { left - $0 } ?? min(left, cause.begin)
        }
        return moment - left
    }

    private func isJustOver(_ interval: Interval, _ moment: Int64) -> Bool {
        interval.begin <= moment && (interval.end == .max || moment <= interval.end + (interval.delay ?? Self.flush))
    }

    /// When the bytes that the API gave at `moment` came through; nil: never, the connection was cut first.
    func arrival(_ port: UInt16?, _ worker: Int?, of moment: Int64) -> Int64? {
        var arrived = moment
        for interval in port.flatMap({ still[$0] }) ?? []
        where interval.direction != .toServer && interval.holds(arrived) {
            if interval.isCut { return nil }
            arrived = interval.end
        }
        for interval in whole where interval.worker == nil || interval.worker == worker {
            if let delay = interval.delay, interval.holds(moment) { arrived += delay }
        }
        return arrived
    }

    /// When the end of a connection whose client was gone at `moment` can have come to the API.
    func told(_ port: UInt16?, of moment: Int64) -> Int64 {
        var told = moment
        for interval in port.flatMap({ still[$0] }) ?? []
        where interval.direction != .toClient && interval.holds(told) {
            told = interval.end
        }
        // A connection that was made in a freeze was told of none; it lay in the kernel.
        for interval in whole where interval.worker == nil && interval.delay == nil && interval.holds(told) {
            told = interval.end
        }
        return told
    }

    /// Whether the connection was cut between two moments.
    func isCut(_ port: UInt16?, _ span: ClosedRange<Int64>) -> Bool {
        port.flatMap { cuts[$0] }?.contains { span.contains($0) } ?? false
    }

    /// Whether nothing of what the client says passed for a time between two moments.
    func isSilent(_ port: UInt16?, _ span: ClosedRange<Int64>) -> Bool {
        port.flatMap { still[$0] }?.contains {
            $0.direction != .toClient && $0.begin <= span.upperBound && $0.end >= span.lowerBound
        } ?? false
    }
}
