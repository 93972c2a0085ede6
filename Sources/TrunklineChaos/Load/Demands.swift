extension ChaosOptions {
    /// From this length on a run has time for every kind of fault.
    static let fullSeconds = 600.0

    /// So many faults of these kinds a run must have seen, or it proves too little.
    struct Demand: Sendable {
        let what: String
        let wanted: Int
        let kinds: [FaultRecord.Kind]

        init(_ what: String, _ wanted: Int, _ kinds: FaultRecord.Kind...) {
            self.what = what
            self.wanted = wanted
            self.kinds = kinds
        }

        func had(_ counts: [FaultRecord.Kind: Int]) -> Int { kinds.reduce(0) { $0 + (counts[$1] ?? 0) } }
    }

    /// They grow with the length of the load, and none of them is nothing; a full run sees each kind at least once.
    var demands: [Demand] {
        func share(_ perSecond: Double, atMost most: Int = .max) -> Int {
            max(1, min(most, Int(loadSeconds * perSecond)))
        }
        let isLarge = jobs >= 100_000
        var demands = [
            Demand("kills", share(0.1), .workerKill),
            Demand("freezes", share(0.05), .workerFreeze),
            Demand("kills and freezes", isLarge ? 200 : share(0.2), .workerKill, .workerFreeze),
            Demand("broker restarts and kills", isLarge ? 10 : share(1 / 120), .brokerRestart, .brokerKill),
            Demand("database crashes", isLarge ? 10 : share(1 / 120), .databaseCrash),
            Demand(
                "faults on the wire",
                share(0.1),
                .proxyCut,
                .proxySlow,
                .proxyFreeze,
                .proxyCutAfter,
                .proxyReply,
                .proxyConfirm,
                .proxyAnswer,
                .proxyInFrame
            ),
            Demand("partitions", share(0.02), .partition),
            Demand("sick or held lines", share(0.02), .lineState, .lineHold),
        ]
        let ofDestinations: [FaultRecord.Kind] = [.destinationState, .destinationHold]
        if destinations > 0 {
            demands.append(
                Demand("sick or held destinations", share(0.02), ofDestinations[0], ofDestinations[1])
            )
        }
        let ofGateways: [FaultRecord.Kind] = [.gatewayKill, .gatewayFreeze, .gatewayCutOff]
        if gateways > 0 { demands.append(Demand("kills of gateways", share(1 / 60), .gatewayKill)) }
        if loadSeconds >= Self.fullSeconds {
            demands += FaultRecord.Kind.faults
                .filter { destinations > 0 || !ofDestinations.contains($0) }
                .filter { gateways > 0 || !ofGateways.contains($0) }
                .map { Demand($0.rawValue, 1, $0) }
        }
        return demands
    }

    /// Of all sends the API must have failed one of so many.
    static let callsPerAPIFault = 50
    /// Every kind of fault of the API that a full run must have seen, as ``Evidence/apiFaults`` names them.
    var apiFaultKinds: [String] { Self.sendFaultKinds + (destinations > 0 ? Self.receiverFaultKinds : []) }
    private static let sendFaultKinds = [
        "status", "acceptThenDrop", "dropBefore", "acceptThenStatus", "truncate", "hang", "acceptThenHang",
        "health.status", "health.dropBefore",
    ]
    private static let receiverFaultKinds = [
        "status", "acceptThenDrop", "dropBefore", "acceptThenStatus", "truncate", "hang", "acceptThenHang",
    ].map { "hooks." + $0 }
    /// What a rule must have had to look at in every run: without it the rule has proven nothing.
    var figures: [ChaosReport.Figure] {
        let ofDestinations: [ChaosReport.Figure] = [.deliveries, .orderedDeliveries]
        return [
            .repeats, .cancelled, .superseded, .ambiguous, .ordered, .facts, .holds, .paced, .scheduled, .foreign,
        ] + (destinations > 0 ? ofDestinations : []) + (gateways > 0 ? [.posted] : [])
    }
}
