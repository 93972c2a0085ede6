/// What is kept of one answer, for the person who looks at a parked job: the status and the beginning of the body.
package struct Evidence: Sendable, Hashable {
    /// The most that is kept of a body, in bytes.
    package static let maximumBodyBytes = 2_048

    /// The HTTP status; nil when no answer came.
    package let status: Int?
    /// The first 2 KiB of the body. Carriers remove their secrets before they build an `Evidence`.
    package let body: [UInt8]
    /// What the transport said when no answer came; safe to log.
    package let failure: String?

    package init(status: Int?, body: some Collection<UInt8>, failure: String? = nil) {
        self.status = status
        self.body = Array(body.prefix(Evidence.maximumBodyBytes))
        self.failure = failure
    }

    /// The body as text that PostgreSQL can store: broken UTF-8 repaired, NUL replaced.
    package var bodyText: String {
        String(decoding: body.lazy.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
    }
}

extension Evidence: CustomStringConvertible {
    /// Without the body: it may repeat what the customer gets to read.
    package var description: String {
        let head = status.map { "status \($0)" } ?? "no answer"
        guard let failure else { return "\(head), \(body.count) bytes kept" }
        return "\(head): \(failure)"
    }
}
