import TestKit
import TrunklineIntegrations

@testable import TrunklineEngine

extension SharedDesk {
    /// A broker that nobody is at.
    static let nowhere = "amqp://127.0.0.1:\(refusingPort)/"

    /// A desk as a gateway has one.
    static func underTest(
        _ database: String,
        _ broker: String = nowhere,
        _ change: (inout SharedDesk.Configuration) -> Void = { _ in }
    ) throws -> SharedDesk {
        var configuration = SharedDesk.Configuration(
            databaseURL: database,
            amqpURL: broker,
            name: "tests",
            via: "http",
            carriers: .standard
        )
        change(&configuration)
        return try SharedDesk(configuration) { _ in }
    }
}
