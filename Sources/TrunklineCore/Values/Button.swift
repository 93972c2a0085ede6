/// The optional button under a notice: a label and where it leads. Both or neither.
public struct Button: Sendable, Hashable {
    /// 1 to 20 characters (Unicode scalars), no line break.
    public let text: String
    /// An absolute https URL, at most 2,000 bytes.
    public let url: String

    /// Throws a refusal on the field `button.text` or `button.url`.
    public init(text: String, url: String) throws(Refusal) {
        try Rule.label(text, field: "button.text", longest: 20)
        try Rule.httpsURL(url, field: "button.url")
        self.text = text
        self.url = url
    }
}

extension Button: CustomStringConvertible {
    /// Without its content, which is a customer's.
    public var description: String { "a button" }
}
