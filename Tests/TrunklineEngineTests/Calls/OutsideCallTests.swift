import CurlDriver
import Testing
import TrunklineCore
import TrunklineEngine

/// The words of the HTTP client and those of the carriers' port say the same.
@Suite struct OutsideCallTests {
    @Test(arguments: [true, false])
    func aCallIsTakenOverWhole(_ onlyPublicHosts: Bool) {
        let methods: [(OutsideCall.Method, HTTPRequest.Method)] = [
            (.get, .get), (.post, .post), (.put, .put), (.patch, .patch), (.delete, .delete),
        ]
        for (method, wanted) in methods {
            let request = HTTPRequest(
                OutsideCall(
                    method,
                    "https://a.example/b?c",
                    headers: [.init("X-First", "1"), .init("X-Second", "2")],
                    body: method == .get ? nil : [1, 2],
                    onlyPublicHosts: onlyPublicHosts,
                    wantedHeaders: ["Retry-After", "X-Limit"]
                )
            )
            #expect(request.method == wanted && request.method.rawValue == method.rawValue)
            #expect(request.url == "https://a.example/b?c")
            #expect(request.headers.map(\.0) == ["X-First", "X-Second"] && request.headers.map(\.1) == ["1", "2"])
            #expect(request.body == (method == .get ? nil : [1, 2]))
            #expect(request.onlyPublicHosts == onlyPublicHosts)
            #expect(request.wantedHeaders == ["Retry-After", "X-Limit"])
        }
    }

    @Test func anAnswerIsTakenOverWhole() throws {
        let response = HTTPResponse(
            status: 429,
            body: [1],
            isTruncated: true,
            headers: [.init("Retry-After", "7"), .init("x-limit", "9")]
        )
        let answer = try CallResult(.success(response)).get()
        #expect(answer.status == 429 && answer.body == [1] && answer.isTruncated)
        #expect(answer.header("retry-after") == "7" && answer.header("X-Limit") == "9" && answer.header("Other") == nil)
    }

    @Test func everyFailureKeepsItsMeaning() {
        let causes: [(HTTPFailure.Cause, OutsideFailure.Cause)] = [
            (.refused, .refused), (.held, .withdrawn), (.cancelled, .withdrawn), (.shortage, .shortage),
            (.resolve, .unresolved), (.connect, .unreachable), (.tls, .untrusted), (.timeout, .timedOut),
            (.replay, .broken), (.broken, .broken),
        ]
        for (cause, wanted) in causes {
            for sent in [HTTPFailure.Sent.surelyNot, .maybe] {
                let result = CallResult(.failure(HTTPFailure(sent: sent, cause: cause, status: 500, reason: "why")))
                let failure = OutsideFailure(cause: wanted, mayHaveLeft: sent == .maybe, status: 500, reason: "why")
                #expect(result == .failure(failure))
            }
        }
    }
}
