internal import TrunklineCore

extension ConformanceSequence {
    /// The lanes of the install, as they are made; revisions follow from how. Two lanes have one id, of different nouns.
    package static var lanes: [LedgerModel.Lane] {
        func lane(
            _ number: Int,
            _ name: LaneName?,
            scope: Int32,
            gap: Int32,
            _ change: (inout LedgerModel.Lane) -> Void = { _ in }
        ) -> LedgerModel.Lane {
            guard let name else { preconditionFailure("not a lane's name") }
            let isLine = name.line != nil
            var lane = LedgerModel.Lane(
                name: name,
                number: Int32(number),
                scope: scope,
                hash: Int64(number * 7),
                carrier: isLine ? "ezwhatsapp" : "webhook",
                horizon: .seconds(isLine ? 43_200 : 86_400),
                interval: 1_000,
                concurrency: 2,
                gap: gap,
                revision: Int64(number)
            )
            lane.address = "http://127.0.0.1:1"
            change(&lane)
            return lane
        }
        func line(_ number: Int) -> LaneName? { LaneName(stored: "line:line-\(number)") }
        return [
            lane(1, line(1), scope: 1, gap: 0),
            lane(2, line(2), scope: 1, gap: 5_000) { $0.dailyCap = 2 },
            lane(3, line(3), scope: 2, gap: 60_000) {
                $0.dailyCap = 1
                $0.zoneMinutes = 330
            },
            lane(4, line(4), scope: 2, gap: 0),
            // Of a zone that nobody knows: its days are those of UTC.
            lane(5, line(5), scope: 1, gap: 1_000) { $0.dailyCap = 3 },
            lane(6, LaneName(stored: "destination:hook"), scope: 3, gap: 0),
            lane(7, LaneName(stored: "destination:line-1"), scope: 4, gap: 0) { $0.dailyCap = 2 },
            lane(8, LaneName(stored: "destination:note"), scope: 5, gap: 0) { $0.beginsQuietly = true },
            lane(9, LaneName(stored: "destination:list"), scope: 6, gap: 0) {
                $0.dailyCap = 2
                $0.beginsQuietly = true
            },
            lane(10, LaneName(stored: "source:shop"), scope: 7, gap: 0) { $0.beginsQuietly = true },
        ]
    }

    /// The names of the scopes of ``lanes``, by their numbers.
    package static let scopes = [
        "workspace:1", "workspace:2", "destination:hook", "destination:line-1", "destination:note",
        "destination:list", "source:shop",
    ]
    /// The names of the zones of ``lanes``, for whoever has names.
    package static let zones = ["UTC", "UTC", "Asia/Kolkata", "UTC", "Lost/Zone", "UTC", "UTC", "UTC", "UTC", "UTC"]
}
