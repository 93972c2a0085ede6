/// Polls until `condition` holds. The deadline is generous: it only ends a test that hangs. A machine that is busy with other
/// things has longer.
///
/// - Parameter limit: of ``QuietClock``.
/// - Parameter situation: what is said beside `what` when the time is over.
/// - Throws: ``KitError`` when the time is over, and what `condition` throws.
package func eventually(
    _ what: String,
    within limit: Duration = .seconds(60),
    every pause: Duration = .milliseconds(10),
    situation: () async -> String = { "" },
    _ condition: () async throws -> Bool
) async throws {
    let deadline = QuietClock.shared.now + limit
    while try await !condition() {
        guard QuietClock.shared.now < deadline else {
            throw KitError("not within \(limit): \(what) \(await situation())")
        }
        try await Task.sleep(for: pause)
    }
}
