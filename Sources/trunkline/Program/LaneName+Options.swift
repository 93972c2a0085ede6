internal import TrunklineCore

extension LaneName {
    /// What `--line` and `--destination` of a list or a filter say together; nil for both absent: all.
    static func chosen(line: String?, destination: String?) throws -> LaneName? {
        switch (line, destination) {
        case (nil, nil): nil
        case (let id?, nil): .line(try LineID(id))
        case (nil, let id?): .destination(try DestinationID(id))
        case (_?, _?): throw CommandError(.usage, "give one of --line and --destination")
        }
    }
}
