package import TrunklineCore

extension Evidence {
    /// Something that must not be kept, and what is kept in its place.
    package struct Hidden: Sendable {
        let bytes: [UInt8]
        let mark: [UInt8]

        /// - Parameter mark: like `[token]`.
        package init(_ bytes: some Sequence<UInt8>, as mark: String) {
            self.bytes = Array(bytes)
            self.mark = Array(mark.utf8)
        }
    }

    /// What is kept of an answer: the status and 2 KiB of the body, in which nothing of `hidden` can be, even when the answer
    /// repeats the call's headers or its address.
    package init(status: Int?, body: [UInt8], failure: String? = nil, hiding hidden: [Hidden]) {
        // The longest first: one may be a part of another.
        let hidden = hidden.filter { !$0.bytes.isEmpty }.sorted { $0.bytes.count > $1.bytes.count }
        let longest = hidden.first?.bytes.count ?? 0
        // A secret that begins before the cut must be seen whole.
        var kept = Array(body.prefix(Evidence.maximumBodyBytes + longest))
        for secret in hidden { kept = Evidence.replacing(secret, in: kept) }
        Evidence.dropBeginning(of: hidden, atTheEndOf: &kept)
        let text = failure.map { failure in
            let clean = hidden.reduce(Array(failure.utf8)) { Evidence.replacing($1, in: $0) }
            return String(decoding: clean, as: UTF8.self)
        }
        self.init(status: status, body: kept, failure: text)
    }

    /// The cut of an earlier reader may have left the first part of a secret at the very end.
    private static func dropBeginning(of hidden: [Hidden], atTheEndOf kept: inout [UInt8]) {
        for secret in hidden {
            for length in stride(from: min(secret.bytes.count - 1, kept.count), through: 4, by: -1)
            where kept.suffix(length).elementsEqual(secret.bytes.prefix(length)) {
                kept.removeLast(length)
                break
            }
        }
    }

    private static func replacing(_ secret: Hidden, in hay: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(hay.count)
        var i = 0
        while i < hay.count {
            if hay[i] == secret.bytes[0], hay[i...].starts(with: secret.bytes) {
                out += secret.mark
                i += secret.bytes.count
            } else {
                out.append(hay[i])
                i += 1
            }
        }
        return out
    }
}
