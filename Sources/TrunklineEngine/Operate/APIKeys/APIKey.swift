package import TrunklineCore

/// An API key as the database has it. Its secret is nowhere: only its digest is stored.
package struct APIKey: Sendable, Hashable {
    package let id: APIKeyID
    /// Its bearer sees and touches nothing of another one.
    package let workspace: WorkspaceID
    package let scopes: Set<APIScope>
    /// The line and the purpose of every notice that comes by the drop-in, which names neither.
    package let binding: Binding?
    /// Requests a minute at each gateway, 1…1,000,000; nil: unlimited.
    package let requestsPerMinute: Int?
    /// What a person called it.
    package let label: String?
    /// `…abcd`.
    package let hint: String
    package let createdAt: Timestamp
    package let revokedAt: Timestamp?

    package struct Binding: Sendable, Hashable {
        package let line: LineID
        package let purpose: Purpose

        package init(line: LineID, purpose: Purpose) {
            self.line = line
            self.purpose = purpose
        }
    }

    /// Whether its bearer may do what that scope stands for.
    package func allows(_ scope: APIScope) -> Bool {
        revokedAt == nil && (scopes.contains(scope) || scopes.contains(.admin))
    }
}

/// What an API key is made with.
package struct NewAPIKey: Sendable {
    package var workspace: WorkspaceID
    package var scopes: Set<APIScope>
    package var binding: APIKey.Binding?
    package var requestsPerMinute: Int?
    package var label: String?

    package init(
        workspace: WorkspaceID,
        scopes: Set<APIScope>,
        binding: APIKey.Binding? = nil,
        requestsPerMinute: Int? = nil,
        label: String? = nil
    ) {
        self.workspace = workspace
        self.scopes = scopes
        self.binding = binding
        self.requestsPerMinute = requestsPerMinute
        self.label = label
    }

    func validate() throws(Refusal) {
        if scopes.isEmpty { throw Refusal(kind: .invalid, field: "scope", reason: "a key needs a scope") }
        if let requestsPerMinute, !(1...1_000_000).contains(requestsPerMinute) {
            throw Refusal(
                kind: .invalid,
                field: "requests-per-minute",
                reason: "a limit is a number of requests a minute from 1 to 1000000"
            )
        }
        if let label { try Rule.label(label, field: "label", longest: 100) }
    }
}

/// Why an API key cannot be made or revoked.
package enum APIKeyError: ExplainedError, Hashable {
    case unknown(APIKeyID)
    /// The line that it would be bound to is another workspace's.
    case lineOfAnotherWorkspace(LineID)

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .unknown(let id): "there is no API key \(id); 'trunkline apikey list --all' shows all"
        case .lineOfAnotherWorkspace(let line): "the line \(line) belongs to another workspace"
        }
    }
}
