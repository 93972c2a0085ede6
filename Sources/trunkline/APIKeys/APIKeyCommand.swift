internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct APIKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apikey",
        abstract: "Keys with which programs talk to a gateway: create, look, revoke.",
        subcommands: [Create.self, List.self, Revoke.self]
    )

    /// As servers list its connections.
    static let name = "trunkline apikey"
}

/// An API key as programs read it.
struct APIKeyDocument: Encodable {
    let id: String
    let workspace: String
    let scopes: [String]
    let line: String?
    let purpose: String?
    let requestsPerMinute: Int?
    let label: String?
    let hint: String
    let createdAt: String
    let revokedAt: String?
    /// Only when it is made.
    let secret: String?

    init(_ key: APIKey, secret: APIKeySecret? = nil) {
        id = key.id.value
        workspace = key.workspace.value
        scopes = key.scopes.map(\.rawValue).sorted()
        line = key.binding?.line.value
        purpose = key.binding?.purpose.rawValue
        requestsPerMinute = key.requestsPerMinute
        label = key.label
        hint = key.hint
        createdAt = key.createdAt.rfc3339
        revokedAt = key.revokedAt?.rfc3339
        self.secret = secret?.text
    }
}
