/// An error of the engine that is a sentence for the person at the command line or the log. Never holds a secret or what a
/// customer wrote.
package protocol ExplainedError: Error, Sendable, CustomStringConvertible {
    /// Whether a rule forbids what was asked for, as opposed to: something failed.
    var isRefusal: Bool { get }
}
