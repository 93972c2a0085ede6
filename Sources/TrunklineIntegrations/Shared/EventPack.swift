internal import TrunklineCore

/// Senders that put several events into one request.
package enum EventPack {
    /// The most events that a request is taken apart into: the largest pack that a sender documents (Meta). A larger one is
    /// nobody's, and is left whole, which no reading understands.
    package static let largest = 1_000
    /// Bytes of what is repeated in each of them, all together: a sender's own is some hundred bytes.
    package static let largestCommon = 1 << 20

    /// What a value takes when it is written.
    static func bytes(of value: JSONValue?) -> Int {
        guard let value else { return 0 }
        var json = JSONWriter()
        json.canonical(value)
        return json.bytes.count
    }
}
