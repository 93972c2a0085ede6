package import TrunklineCore

extension EZWhatsApp {
    /// Reads back what `textRequestBody` wrote; nil for bytes that it cannot have written.
    package static func content(ofTextRequest body: [UInt8]) -> StoredContent? {
        guard let json = try? JSONValue(parsing: body), let to = json["to"]?.text, let text = json["body"]?.text else {
            return nil
        }
        let button = json["ctaUrlButton"]
        let digest = SendJob.contentDigest(
            to: to,
            body: text,
            buttonText: button?["displayText"]?.text,
            buttonURL: button?["url"]?.text
        )
        return StoredContent(recipient: to, digest: digest)
    }
}
