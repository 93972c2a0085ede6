/// What a worker's open descriptors are spent on, so that calls never fail for want of one.
package struct DescriptorBudget: Sendable, Hashable {
    /// Sessions, the broker's connections with their watched copies, loops, name servers, logs and certificates.
    static let besideCalls = 64
    /// A call may hold two for a moment: IPv4 beside IPv6, or the two ends of its name's look-up.
    static let perCall = 2

    /// How many descriptors the process may have open.
    package let limit: Int

    package init(limit: Int) { self.limit = limit }

    /// How many calls in the air there is room for; 0 when there is none.
    package var calls: Int { max(0, (limit - Self.besideCalls) / Self.perCall) }

    /// The limit that so many calls need.
    package static func needed(forCalls calls: Int) -> Int { besideCalls + calls * perCall }
}
