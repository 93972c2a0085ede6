import Foundation
import TestKit
import Testing
import TrunklineTesting

/// The ports that `./dev` gives its servers are reserved for the whole machine.
@Suite struct PortTests {
    /// Two checkouts that start servers side by side, with few ports to choose from: none is given twice, and what was given
    /// back can be given again.
    @Test func twoCheckoutsNeverGetOnePortTwice() async throws {
        let dev = try TestEnvironment.dev()
        let folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
            .appendingPathComponent("trunkline-ports-\(UInt64.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: folder) }
        var environment = ProcessInfo.processInfo.environment
        environment["TRUNKLINE_DEV_PORTS"] = "19000-19059"
        let ports = try await withThrowingTaskGroup(of: String.self) { group in
            for checkout in ["one", "two"] {
                let root = folder.appendingPathComponent(checkout)
                try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
                try FileManager.default.copyItem(atPath: dev, toPath: root.appendingPathComponent("dev").path)
                for number in 0..<20 {
                    let instance = root.appendingPathComponent("\(number)")
                    try FileManager.default.createDirectory(at: instance, withIntermediateDirectories: true)
                    group.addTask { [environment] in
                        try await Command.run(
                            root.appendingPathComponent("dev").path,
                            ["port", instance.path, "server"],
                            environment: environment
                        ).requireSuccess().output
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(ports.count == 40 && Set(ports).count == 40)
        #expect(ports.allSatisfy { $0.hasPrefix("190") })
    }
}
