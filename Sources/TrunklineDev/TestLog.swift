internal import Foundation

/// What runs of `swift test` have said, line by line.
package struct TestLog: Sendable {
    package private(set) var passed = 0
    package private(set) var failed = 0
    /// Lines that tell of tests that were not run: they were not shown to work.
    package private(set) var skipped: [String] = []
    /// Whether any run had tests, and they passed.
    package private(set) var hasPassedRun = false
    /// What was found wrong, with the lines that say more of it; of a long run a reader sees the end, and these are there again.
    package private(set) var issues: [String] = []
    private var isInIssue = false

    package init(_ text: String) {
        for line in text.split(separator: "\n") { read(line) }
    }

    private mutating func read(_ line: Substring) {
        // "✘ Test two() recorded an issue at File.swift:1:2: Expectation failed", and under it "↳ a comment".
        let isMore = line.hasPrefix("↳ ") || line.hasPrefix("  ")
        isInIssue = isMore ? isInIssue : line.hasPrefix("✘ Test ") && line.contains(" recorded an issue ")
        if isInIssue || line.hasPrefix("error: ") { issues.append(String(line.prefix(400))) }
        if line.contains(" skipped"), line.contains(Self.skip) { skipped.append(String(line)) }
        if line.contains("Test run with ") {
            hasPassedRun = hasPassedRun || line.contains(/Test run with [1-9][0-9]* tests? .*passed/)
            return
        }
        // "✔ Test "a name" passed after 0.001 seconds."
        guard let space = line.firstIndex(of: " "), space > line.startIndex else { return }
        let rest = line[space...]
        guard rest.hasPrefix(" Test ") else { return }
        if rest.contains(" passed after") { passed += 1 }
        if rest.contains(" failed after") { failed += 1 }
    }

    private static var skip: Regex<Substring> {
        /(?:Test|Suite) .* skipped(?:\.|: .*)$|^Test Case .* skipped|with [1-9][0-9]* tests? skipped/
    }
}
