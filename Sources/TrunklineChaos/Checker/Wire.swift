/// What the harness did to the connections of the API: when nothing passed, when everything was late, and which were cut.
struct Wire {
    struct Interval {
        let begin: Int64
        let end: Int64
        /// By how much everything was late; nil: nothing passed.
        var delay: Int64?
        /// Of whose connections; nil: of all.
        var worker: Int?
        /// It ended with the connection: what was held back reached nobody.
        var isCut = false

        func holds(_ moment: Int64) -> Bool { begin <= moment && moment <= end }
    }

    /// What came in a freeze needs that long to pass when it is over.
    private static let flush = Moment.seconds(1)

    /// Freezes, by the port of the connection that was told of them.
    private var frozen: [UInt16: [Interval]] = [:]
    /// Freezes and slow times of the whole way.
    private var whole: [Interval] = []
    private var cuts: [UInt16: [Int64]] = [:]

    init(_ faults: [FaultRecord]) {
        var open: [UInt16: Int64] = [:]
        for fault in faults where fault.kind == .flow {
            for port in fault.ports ?? [] {
                switch fault.word {
                case "frozen":
                    // Begin and end of each freeze are told in turn.
                    if let begin = open.removeValue(forKey: port) {
                        frozen[port, default: []].append(Interval(begin: begin, end: fault.begin))
                    } else {
                        open[port] = fault.begin
                    }
                case "cut", "undelivered":
                    cuts[port, default: []].append(fault.begin)
                    if let begin = open.removeValue(forKey: port) {
                        frozen[port, default: []].append(Interval(begin: begin, end: fault.begin, isCut: true))
                    }
                default: break
                }
            }
        }
        for (port, begin) in open { frozen[port, default: []].append(Interval(begin: begin, end: .max, isCut: true)) }
        for fault in faults where fault.part == .api {
            switch fault.kind {
            case .proxyFreeze:
                whole.append(Interval(begin: fault.begin, end: fault.end, worker: fault.worker))
            case .proxySlow:
                whole.append(
                    Interval(begin: fault.begin, end: fault.end, delay: fault.delay ?? 0, worker: fault.worker)
                )
            default: break
            }
        }
    }

    /// How long the bytes that came at `moment` may have been on their way.
    func lateness(_ port: UInt16?, _ worker: Int?, at moment: Int64) -> Int64 {
        var late: Int64 = 0
        for interval in port.flatMap({ frozen[$0] }) ?? [] where isJustOver(interval, moment) {
            late = max(late, moment - interval.begin)
        }
        for interval in whole where interval.worker == nil || interval.worker == worker {
            // A connection that was made in a freeze was told of none; it lay in the kernel.
            guard isJustOver(interval, moment) else { continue }
            late = interval.delay.map { late + $0 } ?? max(late, moment - interval.begin)
        }
        return late
    }

    private func isJustOver(_ interval: Interval, _ moment: Int64) -> Bool {
        interval.begin <= moment && (interval.end == .max || moment <= interval.end + (interval.delay ?? Self.flush))
    }

    /// When the bytes that the other side gave at `moment` came through; nil: never, the connection was cut first.
    func arrival(_ port: UInt16?, _ worker: Int?, of moment: Int64) -> Int64? {
        var arrived = moment
        for interval in port.flatMap({ frozen[$0] }) ?? [] where interval.holds(arrived) {
            if interval.isCut { return nil }
            arrived = interval.end
        }
        for interval in whole where interval.worker == nil || interval.worker == worker {
            if let delay = interval.delay, interval.holds(moment) { arrived += delay }
        }
        return arrived
    }

    /// Whether the connection was cut between two moments.
    func isCut(_ port: UInt16?, _ span: ClosedRange<Int64>) -> Bool {
        port.flatMap { cuts[$0] }?.contains { span.contains($0) } ?? false
    }

    /// Whether nothing passed for a time between two moments.
    func isFrozen(_ port: UInt16?, _ span: ClosedRange<Int64>) -> Bool {
        port.flatMap { frozen[$0] }?.contains { $0.begin <= span.upperBound && $0.end >= span.lowerBound } ?? false
    }
}
