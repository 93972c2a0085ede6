package import TrunklineCore

/// A workspace's rules as they were applied.
package struct AppliedRules: Sendable, Hashable {
    /// Grows with every application, of whatever workspace.
    package let revision: Int64
    package let workspace: WorkspaceID
    /// `lines` and `sources` of the file, as whoever plans reads them.
    package let text: String
    package let appliedAt: Timestamp
}

/// Rules that are to come into force, and what they take for granted.
package struct NewRules: Sendable {
    /// A line or a source that rules name.
    package struct Claim: Sendable {
        /// Where: `sources.acme-shop`.
        package let path: String
        package let lane: LaneName
        /// Of a source, as the rules have it.
        package let kind: String?
        /// The same; nil: they say nothing of it.
        package let country: String?
        package let settings: [String: String]?

        package init(
            path: String,
            lane: LaneName,
            kind: String? = nil,
            country: String? = nil,
            settings: [String: String]? = nil
        ) {
            self.path = path
            self.lane = lane
            self.kind = kind
            self.country = country
            self.settings = settings
        }
    }

    /// Nil: the one of the lines and sources that they name.
    package let workspace: WorkspaceID?
    package let text: String
    package let claims: [Claim]

    package init(workspace: WorkspaceID?, text: String, claims: [Claim]) {
        self.workspace = workspace
        self.text = text
        self.claims = claims
    }
}

/// Why rules do not come into force, or are not shown.
package enum RulesError: ExplainedError, Hashable {
    package struct Problem: Sendable, Hashable {
        package let path: String
        package let words: String
    }

    /// All that is not as the rules have it.
    case problems([Problem])
    case noWorkspace
    case severalWorkspaces([WorkspaceID])

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .problems(let problems): problems.map { "\($0.path): \($0.words)" }.joined(separator: "; ")
        case .noWorkspace: "these rules name no line and no source: say whose they are, with --workspace"
        case .severalWorkspaces(let workspaces):
            "workspaces \(workspaces.map(\.value).joined(separator: ", ")) have rules: say which one with --workspace"
        }
    }
}
