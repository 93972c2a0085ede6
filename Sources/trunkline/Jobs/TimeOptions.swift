internal import ArgumentParser
internal import Foundation
internal import TrunklineCore

/// When a job counts, what replaces it, and how its sender labels it: the same for notices and deliveries.
struct TimeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Not sent before, RFC 3339.", valueName: "time"))
    var notBefore: String?

    @Option(help: ArgumentHelp("Worthless from then on, RFC 3339.", valueName: "time"))
    var sendBefore: String?

    @Option(help: ArgumentHelp("Names the thing of which only the newest fact counts.", valueName: "key"))
    var supersedeKey: String?

    @Option(help: ArgumentHelp("When the fact happened, RFC 3339.", valueName: "time"))
    var factAt: String?

    @Option(help: ArgumentHelp("A label of your own, may be repeated.", valueName: "name=value"))
    var tag: [String] = []

    func notBeforeMoment() throws(Refusal) -> Timestamp? { try Self.moment(notBefore, "notBefore") }
    func sendBeforeMoment() throws(Refusal) -> Timestamp? { try Self.moment(sendBefore, "sendBefore") }
    func factAtMoment() throws(Refusal) -> Timestamp? { try Self.moment(factAt, "factAt") }

    func tags() throws(CommandError) -> [String: String] {
        var tags: [String: String] = [:]
        for entry in tag {
            guard let mark = entry.firstIndex(of: "="), mark != entry.startIndex else {
                throw CommandError(.usage, "--tag is name=value")
            }
            tags[String(entry[..<mark])] = String(entry[entry.index(after: mark)...])
        }
        return tags
    }

    static func moment(_ text: String?, _ field: String) throws(Refusal) -> Timestamp? {
        guard let text else { return nil }
        guard let moment = Timestamp(rfc3339: text) else {
            throw Refusal(
                kind: .invalid,
                field: field,
                reason: "\(field) is not an RFC 3339 time with its offset, such as 2026-12-01T18:00:00Z"
            )
        }
        return moment
    }
}

/// What a command reads from a file or from standard input.
enum InputText {
    /// - Parameters:
    ///   - path: `-` is standard input.
    ///   - longest: one byte more is read, so that who checks the size sees what is too long.
    static func bytes(of path: String, longest: Int) throws -> [UInt8] {
        let handle = path == "-" ? FileHandle.standardInput : FileHandle(forReadingAtPath: path)
        guard let handle, let data = try handle.read(upToCount: longest + 1) else {
            throw CommandError(.usage, "the file \(path) cannot be read")
        }
        return Array(data)
    }
}
