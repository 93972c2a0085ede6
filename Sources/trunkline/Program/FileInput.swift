internal import Foundation

/// A file or standard input, in chunks.
final class FileInput {
    private static let chunk = 64 << 10

    private let handle: FileHandle
    private let name: String
    /// Nil for a pipe.
    let size: Int64?
    private(set) var offset: Int64 = 0

    init(path: String) throws(CommandError) {
        name = path == "-" ? "standard input" : path
        if path == "-" {
            handle = .standardInput
            size = nil
            return
        }
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue,
            let handle = FileHandle(forReadingAtPath: path)
        else { throw CommandError(.usage, "the file \(path) cannot be read") }
        self.handle = handle
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        let size = (attributes?[.size] as? NSNumber)?.int64Value
        self.size = size == 0 ? nil : size
    }

    func next() throws(CommandError) -> [UInt8]? {
        do {
            guard let data = try handle.read(upToCount: Self.chunk), !data.isEmpty else { return nil }
            offset += Int64(data.count)
            return Array(data)
        } catch {
            throw CommandError(
                .failed,
                "\(name) cannot be read any further after \(offset) bytes; what was accepted stays accepted"
            )
        }
    }
}
