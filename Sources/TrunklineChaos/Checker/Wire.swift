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
    /// Freezes and slow times of the whole way.
    private var whole: [Interval] = []
    private var cuts: [UInt16: [Int64]] = [:]

    init(_ faults: [FaultRecord]) {
        var open: [UInt16: Open] = [:]
        let partitions = faults.filter { $0.kind == .partition && $0.part == .api }
        for fault in faults where fault.kind == .flow {
            for port in fault.ports ?? [] {
                let isCut = fault.word == "cut" || fault.word == "undelivered"
                if isCut { cuts[port, default: []].append(fault.begin) }
                guard let ended = open[port, default: Open()].hear(fault.word ?? "", at: fault.begin, isCut: isCut)
                else {
                    continue
                }
                still[port, default: []].append(
                    Interval(
                        begin: ended.begin,
                        end: fault.begin,
                        direction: Self.direction(of: ended, partitions),
                        isCut: isCut
                    )
                )
            }
        }
        for (port, open) in open {
            guard let began = open.began else { continue }
            still[port, default: []].append(
                Interval(begin: began.begin, end: .max, direction: Self.direction(of: began, partitions), isCut: true)
            )
        }
        for fault in faults where fault.part == .api {
            switch fault.kind {
            case .proxyFreeze: whole.append(Interval(begin: fault.begin, end: fault.end))
            case .proxySlow: whole.append(Interval(begin: fault.begin, end: fault.end, delay: fault.delay ?? 0))
            // Who connects in it is told of it all the same; this is for one that was not seen to be its worker's.
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
    }

    /// What a connection has been told of and not yet of its end.
    private struct Open {
        struct Began {
            let begin: Int64
            /// Only partitions have stopped it.
            var isPartition: Bool
        }
        var began: Began?
        private var isFrozen = false
        private var partitions = 0

        /// What is over now, when all of it is.
        mutating func hear(_ word: String, at moment: Int64, isCut: Bool) -> Began? {
            switch word {
            // Begin and end of each freeze are told in turn.
            case "frozen": isFrozen.toggle()
            case "partitioned": partitions += 1
            case "healed": partitions = max(0, partitions - 1)
            default:
                guard isCut else { return nil }
                (isFrozen, partitions) = (false, 0)
            }
            if isFrozen || partitions > 0 {
                if began == nil { began = Began(begin: moment, isPartition: true) }
                if isFrozen { began?.isPartition = false }
                return nil
            }
            defer { began = nil }
            return began
        }
    }

    /// Which way nothing passed: both, unless it was one partition, or several of one direction.
    private static func direction(of began: Open.Began, _ partitions: [FaultRecord]) -> FaultProxy.Direction {
        guard began.isPartition else { return .both }
        let slack = Moment.seconds(0.5)
        let directions = Set(
            partitions.filter { $0.begin <= began.begin + slack && began.begin <= $0.end }.map { $0.direction ?? .both }
        )
        return directions.count == 1 ? directions.first ?? .both : .both
    }

    /// How long the bytes of a request that came at `moment` may have been on their way.
    func lateness(_ port: UInt16?, _ worker: Int?, at moment: Int64) -> Int64 {
        var late: Int64 = 0
        for interval in port.flatMap({ still[$0] }) ?? []
        where interval.direction != .toClient && isJustOver(interval, moment) {
            late = max(late, moment - interval.begin)
        }
        for interval in whole where interval.worker == nil || interval.worker == worker {
            // A connection that was made in a freeze was told of none; it lay in the kernel.
            guard interval.direction != .toClient, isJustOver(interval, moment) else { continue }
            late = interval.delay.map { late + $0 } ?? max(late, moment - interval.begin)
        }
        return late
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
