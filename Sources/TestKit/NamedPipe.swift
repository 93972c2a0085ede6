internal import Glibc

/// A pipe in a folder, for the standard input of a program: a pipe without a name would be inherited by whatever else is
/// started meanwhile, and would never end.
package final class NamedPipe: Sendable {
    /// Open for reading too: to open only for writing waits for a reader.
    private let descriptor: Int32

    /// - Throws: ``KitError`` when it cannot be made.
    package init(_ path: String) throws(KitError) {
        guard mkfifo(path, 0o600) == 0 else { throw KitError("\(path) cannot be made: errno \(errno)") }
        descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw KitError("\(path) cannot be opened: errno \(errno)") }
    }

    /// What a pipe holds at once; more would wait for a reader that may have ended.
    package func write(_ text: String) {
        precondition(text.utf8.count <= 65_536, "a pipe takes 64 KiB at once")
        var bytes = Array(text.utf8)
        precondition(Glibc.write(descriptor, &bytes, bytes.count) == bytes.count)
    }

    /// Whoever reads finds the end. Called once.
    package func close() { Glibc.close(descriptor) }
}
