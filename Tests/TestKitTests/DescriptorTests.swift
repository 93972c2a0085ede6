import Foundation
import TestKit
import Testing

/// A descriptor that is closed twice is closed, the second time, under somebody else: a test that has nothing to do with it fails.
@Suite struct DescriptorTests {
    @Test func aRefusedConnectionClosesNothingOfOthers() async {
        let rounds = 20_000
        let refusing = (0..<2).map { _ in
            Task {
                await offPool { (0..<rounds).count { _ in HTTPConnection(to: refusingPort) == nil } }
            }
        }
        let whole = (0..<2).map { _ in
            Task {
                await offPool {
                    (0..<rounds).allSatisfy { _ in
                        let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
                        let isOurs = fcntl(descriptor, F_GETFD) >= 0 && fcntl(descriptor, F_GETFD) >= 0
                        return close(descriptor) == 0 && isOurs
                    }
                }
            }
        }
        for task in refusing { #expect(await task.value == rounds) }
        for task in whole { #expect(await task.value) }
    }
}
