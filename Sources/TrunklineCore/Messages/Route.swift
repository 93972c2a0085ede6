/// The names under which messages travel. Exchange and routing keys are the producers' interface (`docs/messages.md`).
public enum Route {
    /// The direct exchange that every producer publishes to.
    public static let exchange = "trunkline.jobs"
    /// For any producer, without knowing shards.
    public static let send = "send"
    /// For imports: a lower share, so that a campaign never delays a single notice.
    public static let bulk = "bulk"
    /// For received events.
    public static let webhook = "webhook"

    /// The routing key of a shard: `shard.07`, at least two digits.
    public static func shard(_ number: Int) -> String {
        number < 10 ? "shard.0\(number)" : "shard.\(number)"
    }
}

/// The shard of a lane: zlib's CRC-32 of the lane name's UTF-8, modulo the number of shards.
///
/// - Parameters:
///   - name: a lane name such as `line:acme-il` (`LineID.laneName`).
///   - count: the install's number of shards, at least 1.
public func shard(ofLane name: String, of count: Int) -> Int {
    precondition(count > 0, "an install has at least one shard")
    return Int(CRC32.checksum(name.utf8)) % count
}
