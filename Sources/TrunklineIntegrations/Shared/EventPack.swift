/// Senders that put several events into one request.
package enum EventPack {
    /// The most events that a request is taken apart into: the largest pack that a sender documents (Meta). A larger one is
    /// nobody's, and is left whole, which no reading understands.
    package static let largest = 1_000
}
