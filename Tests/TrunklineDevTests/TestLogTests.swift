import Testing
import TrunklineDev

/// What the summary of `./dev test` is made from.
@Suite struct TestLogTests {
    @Test func testsAreCountedAndRunsAreNot() {
        let log = TestLog(
            """
            ◇ Test "one" started.
            ✔ Test "one" passed after 0.001 seconds.
            ✔ Test "with arguments" with 3 test cases passed after 0.002 seconds.
            ✘ Test two() failed after 0.5 seconds with 1 issue.
            ✔ Suite Something passed after 0.5 seconds.
            ✘ Test run with 3 tests in 1 suite failed after 0.5 seconds with 1 issue.
            ✔ Test run with 1 test in 1 suite passed after 0.5 seconds.
            """
        )
        #expect(log.passed == 2 && log.failed == 1)
        #expect(log.hasPassedRun && log.skipped.isEmpty)
    }

    @Test func whatWentWrongIsSaidAgainAtTheEnd() {
        let log = TestLog(
            """
            ◇ Test two() started.
            ✘ Test two() recorded an issue at TwoTests.swift:9:5: Expectation failed: 1 == 2
            ↳ a comment
            ◇ Test three() started.
            ↳ Target Platform: some
            ✘ Test two() failed after 0.5 seconds with 1 issue.
            ✘ Test run with 2 tests in 1 suite failed after 0.5 seconds with 1 issue.
            error: Exited with unexpected signal code 11
            """
        )
        #expect(
            log.issues == [
                "✘ Test two() recorded an issue at TwoTests.swift:9:5: Expectation failed: 1 == 2",
                "↳ a comment",
                "error: Exited with unexpected signal code 11",
            ]
        )
    }

    // Not as arguments of tests, whose lines would be read by the summary of the run that they are in.

    @Test func whatWasSkippedIsFound() {
        let lines = [
            #"➜ Test "one" skipped."#, #"➜ Test one() skipped: "for now""#, "➜ Suite Some skipped.",
            "Test Case 'A.b' skipped (0.1 seconds)", "Executed 3 tests, with 1 test skipped and 0 failures",
        ]
        for (number, line) in lines.enumerated() {
            #expect(TestLog("before\n\(line)\nafter\n").skipped.count == 1, "number \(number)")
        }
    }

    @Test func whatOnlyTellsOfSkippingIsNone() {
        let lines = [
            #"✔ Test "rows are skipped over" passed after 1 seconds."#, "with 0 tests skipped", "skipped",
        ]
        for (number, line) in lines.enumerated() {
            #expect(TestLog(line).skipped.isEmpty, "number \(number)")
        }
    }

    @Test func aRunWithoutTestsHasNotPassed() {
        for text in ["", "✔ Test run with 0 tests in 0 suites passed after 0.001 seconds.", "error: no such test"] {
            #expect(!TestLog(text).hasPassedRun)
        }
    }
}
