import Foundation
import TestKit
import Testing
import TrunklineChaos

/// The proof in short: about two minutes of everything, against the built program.
@Suite struct ChaosTests {
    @Test func twoMinutesOfChaosLoseDoubleAndReorderNothing() async throws {
        let environment = ProcessInfo.processInfo.environment
        let checkout = try Checkout.underTest()
        let program = try #require(environment["TRUNKLINE_BINARY"], "run the tests with './dev test'")
        let folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
            .appendingPathComponent("trunkline-chaos-\(UInt64.random(in: 0 ... .max))").path
        var options = ChaosOptions(folder: folder, checkout: checkout, program: program)
        options.jobs = 2_500
        options.minutes = 1.25
        options.seed = UInt64.random(in: 1...999_999)
        options.lines = 12
        options.destinations = 4
        options.workers = 3

        let report = try await ChaosRun.run(options) { print("    " + $0) }
        print(report.table)
        #expect(report.isClean, "seed \(report.seed); everything is in \(folder)")
        // The rules had something to look at.
        #expect(report[.promised] == 2_500)
        #expect(report[.ordered] > 1_000 && report[.repeats] > 50 && report[.ambiguous] > 0)
        #expect(report[.posted] > 50)
        #expect(report[.deliveries] > 200 && report[.orderedDeliveries] > 50)
        #expect(report[.superseded] > 0 && report[.cancelled] > 0 && report[.scheduled] > 50 && report[.paced] > 20)
        if report.isClean { try? FileManager.default.removeItem(atPath: folder) }
    }
}
