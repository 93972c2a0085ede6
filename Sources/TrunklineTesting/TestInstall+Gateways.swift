package import Foundation
private import Glibc
private import Synchronization
package import TestKit
package import TrunklineCore
private import TrunklineEngine

extension TestInstall {
    /// A gateway process of the built program.
    package final class GatewayHandle: Sendable {
        private let process: ChildProcess
        package let log: URL
        package let port: UInt16

        fileprivate init(_ process: ChildProcess, log: URL, port: UInt16) {
            self.process = process
            self.log = log
            self.port = port
        }

        package var pid: Int32 { process.pid }
        package var isRunning: Bool { process.isRunning }
        /// See ``ChildProcess/exitStatus``.
        package var exitStatus: Int32? { process.exitStatus }
        package func send(_ signal: Int32) { process.send(signal) }
        package func kill() { send(SIGKILL) }
        /// Waits for its end and gives the exit status.
        @discardableResult
        package func end() async -> Int32 { await process.end() }
        /// What it logged so far.
        package var logText: String { TestKit.text(of: log.path) }

        /// One request on a connection of its own.
        ///
        /// - Parameter key: the secret of an API key.
        package func ask(
            _ method: String,
            _ path: String,
            key: String? = nil,
            headers: [(String, String)] = [],
            json: String? = nil
        ) async throws -> HTTPAnswer {
            var headers = headers
            if let key { headers.append(("Authorization", "Bearer " + key)) }
            if json != nil, !headers.contains(where: { $0.0 == "Content-Type" }) {
                headers.append(("Content-Type", "application/json"))
            }
            return try await HTTPConnection.ask(
                method,
                path,
                headers: headers,
                body: Array((json ?? "").utf8),
                of: port
            )
        }
    }

    /// Starts a gateway on a free port, and waits until it listens and, unless told otherwise, can accept.
    package func startGateway(
        _ arguments: [String] = [],
        environment: [String: String] = [:],
        waitsUntilReady: Bool = true
    ) async throws -> GatewayHandle {
        let number = gateways.withLock { $0.count }
        let log = folder.appendingPathComponent("gateway-\(number).log")
        let output = folder.appendingPathComponent("gateway-\(number).out")
        let process = try ChildProcess(
            try TestEnvironment.program(),
            ["gateway", "--listen", "127.0.0.1:0"] + arguments,
            environment: self.environment(environment),
            output: output.path,
            errors: log.path
        )
        var port: UInt16?
        do {
            try await wait(for: "a gateway that listens") {
                guard process.isRunning else { throw Failure("the gateway ended: \(TestKit.text(of: log.path))") }
                port = announcedPort(in: TestKit.text(of: output.path))
                return port != nil
            }
        } catch {
            process.send(SIGKILL)
            throw error
        }
        let gateway = GatewayHandle(process, log: log, port: port ?? 0)
        gateways.withLock { $0.append(gateway) }
        if waitsUntilReady {
            try await wait(for: "a gateway that is ready") {
                try await gateway.ask("GET", "/readyz").text.contains(#""database":"ok","broker":"ok","keys":"ok""#)
            }
        }
        return gateway
    }

    /// Makes an API key without the program. Gateways that run hear of it within a second.
    package func makeAPIKey(
        _ scopes: Set<APIScope> = [.send, .read, .operate],
        workspace: String = "acme",
        line: String? = nil,
        purpose: Purpose = .order,
        requestsPerMinute: Int? = nil
    ) async throws -> (id: APIKeyID, secret: String) {
        let binding = try line.map { APIKey.Binding(line: try LineID($0), purpose: purpose) }
        let new = NewAPIKey(
            workspace: try WorkspaceID(workspace),
            scopes: scopes,
            binding: binding,
            requestsPerMinute: requestsPerMinute
        )
        return try await Operator.with(databaseURL: databaseURL, name: "trunkline test") { install in
            let (key, secret) = try await install.createAPIKey(new)
            return (key.id, secret.text)
        }
    }
}
