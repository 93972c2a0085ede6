package import TrunklineCore

/// What was planned of an event, rule by rule. Holds no customer's data.
package struct EventPlanRecord: Sendable, Hashable, Encodable {
    package struct Notice: Sendable, Hashable, Encodable {
        package let rule: String
        package let line: String
        package let key: String
        /// `new`, `repeat`, `once`, `conflict`, `unknown_lane`, `removed_lane`.
        package let verdict: String
        package let job: JobID?

        private enum Member: String, CodingKey { case rule, line, key, verdict, job }

        package func encode(to encoder: any Encoder) throws {
            var members = encoder.container(keyedBy: Member.self)
            try members.encode(rule, forKey: .rule)
            try members.encode(line, forKey: .line)
            try members.encode(key, forKey: .key)
            try members.encode(verdict, forKey: .verdict)
            try members.encodeIfPresent(job?.description, forKey: .job)
        }

        /// What became of it, for people.
        package var sentence: String {
            switch verdict {
            case "new": "is a job"
            case "repeat": "was planned before, and nothing is sent twice"
            case "once": "is not sent: the person got a first message of this line on the same day"
            case "conflict": "is not sent: its key is another notice already"
            case "unknown_lane": "is not sent: there is no line \(line) in the source's workspace"
            case "removed_lane": "is not sent: the line \(line) was removed"
            default: verdict
            }
        }
    }

    package struct Cancelled: Sendable, Hashable, Encodable {
        package let key: String
        /// As of `trunkline cancel`: `cancelled`, `in_the_air`, `may_have_been_sent`.
        package let verdict: String
    }

    package struct Word: Sendable, Hashable, Encodable {
        /// `held`, `failed`, `refused`, `silent`.
        package let kind: String
        package let rule: String
        package let words: String
    }

    /// The revision of the rules; nil: the workspace had none.
    package let rules: Int64?
    package let notices: [Notice]
    package let cancelled: [Cancelled]
    package let said: [Word]

    /// How many notices somebody must look at; nil when none.
    var trouble: String? {
        let count =
            said.count { $0.kind == EventPlan.Word.Kind.failed.rawValue }
            + notices.count { !["new", "repeat", "once"].contains($0.verdict) }
        return count == 0 ? nil : count == 1 ? "1 notice fails" : "\(count) notices fail"
    }

    /// As it is stored; nil for what something else has written.
    init?(json: String) {
        guard let document = try? JSONValue(parsing: Array(json.utf8)) else { return nil }
        func number(_ value: JSONValue?) -> Int64? {
            guard case .number(let text) = value else { return nil }
            return Int64(text)
        }
        func elements(_ name: String) -> [JSONValue] {
            guard case .array(let elements) = document[name] else { return [] }
            return elements
        }
        rules = number(document["rules"])
        notices = elements("notices").map { one in
            Notice(
                rule: one["rule"]?.text ?? "",
                line: one["line"]?.text ?? "",
                key: one["key"]?.text ?? "",
                verdict: one["verdict"]?.text ?? "",
                job: number(one["job"]).map(JobID.init)
            )
        }
        cancelled = elements("cancelled").map { one in
            Cancelled(key: one["key"]?.text ?? "", verdict: one["verdict"]?.text ?? "")
        }
        said = elements("said").map { one in
            Word(kind: one["kind"]?.text ?? "", rule: one["rule"]?.text ?? "", words: one["words"]?.text ?? "")
        }
    }
}
