internal import Foundation
internal import Glibc
internal import TestKit

/// The mark that every process of a run carries in its environment, so that the run's end, or the next one's beginning, finds
/// those that are left. The servers' environment is emptied: it is not them.
package struct RunMark: Sendable {
    package static let name = "TRUNKLINE_DEV_RUN"
    private let value: String

    /// - Parameter root: of the checkout whose run it is.
    package init(root: String) { value = root }

    /// Marks what this process starts from now on.
    package func set() { setenv(Self.name, value, 1) }

    /// SIGKILL to every process that carries it, but for this one.
    package func endAll() {
        for name in names(in: "/proc") {
            guard let pid = Int32(name), pid != getpid() else { continue }
            // Of a process of another user there is nothing to read.
            let variables = text(of: "/proc/\(pid)/environ").split(separator: "\0")
            if variables.contains("\(Self.name)=\(value)") { kill(pid, SIGKILL) }
        }
    }
}
