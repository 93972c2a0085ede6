public import TrunklineCore

extension EZWhatsApp {
    /// The exact bytes of `POST /messages/text` for a job. Rendered once, when the job is accepted, stored, and resent unchanged on
    /// every try: the form must never change.
    public static func textRequestBody(_ job: SendJob) -> [UInt8] {
        var json = JSONWriter(capacity: job.body.utf8.count + 256)
        json.beginObject()
        json.member("to", job.to.value)
        json.member("body", job.body)
        if let button = job.button {
            json.name("ctaUrlButton")
            json.beginObject()
            json.member("displayText", button.text)
            json.member("url", button.url)
            json.endObject()
        }
        json.endObject()
        return json.bytes
    }

    /// The send itself.
    ///
    /// - Parameters:
    ///   - key: the job's key, the same on every try.
    ///   - body: the stored bytes of `textRequestBody`.
    public static func textRequest(base: BaseURL, token: Token, key: IdempotencyKey, body: [UInt8]) -> Request {
        Request(
            method: "POST",
            url: base.value + "/messages/text",
            headers: [
                .init(name: "Authorization", value: "Bearer " + token.value),
                .init(name: "Idempotency-Key", value: key.value),
                .init(name: "Content-Type", value: "application/json"),
                .init(name: "Accept", value: "application/json"),
            ],
            body: body
        )
    }

    /// The preflight. `wakeup=false` is said aloud because the default is true and would act on the line.
    public static func healthRequest(base: BaseURL, token: Token) -> Request {
        Request(
            method: "GET",
            url: base.value + "/health?wakeup=false&channel_type=web",
            headers: [
                .init(name: "Authorization", value: "Bearer " + token.value),
                .init(name: "Accept", value: "application/json"),
            ],
            body: nil
        )
    }
}
