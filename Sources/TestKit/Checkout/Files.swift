internal import Foundation
internal import Glibc

/// Writes a file that nobody but its owner may read, whole or not at all.
///
/// - Parameter replacing: false: a file that is there already stays as it is, even if it came a moment ago.
/// - Throws: ``KitError`` when it cannot be written.
package func writePrivately(
    _ text: String,
    to path: String,
    mode: UInt32 = 0o600,
    replacing: Bool = true
) throws(KitError) {
    let new = "\(path).\(freshName("new"))"
    defer { unlink(new) }
    let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw KitError("\(path) cannot be written: errno \(errno)") }
    let bytes = Array(text.utf8)
    let isWhole = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count
    guard close(descriptor) == 0, isWhole else { throw KitError("\(path) cannot be written: errno \(errno)") }
    if replacing {
        guard rename(new, path) == 0 else { throw KitError("\(path) cannot be written: errno \(errno)") }
    } else {
        guard link(new, path) == 0 || errno == EEXIST else { throw KitError("\(path) cannot be made: errno \(errno)") }
    }
}

/// So many random bytes, in hexadecimal.
func randomHex(bytes: Int) -> String {
    (0..<bytes).map { _ in
        let byte = UInt8.random(in: 0 ... .max)
        return (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
}

/// Runs `body` while no other process, and nobody else in this one, does so under the same path: a file, made when it is
/// missing, or a folder.
package func withFileLock<Value>(_ path: String, _ body: () async throws -> Value) async throws -> Value {
    let descriptor = open(path, isFolder(path) ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw KitError("\(path) cannot be opened: errno \(errno)") }
    defer {
        // A child that is being started just now has a copy of the descriptor: closing ours would leave the lock with it.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
    try await eventually("the lock \(path)", within: .seconds(120), every: .milliseconds(5)) {
        flock(descriptor, LOCK_EX | LOCK_NB) == 0
    }
    return try await body()
}

package func isFolder(_ path: String) -> Bool {
    var found: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &found) && found.boolValue
}

package func makeFolder(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
}

/// Removes files and folders; those that are not there are none to remove.
package func removeFiles(_ paths: String...) {
    for path in paths { try? FileManager.default.removeItem(atPath: path) }
}

/// The names in a folder, sorted; none when there is no folder.
package func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
}

/// Whether this process's user is the owner, and it is no link.
func isOurs(_ path: String) -> Bool {
    var found = stat()
    return lstat(path, &found) == 0 && found.st_uid == geteuid() && found.st_mode & S_IFMT != S_IFLNK
}

/// Kilobytes that are free where `path` is.
func freeKilobytes(_ path: String) -> Int {
    var found = statvfs()
    guard statvfs(path, &found) == 0 else { return 0 }
    return Int(found.f_bavail) * Int(found.f_frsize) / 1_024
}

/// The last lines of a file, for whoever reads why something failed.
package func tail(of path: String, lines: Int = 20) -> String {
    text(of: path).split(separator: "\n", omittingEmptySubsequences: false).suffix(lines).joined(separator: "\n")
}

/// Runs `body` to its end even when the task that wants it is cancelled: what was started must be ended.
package func shielded<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await Task { try await body() }.value
}
