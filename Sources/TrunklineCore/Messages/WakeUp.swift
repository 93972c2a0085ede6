/// A `trunkline.wake.v1` message: makes the owner of a shard look at a row. Never a duplicate, never a job of its own.
public struct WakeUp: Sendable, Hashable {
    public static let schema = "trunkline.wake.v1"

    public let job: JobID
    /// The wake-up acts only if the row still waits with this attempt number; 0 for a job that was never claimed.
    public let attempt: AttemptNumber

    public init(job: JobID, attempt: AttemptNumber) {
        self.job = job
        self.attempt = attempt
    }

    public func encode() -> [UInt8] {
        var json = JSONWriter(capacity: 80)
        json.beginObject()
        json.member("schema", WakeUp.schema)
        json.member("job", job.description)
        json.name("attempt")
        json.integer(attempt.value)
        json.endObject()
        return json.bytes
    }

    static func decodeChecked(_ json: [UInt8]) throws(Refusal) -> WakeUp {
        var fields = MessageFields(json)
        var job: String?
        var attempt: String?
        do throws(JSONError) {
            try fields.reader.beginObject()
            var first = true
            while let name = try fields.reader.nextName(first: &first) {
                switch fields.match(name, WakeUp.names) {
                case 0: _ = try fields.text(name, 0, "schema")
                case 1: job = try fields.text(name, 1, "job")
                case 2:
                    if try fields.begin(name, 2, "attempt", .number, "a whole number") {
                        attempt = try fields.reader.number()
                    }
                default: try fields.unknown(name)
                }
            }
            try fields.reader.end()
        } catch {
            throw fields.refusal(error)
        }
        if let problem = fields.problem { throw problem }
        guard let job, let id = JobID(text: job) else {
            throw .invalid("job", "job is not the decimal number of a job, as a text")
        }
        guard let attempt, let number = Int32(attempt), number >= 0 else {
            throw .invalid("attempt", "attempt is not a whole number from 0 to 2147483647")
        }
        return WakeUp(job: id, attempt: AttemptNumber(number))
    }

    private static let names: [StaticString] = ["schema", "job", "attempt"]
}
