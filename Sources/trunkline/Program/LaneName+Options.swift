internal import TrunklineCore

extension LaneName {
    /// What `--line`, `--destination` and `--source` of a list or a filter say together; nil for all absent: all.
    static func chosen(line: String?, destination: String?, source: String?) throws -> LaneName? {
        switch (line, destination, source) {
        case (nil, nil, nil): nil
        case (let id?, nil, nil): .line(try LineID(id))
        case (nil, let id?, nil): .destination(try DestinationID(id))
        case (nil, nil, let id?): .source(try SourceID(id))
        default: throw CommandError(.usage, "give one of --line, --destination and --source")
        }
    }
}
