/// Why something of the kit could not be done, in a sentence.
package struct KitError: Error, CustomStringConvertible, Sendable {
    package let description: String
    package init(_ description: String) { self.description = description }
}
