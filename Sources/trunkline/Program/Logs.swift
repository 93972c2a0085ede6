internal import Foundation
internal import Logging
internal import TrunklineCore

/// The program's log: standard error, one line per event.
enum Logs {
    private static let once = Once()

    /// Sets up logging for the whole process; only the first call counts.
    static func begin(level: Logger.Level, format: Settings.LogFormat) {
        once.run {
            LoggingSystem.bootstrap { label in LineLogHandler(label: label, level: level, format: format) }
        }
    }

    private final class Once: Sendable {
        private let done = NSLock()

        func run(_ body: () -> Void) {
            // Never unlocked: whoever comes second finds it taken.
            if done.try() { body() }
        }
    }
}

/// Writes `2026-12-01T18:00:00.123Z info trunkline.worker: message key=value`, or the same as one JSON object.
struct LineLogHandler: LogHandler {
    let label: String
    let format: Settings.LogFormat
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel: Logger.Level

    init(label: String, level: Logger.Level, format: Settings.LogFormat) {
        self.label = label
        self.logLevel = level
        self.format = format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var facts = metadata
        if let provided = metadataProvider?.get() { facts.merge(provided) { $1 } }
        if let given = event.metadata { facts.merge(given) { $1 } }
        let line = Self.line(
            format: format,
            time: Date(),
            level: event.level,
            label: label,
            message: event.message.description,
            facts: facts
        )
        // One write per line, so that lines of several threads and processes do not mix.
        FileHandle.standardError.write(Data(line.utf8))
    }

    static func line(
        format: Settings.LogFormat,
        time: Date,
        level: Logger.Level,
        label: String,
        message: String,
        facts: Logger.Metadata
    ) -> String {
        let time = time.formatted(
            .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted)
        )
        switch format {
        case .text:
            var line = "\(time) \(level.rawValue) \(label): \(escaped(message))"
            for (key, value) in facts.sorted(by: { $0.key < $1.key }) {
                let text = escaped(value.description)
                line += text.contains(" ") || text.isEmpty ? " \(key)=\"\(text)\"" : " \(key)=\(text)"
            }
            return line + "\n"
        case .json:
            var object = facts.mapValues { $0.description }
            object["time"] = time
            object["level"] = level.rawValue
            object["logger"] = label
            object["message"] = message
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard let data = try? encoder.encode(object) else {
                return "{\"message\":\"a log line could not be encoded\"}\n"
            }
            return Printable.json(String(decoding: data, as: UTF8.self)) + "\n"
        }
    }

    /// One event is one line, whatever somebody else's words hold.
    private static func escaped(_ text: String) -> String {
        Printable.line(text.replacing("\n", with: "\\n").replacing("\"", with: "\\\""))
    }
}
