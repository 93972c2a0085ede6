internal import CPlatform

/// How many descriptors (files, sockets) this process may have open.
///
/// Debian's soft limit is 1,024, which a worker with many calls in the air exceeds; nothing here uses `select`, for whose
/// sake it is so low.
package enum DescriptorLimit {
    /// The soft limit; `Int.max` when there is none.
    package static var current: Int { tl_descriptor_limit() }

    /// Raises the soft limit to the hard one, which only an administrator can raise. Returns what counts now.
    @discardableResult
    package static func raise() -> Int {
        tl_descriptor_limit_raise()
        return current
    }
}
