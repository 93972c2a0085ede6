internal import TrunklineCore

/// What somebody entered, in one shape for every tool.
struct FormEntry {
    /// The tool's own id of the submission; nil for a plain form.
    private(set) var id: String?
    /// What the delivery is named by, where that is another thing.
    private var eventID: String?
    private var form: String?
    private var at: Timestamp?
    private var fields: [FormBody.Field] = []
    /// What the tool itself says is a phone number.
    private var typedPhones: [String] = []

    init(_ event: ReceivedEvent) throws(Refusal) {
        let contentType = event.header("content-type") ?? "application/json"
        switch MediaType(contentType).name {
        case "application/x-www-form-urlencoded", "multipart/form-data":
            try read(FormBody(event.body, contentType: contentType))
        default:
            let document = try JSONValue.event(event.body)
            if let response = document["form_response"] {
                readTypeform(document, response)
            } else if let data = document["data"], document["eventId"]?.id != nil, data["fields"] != nil {
                readTally(document, data)
            } else {
                readPlain(document, "")
                id = idOfPlugin
            }
        }
        guard fields.count <= FormBody.mostFields else {
            throw Refusal(kind: .tooLarge, reason: "the form has more than \(FormBody.mostFields) fields")
        }
    }

    /// Names the submission, the same for every delivery of it.
    func name(receivedAt: Timestamp) -> String {
        if let name = eventID ?? id { return "id|" + name }
        var json = JSONWriter()
        json.beginArray()
        for field in fields {
            json.string(field.name)
            json.string(field.value)
        }
        json.endArray()
        return receivedAt.rfc3339.prefix(10) + "|" + Digest.hex(Digest.sha256(json.bytes))
    }

    // MARK: Shapes

    /// Bytes; no form of a person's making has a longer name of a field, and no setting names it.
    private static let longestName = 1_000

    private mutating func read(_ body: FormBody) throws(Refusal) {
        // Jotform posts the answers once more as JSON, in one of the fields.
        if let raw = body["rawRequest"], let id = body["submissionID"] {
            self.id = id
            form = body["formID"]
            for member in try JSONValue.event(Array(raw.utf8)).members {
                // `q3_phoneNumber`: the question's number, and its name.
                let name = member.name.drop { $0 == "q" || $0.isNumber }
                readPlain(
                    .object([.init(name.first == "_" ? String(name.dropFirst()) : member.name, member.value)]),
                    ""
                )
            }
            return
        }
        fields = body.fields
        id = idOfPlugin
    }

    private var idOfPlugin: String? {
        let names = ["entry_id", "submission_id", "submissionid"]
        return fields.first { names.contains($0.name.lowercased()) }.flatMap { Given.text($0.value) }
    }

    /// Members of members by their path, elements of lists with a comma between.
    private mutating func readPlain(_ value: JSONValue, _ path: String) {
        for member in value.members {
            // One more tells that there are too many. Each holds its whole path, so that all of them could be as much as their
            // number times the body.
            if fields.count > FormBody.mostFields { return }
            let whole = path.isEmpty ? member.name : path + "." + member.name
            let name = whole.utf8.count <= Self.longestName ? whole : Digest.hex(Digest.sha256(whole.utf8))
            switch member.value {
            case .object: readPlain(member.value, name)
            case .array(let elements):
                fields.append((name, elements.compactMap(\.word).joined(separator: ", ")))
            default: fields.append((name, member.value.word ?? ""))
            }
        }
    }

    private mutating func readTypeform(_ document: JSONValue, _ response: JSONValue) {
        id = response["token"]?.id
        eventID = document["event_id"]?.id
        form = response["form_id"]?.id
        at = response["submitted_at"]?.moment
        for member in response["hidden"]?.members ?? [] { fields.append((member.name, member.value.word ?? "")) }
        for answer in response["answers"]?.elements ?? [] {
            guard let type = answer["type"]?.given else { continue }
            let value = answer[type]
            let text =
                value?.word ?? value?["label"]?.given
                ?? value?["labels"]?.elements.compactMap(\.given).joined(separator: ", ")
            guard let text else { continue }
            if type == "phone_number" { typedPhones.append(text) }
            fields.append((answer.at("field", "ref")?.given ?? answer.at("field", "id")?.given ?? type, text))
        }
    }

    private mutating func readTally(_ document: JSONValue, _ data: JSONValue) {
        id = data["responseId"]?.id ?? data["submissionId"]?.id
        eventID = document["eventId"]?.id
        form = data["formId"]?.id
        at = data["createdAt"]?.moment ?? document["createdAt"]?.moment
        for field in data["fields"]?.elements ?? [] {
            guard let name = field["label"]?.given ?? field["key"]?.given, let value = field["value"] else { continue }
            let text = value.word ?? value.elements.compactMap(\.word).joined(separator: ", ")
            if field["type"]?.given == "INPUT_PHONE_NUMBER", let phone = Given.text(text) { typedPhones.append(phone) }
            fields.append((name, text))
        }
    }

    // MARK: What it says

    func reading(_ settings: SourceSettings, receivedAt: Timestamp) -> SourceReading {
        let traps = settings["honeypot"].map { [$0] } ?? ["_gotcha", "_honeypot", "honeypot"]
        if traps.contains(where: { value(of: $0) != nil }) { return .ignored(.bot) }
        if let box = settings[FormSource.consentSetting], !(value(of: box).map(Given.isYes) ?? false) {
            return .ignored(.noConsent)
        }
        func named(_ setting: String, _ usual: Set<String>) -> String? {
            if let name = settings[setting] { return value(of: name) }
            return fields.lazy.filter { usual.contains(Self.plain($0.name)) }.compactMap { Given.text($0.value) }.first
        }
        let firstName = named("first_name", ["firstname", "fname", "yourfirstname"])
        let lastName = named("last_name", ["lastname", "lname", "surname", "yourlastname"])
        let phone = named(
            "phone",
            [
                "phone", "phonenumber", "phonefull", "tel", "telephone", "mobile", "mobilephone", "whatsapp",
                "yourphone", "yourtel",
            ]
        )
        var details: [String: String] = [:]
        for field in fields where details[field.name] == nil { details[field.name] = Given.text(field.value) }
        return SourceReading(checking: [
            .lead(
                .init(
                    record: .init(id: id ?? Self.shortened(name(receivedAt: receivedAt)), at: at),
                    person: .init(
                        name: named("name", ["name", "fullname", "yourname"]) ?? Given.joined(firstName, lastName),
                        firstName: firstName,
                        phones: ([phone] + typedPhones).compactMap { $0 },
                        country: named("country", ["country", "countrycode"]),
                        language: named("language", ["language", "locale", "lang"])
                    ),
                    origin: form ?? value(of: "form_id") ?? value(of: "form_name"),
                    details: details
                )
            )
        ])
    }

    private static func shortened(_ name: String) -> String { String(Digest.hex(Digest.sha256(name.utf8)).prefix(32)) }

    private func value(of name: String) -> String? {
        let name = name.lowercased()
        return fields.lazy.filter { $0.name.lowercased() == name }.compactMap { Given.text($0.value) }.first
    }

    /// `Phone number`, `phone-number` and `phoneNumber` are one name; so is `phone[]`.
    private static func plain(_ name: String) -> String { name.lowercased().filter { $0.isLetter || $0.isNumber } }
}
