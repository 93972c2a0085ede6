internal import Foundation
internal import TrunklineEngine

extension FieldMap {
    /// Reads the file of `--map`, which is at most 1 MiB.
    static func read(file path: String, for target: Target) throws(CommandError) -> FieldMap {
        guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: (1 << 20) + 1)
        else {
            throw CommandError(.usage, "the map \(path) cannot be read")
        }
        guard data.count <= 1 << 20 else { throw CommandError(.usage, "the map \(path) is larger than 1 MiB") }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandError(.usage, "the map \(path) is not UTF-8")
        }
        do throws(FieldMapError) {
            return try FieldMap(yaml: text, for: target)
        } catch {
            throw CommandError(.usage, "\(path): \(error.description)")
        }
    }
}
