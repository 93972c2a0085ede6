internal import Foundation

/// What `./dev test` hands to the tests by its environment. Where it is missing a test fails: a skipped integration test
/// proves nothing.
package enum TestEnvironment {
    /// - Throws: ``KitError`` when it is not set, or empty.
    package static func variable(_ name: String) throws(KitError) -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw KitError("\(name) is not set: run the tests with './dev test'")
        }
        return value
    }

    package static func databaseURL() throws(KitError) -> String { try variable("TRUNKLINE_TEST_DATABASE_URL") }
    package static func brokerURL() throws(KitError) -> String { try variable("TRUNKLINE_TEST_AMQP_URL") }
    /// The script itself.
    package static func dev() throws(KitError) -> String { try variable("TRUNKLINE_TEST_DEV") }

    /// The built program: `TRUNKLINE_BINARY`, else the one that `swift build` put beside the tests.
    package static func program() throws(KitError) -> String {
        if let given = try? variable("TRUNKLINE_BINARY") { return given }
        return try built("trunkline")
    }

    /// A program that `swift build` put beside the tests.
    package static func built(_ name: String) throws(KitError) -> String {
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        for _ in 0..<6 {
            let candidate = folder.appendingPathComponent(name).path
            if FileManager.default.fileExists(atPath: candidate), !isFolder(candidate) { return candidate }
            folder.deleteLastPathComponent()
        }
        throw KitError("\(name) is not built: 'swift build', or name the program in TRUNKLINE_BINARY")
    }

    /// `url` with another path: the name of a database or of a virtual host.
    package static func url(_ url: String, naming name: String) throws(KitError) -> String {
        guard var parts = URLComponents(string: url) else { throw KitError("a URL of the test environment is none") }
        parts.path = "/" + name
        guard let changed = parts.string else { throw KitError("\(name) cannot stand in a URL") }
        return changed
    }
}
