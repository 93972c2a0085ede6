/// A request to a server of this machine that answers at once, like the control surface of a simulator.
package enum SmallRequest {
    /// The body of the answer.
    ///
    /// - Throws: ``KitError`` without an answer with a status of the 200s.
    @discardableResult
    package static func send(
        _ method: String,
        _ path: String,
        _ body: String = "",
        to port: UInt16
    ) async throws(KitError) -> String {
        let answer = try await HTTPConnection.ask(method, path, body: Array(body.utf8), of: port)
        guard (200..<300).contains(answer.status) else {
            throw KitError("\(method) \(path) was refused: \(answer.status) \(answer.text)")
        }
        return answer.text
    }
}
