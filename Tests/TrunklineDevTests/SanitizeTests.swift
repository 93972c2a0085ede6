import Testing

@testable import TrunklineDev

/// What `./dev sanitize` counts, and when it is content.
@Suite struct SanitizeTests {
    @Test func everyReportIsCountedOnce() {
        let text = """
            ==================
            WARNING: ThreadSanitizer: data race (pid=4711)
              Write of size 8 at 0x7b0400000000 by thread T1:
                #0 somewhere
            SUMMARY: ThreadSanitizer: data race somewhere
            ==================
            ==4711==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010
            SUMMARY: AddressSanitizer: heap-use-after-free somewhere
            ==4711==ERROR: LeakSanitizer: detected memory leaks
            Direct leak of 8 byte(s) in 1 object(s) allocated from:
            SUMMARY: AddressSanitizer: 8 byte(s) leaked in 1 allocation(s).
            WARNING: ThreadSanitizer: Swift access race (pid=4711)
            FATAL: ThreadSanitizer: unexpected memory mapping 0x7f0000000000
            """
        #expect(Sanitizer.reports(in: text).count == 5)
        #expect(Sanitizer.reports(in: "ThreadSanitizer: reported 0 warnings\nSuite passed\n").isEmpty)
    }

    private func verdict(_ status: Int32, _ said: String, _ reports: [String] = []) -> SanitizeVerdict {
        SanitizeVerdict(
            sanitizer: .thread,
            target: "SomeTests",
            status: status,
            said: TestLog(said),
            reports: reports
        )
    }

    // Put together here, because the summary of the run that these tests are in reads what stands whole.
    private static let passed = "✔ Te" + "st one() passed after 0.1 seconds.\n"
    private static let end = "✔ Te" + "st run with 1 test in 1 suite passed after 0.1 seconds.\n"

    @Test func onlyACleanRunIsClean() {
        let clean = verdict(0, Self.passed + Self.end)
        #expect(clean.isClean)
        #expect(clean.line == "thread SomeTests: 1 passed, 0 failed, 0 reports")

        let reported = verdict(0, Self.passed + Self.end, ["WARNING"])
        #expect(!reported.isClean && reported.line.hasSuffix("1 passed, 0 failed, 1 reports"))
        #expect(!verdict(0, "").isClean, "no test ran")
        #expect(!verdict(0, Self.passed + Self.end + "➜ Te" + "st two() skipped.").isClean)
        let died = verdict(134, Self.passed)
        #expect(!died.isClean && died.line.hasSuffix("ended with 134"))
    }

    @Test(arguments: Sanitizer.allCases)
    func reportsOfEveryProcessGoToFiles(_ sanitizer: Sanitizer) {
        let variables = sanitizer.variables(reportsAt: "/some/path", suppressionsIn: "/some/folder")
        #expect(variables.values.contains { $0.contains("log_path=/some/path:") })
        #expect(variables.values.contains { $0.contains("suppressions=/some/folder/") })
    }
}
