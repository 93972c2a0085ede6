package import CurlDriver
package import TrunklineCore

// Where the ports of Core and the HTTP client meet: the only file that knows both.

extension HTTPRequest {
    /// The call as the client takes it, with the client's usual time-outs.
    package init(_ call: OutsideCall) {
        self.init(
            method: Method(call.method),
            url: call.url,
            headers: call.headers.map { ($0.name, $0.value) },
            body: call.body,
            onlyPublicHosts: call.onlyPublicHosts,
            wantedHeaders: call.wantedHeaders
        )
    }
}

extension HTTPRequest.Method {
    fileprivate init(_ method: OutsideCall.Method) {
        switch method {
        case .get: self = .get
        case .post: self = .post
        case .put: self = .put
        case .patch: self = .patch
        case .delete: self = .delete
        }
    }
}

extension OutsideAnswer {
    package init(_ response: HTTPResponse) {
        self.init(
            status: response.status,
            body: response.body,
            isTruncated: response.isTruncated,
            headers: response.headers.map { OutsideCall.Header($0.name, $0.value) }
        )
    }
}

extension OutsideFailure {
    package init(_ failure: HTTPFailure) {
        self.init(
            cause: Cause(failure.cause),
            mayHaveLeft: failure.sent == .maybe,
            status: failure.status,
            reason: failure.reason
        )
    }
}

extension OutsideFailure.Cause {
    fileprivate init(_ cause: HTTPFailure.Cause) {
        switch cause {
        case .refused: self = .refused
        case .held, .cancelled: self = .withdrawn
        case .shortage: self = .shortage
        case .resolve: self = .unresolved
        case .connect: self = .unreachable
        case .tls: self = .untrusted
        case .timeout: self = .timedOut
        case .replay, .broken: self = .broken
        }
    }
}

extension CallResult {
    /// What came of a call, in the words of the ports.
    package init(_ result: Result<HTTPResponse, HTTPFailure>) {
        self =
            switch result {
            case .success(let response): .success(OutsideAnswer(response))
            case .failure(let failure): .failure(OutsideFailure(failure))
            }
    }
}
