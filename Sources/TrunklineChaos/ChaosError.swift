/// Why a run cannot go on, or what it did not reach.
package struct ChaosError: Error, CustomStringConvertible, Sendable {
    package let description: String
    package init(_ description: String) { self.description = description }
}
