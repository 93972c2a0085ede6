import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

/// Every reader of senders' bytes, fed with what no sender sends: nothing traps, and every event has a key.
@Suite struct SourceFuzzTests {
    @Test(arguments: SourceRegistry.standard.all.map(\.kind))
    func nothingTrapsAReader(_ kind: SourceKind) throws {
        let source = try #require(SourceRegistry.standard[kind.value])
        for (index, sample) in try #require(SourceConformanceTests.samples[kind]).enumerated() {
            let violations = try SourceConformance(source, sample).fuzz(seed: UInt64(index + 1))
            #expect(violations == [], "sample \(index): \(violations)")
        }
    }
}
