internal import TrunklineCore
internal import TrunklineEngine

extension KeyOwner {
    /// What `--workspace` and `--destination` of a command about keys say together; nil for both absent.
    static func chosen(workspace: String?, destination: String?) throws -> KeyOwner? {
        switch (workspace, destination) {
        case (nil, nil): nil
        case (let id?, nil): .workspace(try WorkspaceID(id))
        case (nil, let id?): .destination(try DestinationID(id))
        case (_?, _?): throw CommandError(.usage, "give one of --workspace and --destination")
        }
    }
}
