/// A way to build in which a program watches itself and reports what is wrong with its memory.
package enum Sanitizer: String, CaseIterable, Sendable {
    /// ThreadSanitizer: two threads at the same memory without an order between them.
    case thread
    /// AddressSanitizer: memory used after its end or beyond its bounds; and LeakSanitizer, when a process ends.
    case address

    /// The environment in which reports go to files of their own, whose names begin with `path`, whichever process makes them:
    /// tests start programs whose output somebody else reads.
    ///
    /// - Parameter folder: where the suppressions are, each with its reason.
    func variables(reportsAt path: String, suppressionsIn folder: String) -> [String: String] {
        let common = "log_path=\(path):exitcode=66"
        switch self {
        case .thread:
            return ["TSAN_OPTIONS": common + ":halt_on_error=0:suppressions=\(folder)/thread.txt"]
        case .address:
            return [
                "ASAN_OPTIONS": common + ":detect_leaks=1:detect_stack_use_after_return=1",
                "LSAN_OPTIONS": "suppressions=\(folder)/leak.txt:print_suppressions=0",
            ]
        }
    }

    /// The first line of every report in what a sanitized process wrote.
    static func reports(in text: String) -> [Substring] {
        text.split(separator: "\n").filter {
            $0.contains(/(?:WARNING|ERROR|FATAL): (?:Thread|Address|Leak)Sanitizer\b/)
        }
    }
}
