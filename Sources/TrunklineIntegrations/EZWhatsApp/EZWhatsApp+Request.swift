package import TrunklineCore

extension EZWhatsApp {
    /// The exact bytes of `POST /messages/text` for a job. Rendered once, when the job is accepted, stored, and resent unchanged on
    /// every try: the form must never change.
    package static func textRequestBody(_ job: SendJob) -> [UInt8] {
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
    package static func textRequest(
        base: BaseURL,
        token: Token,
        key: IdempotencyKey,
        body: [UInt8],
        onlyPublicHosts: Bool = false
    ) -> OutsideCall {
        OutsideCall(
            .post,
            base.value + "/messages/text",
            headers: [
                .init("Authorization", "Bearer " + token.value),
                .init("Idempotency-Key", key.value),
                .init("Content-Type", "application/json"),
                .init("Accept", "application/json"),
            ],
            body: body,
            onlyPublicHosts: onlyPublicHosts
        )
    }

    /// The preflight. `wakeup=false` is said aloud because the default is true and would act on the line.
    package static func healthRequest(base: BaseURL, token: Token, onlyPublicHosts: Bool = false) -> OutsideCall {
        OutsideCall(
            .get,
            base.value + "/health?wakeup=false&channel_type=web",
            headers: [
                .init("Authorization", "Bearer " + token.value),
                .init("Accept", "application/json"),
            ],
            onlyPublicHosts: onlyPublicHosts
        )
    }
}
