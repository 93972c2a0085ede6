internal import RabbitDriver

extension Topology.Exchange {
    /// Its kind as people write it.
    package var kindWord: String { kind.rawValue }
}

extension Topology.Argument {
    /// Its value as people write it.
    package var text: String {
        switch value {
        case .string(let text): text
        case .int(let number): String(number)
        case .bool(let flag): String(flag)
        default: String(describing: value)
        }
    }
}
