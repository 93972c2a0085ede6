/// A virtual host of one test, on the broker that all tests of a run share.
package enum VirtualHost {
    /// Runs `body` with the URL of a new virtual host, which is deleted afterwards.
    package static func with<Value>(_ body: (String) async throws -> Value) async throws -> Value {
        let (control, name) = (try BrokerControl.shared(), freshName("test"))
        try await control.makeVirtualHost(name)
        let value: Value
        do {
            value = try await body(try TestEnvironment.url(try TestEnvironment.brokerURL(), naming: name))
        } catch {
            // What the body threw matters more.
            try? await control.deleteVirtualHost(name)
            throw error
        }
        try await control.deleteVirtualHost(name)
        return value
    }
}
