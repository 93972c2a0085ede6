import CurlDriver
import EventLoop
import Glibc
import Synchronization
import TestKit

typealias Answer = Result<HTTPResponse, HTTPFailure>

extension Answer {
    var response: HTTPResponse? { try? get() }
    var failure: HTTPFailure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}

/// A driver on a loop of its own.
final class Harness: @unchecked Sendable {
    // Unchecked: `driver` is touched on the loop only.

    let loop: EventLoop
    private(set) var driver: CurlDriver!

    /// Every test runs with a proxy in the environment that nobody may use; set before libcurl looks for the first time.
    private static let poisonEnvironment: Void = {
        let proxy = proxyOfTheEnvironment.url()
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] { setenv(name, proxy, 1) }
        unsetenv("no_proxy")
        unsetenv("NO_PROXY")
    }()
    static let proxyOfTheEnvironment = RawServer(answering: "HTTP/1.1 502 Proxy\r\nContent-Length: 0\r\n\r\n")

    private init() {
        _ = Self.poisonEnvironment
        loop = EventLoop(name: "curl-test")
    }

    static func with<Value>(
        calls: Int = 8,
        authorities: String? = nil,
        replayGuard: Bool = true,
        connectTo: String? = nil,
        alsoPublic: [String] = [],
        _ body: (Harness) async throws -> Value
    ) async rethrows -> Value {
        let harness = Harness()
        harness.loop.start()
        await harness.onLoop {
            $0.driver = CurlDriver(
                loop: $0.loop,
                maximumCalls: calls,
                certificateAuthorities: authorities,
                replayGuard: replayGuard,
                connectTo: connectTo,
                alsoPublic: alsoPublic
            )
        }
        do {
            let value = try await body(harness)
            await harness.end()
            return value
        } catch {
            await harness.end()
            throw error
        }
    }

    private func end() async {
        await onLoop {
            $0.driver.close()
            $0.driver = nil
        }
        loop.stop()
        await offPool { self.loop.join() }
    }

    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (Harness) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            loop.run { continuation.resume(returning: body(self)) }
        }
    }

    func call(_ request: HTTPRequest, mayLeave: @escaping @Sendable () -> Bool = { true }) async -> Answer {
        await withCheckedContinuation { continuation in
            loop.run { [self] in
                // A second call of `done` would trap in the continuation.
                driver.send(request, mayLeave: mayLeave) { continuation.resume(returning: $0) }
            }
        }
    }
}

/// Counts from any thread.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add() { count.add(1, ordering: .sequentiallyConsistent) }
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
}

func get(_ url: String, total: Duration = .seconds(20)) -> HTTPRequest {
    HTTPRequest(method: .get, url: url, totalTimeout: total)
}

func post(_ url: String, _ body: String = "{}", total: Duration = .seconds(20)) -> HTTPRequest {
    HTTPRequest(
        method: .post,
        url: url,
        headers: [("Content-Type", "application/json"), ("Authorization", "Bearer secret")],
        body: Array(body.utf8),
        totalTimeout: total
    )
}

let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 11\r\n\r\n{\"id\":\"a1\"}"
