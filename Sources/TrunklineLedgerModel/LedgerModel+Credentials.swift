internal import TrunklineCore
package import TrunklineEngine

/// Credentials of lanes.
extension LedgerModel {
    /// A row of `trunkline.lane_credentials`.
    package struct CredentialsRow: Sendable {
        package var generation: Int64 = 0
        package var sealed: SealedCredentials?
        package var expiresAt: Int64?
        package var refresher: BootID?
        package var refreshUntil: Int64?
        package init() {}
    }

    package func credentials(_ lane: Int32) -> StoredCredentials? {
        guard let row = credentials[lane], let sealed = row.sealed, let expires = row.expiresAt else { return nil }
        return StoredCredentials(
            generation: row.generation,
            sealed: sealed,
            lastsFor: Self.milliseconds(expires - now)
        )
    }

    /// `trunkline.begin_refresh`.
    package func beginRefresh(_ request: RefreshRequest) -> RefreshVerdict {
        let boot = request.owner.boot
        guard held(request.owner).contains(shard(ofLane: request.lane)) else {
            note(.fenceLost, "begin_refresh")
            return .lost
        }
        var row = credentials[request.lane] ?? CredentialsRow()
        defer { credentials[request.lane] = row }
        if row.generation != request.generation, mutation != .refreshFromAnyGeneration { return .behind }
        if let until = row.refreshUntil, row.refresher != boot, until > now, mutation != .refreshBesideAnother {
            return .busy
        }
        row.refresher = boot
        row.refreshUntil = now + request.lease.microseconds
        return .begun
    }

    /// `trunkline.end_refresh`.
    package func endRefresh(_ end: RefreshEnd, by boot: BootID) -> Bool {
        guard var row = credentials[end.lane],
            row.generation == end.generation || mutation == .olderCredentialsWin,
            end.renewed != nil || row.refresher == boot || mutation == .refreshEndedByAnother
        else { return false }
        if let renewed = end.renewed {
            row.generation += 1
            row.sealed = renewed
            row.expiresAt = now + end.lastsFor.microseconds
        }
        row.refresher = nil
        row.refreshUntil = nil
        credentials[end.lane] = row
        return true
    }
}
