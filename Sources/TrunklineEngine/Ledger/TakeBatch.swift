internal import Crypto
internal import PostgresDriver
package import TrunklineCore

extension SendJob {
    /// The number under which the job keeps its order on its line. Stored with unfinished jobs.
    package var person: Int64 { TakeBatch.person(orderingName) }
}

extension DeliverJob {
    /// The number under which the job keeps its order in its lane. Stored with unfinished jobs.
    package var person: Int64 { TakeBatch.person(orderingName) }
}

/// The jobs of one call of `trunkline.take`, as the arrays that it reads.
///
/// The order of `append` is the order of arrival: jobs get their numbers in it.
package struct TakeBatch: Sendable {
    /// The most jobs that one call should carry: beyond it a statement gets longer, not cheaper.
    package static let usualLimit = 500

    /// Its answer is decoded by `TakeAnswer.all`.
    static let statement = PostgresStatement(
        name: "take",
        sql: """
            select item, verdict, job, lane, state, place, due_in_ms, attempt, final_state, lane_of_job
            from trunkline.take($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
            $20, $21, $22, $23)
            """,
        parameterTypes: [
            .uuid, .int4, .int4Array, .int8Array, .int4, .int4, .text,
            .textArray, .textArray, .byteaArray, .byteaArray, .int8Array, .textArray,
            .byteaArray, .textArray, .textArray, .timestamptzArray, .timestamptzArray,
            .textArray, .timestamptzArray, .boolArray,
            .int4Array, .int4Array,
        ]
    )

    /// `trunkline.accept`, which a producer's role may call: the same answer for rows of nobody's shards, and of a conflict
    /// what is stored (`TakeAnswer.storedDigests`). Workers do not ask for that: they answer nobody.
    static let acceptance =
        "select item, verdict, job, lane, state, place, due_in_ms, attempt, final_state, lane_of_job, stored_digest "
        + "from trunkline.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"

    /// Names of lanes.
    package private(set) var lane: [String?] = []
    package private(set) var key: [String?] = []
    package private(set) var keyDigest: [[UInt8]?] = []
    package private(set) var contentDigest: [[UInt8]?] = []
    package private(set) var person: [Int64?] = []
    package private(set) var recipient: [String?] = []
    package private(set) var request: [[UInt8]?] = []
    package private(set) var purpose: [String?] = []
    package private(set) var tags: [String?] = []
    package private(set) var notBefore: [Int64?] = []
    package private(set) var sendBefore: [Int64?] = []
    package private(set) var supersedeKey: [String?] = []
    package private(set) var factAt: [Int64?] = []
    package private(set) var fast: [Bool?] = []

    package init() {}

    package var count: Int { key.count }
    package var isEmpty: Bool { key.isEmpty }

    /// - Parameters:
    ///   - requestBytes: the rendered request, stored and sent unchanged on every attempt (``Carrier/render(_:)``).
    ///   - fast: whether the job may be claimed in the same statement; without meaning when the batch has no boot id.
    package mutating func append(_ job: SendJob, requestBytes: [UInt8], fast isFast: Bool) {
        lane.append(job.laneName)
        key.append(job.key.value)
        keyDigest.append(job.key.digest)
        contentDigest.append(job.contentDigest)
        person.append(job.person)
        recipient.append(job.to.value)
        request.append(requestBytes)
        purpose.append(job.purpose.rawValue)
        tags.append(Self.tagsText(job.tags))
        notBefore.append(job.notBefore?.microseconds)
        sendBefore.append(job.sendBefore?.microseconds)
        supersedeKey.append(job.supersedeKey)
        factAt.append(job.factAt?.microseconds)
        fast.append(isFast)
    }

    /// A delivery: to a system, about which there is no recipient and no purpose.
    package mutating func append(_ job: DeliverJob, requestBytes: [UInt8], fast isFast: Bool) {
        lane.append(job.laneName)
        key.append(job.key.value)
        keyDigest.append(job.key.digest)
        contentDigest.append(job.contentDigest)
        person.append(job.person)
        recipient.append(nil)
        request.append(requestBytes)
        purpose.append(nil)
        tags.append(Self.tagsText(job.tags))
        notBefore.append(job.notBefore?.microseconds)
        sendBefore.append(job.sendBefore?.microseconds)
        supersedeKey.append(job.supersedeKey)
        factAt.append(job.factAt?.microseconds)
        fast.append(isFast)
    }

    /// The first 8 bytes of SHA-256 of the ordering name, big-endian. The form must not change while unfinished jobs exist.
    static func person(_ orderingName: String) -> Int64 {
        var name = orderingName
        var hash = SHA256()
        name.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
        var number: UInt64 = 0
        for byte in hash.finalize().prefix(8) { number = number << 8 | UInt64(byte) }
        return Int64(bitPattern: number)
    }

    /// Tags as JSON text, for the database; nil when there are none.
    static func tagsText(_ tags: [String: String]) -> String? {
        guard !tags.isEmpty else { return nil }
        var json = JSONWriter(capacity: 128)
        json.beginObject()
        for name in tags.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            json.member(name, tags[name])
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// The parameters of ``acceptance``.
    func acceptanceParameters(jobClass: JobClass) -> [PostgresParameter] {
        [.int4(Int32(jobClass.rawValue))] + jobs
    }

    /// The jobs' own columns, as both functions take them.
    private var jobs: [PostgresParameter] {
        [
            .textArray(lane), .textArray(key), .byteaArray(keyDigest), .byteaArray(contentDigest), .int8Array(person),
            .textArray(recipient), .byteaArray(request), .textArray(purpose), .textArray(tags),
            .timestampArray(notBefore), .timestampArray(sendBefore), .textArray(supersedeKey), .timestampArray(factAt),
        ]
    }

    /// The parameters of ``statement``.
    func parameters(_ request: TakeRequest) -> [PostgresParameter] {
        let owner = request.owner
        return [
            owner.map { .uuid($0.boot.bytes) } ?? .null, .int4(owner?.shardCount ?? 1),
            .int4Array(owner?.shards ?? []), .int8Array(owner?.fences ?? []), .int4(request.lease.int4Milliseconds),
            .int4(Int32(request.jobClass.rawValue)), request.parked.map { .text($0.code) } ?? .null,
        ] + jobs + [.boolArray(fast), .int4Array(request.pace.lanes), .int4Array(request.pace.next)]
    }
}
