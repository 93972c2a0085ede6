internal import CPlatform
internal import Glibc

// What came of a finished transfer.
extension Transfer {
    /// What a finished transfer means. Decided by what was allowed to leave, never by the code alone.
    func outcome(_ code: CURLcode) -> Result<HTTPResponse, HTTPFailure> {
        var status = 0
        unsafe Self.check(tl_curl_get_status(easy, &status))
        // A body that was cut short by us is a whole answer as far as anyone reads it.
        if mayHaveLeft, veto == nil, status >= 200, sawEndOfHeaders, code == CURLE_OK || isTruncated {
            return .success(
                HTTPResponse(status: status, body: body, isTruncated: isTruncated, headers: keptHeaders())
            )
        }
        return .failure(failure(code, status: status))
    }

    /// The answer was not waited for any longer; `cause` says why.
    func abandoned(_ cause: HTTPFailure.Cause, reason: String) -> Result<HTTPResponse, HTTPFailure> {
        var status = 0
        unsafe Self.check(tl_curl_get_status(easy, &status))
        if mayHaveLeft, status >= 200, isTruncated {
            return outcome(CURLE_OK)
        }
        return .failure(
            HTTPFailure(
                code: cause == .timeout ? Int32(CURLE_OPERATION_TIMEDOUT.rawValue) : 0,
                sent: mayHaveLeft ? .maybe : .surelyNot,
                cause: cause,
                status: mayHaveLeft && status > 0 ? status : nil,
                reason: reason
            )
        )
    }

    private func keptHeaders() -> [HTTPResponse.Header] {
        wantedHeaders.compactMap { name in
            var header: UnsafeMutablePointer<curl_header>?
            guard unsafe curl_easy_header(easy, name, 0, UInt32(CURLH_HEADER), -1, &header) == CURLHE_OK,
                let header = unsafe header,
                let value = unsafe header.pointee.value
            else { return nil }
            return unsafe HTTPResponse.Header(name, String(String(cString: value).prefix(256)))
        }
    }

    private func failure(_ code: CURLcode, status: Int) -> HTTPFailure {
        let number = Int32(bitPattern: code.rawValue)
        switch veto {
        case .held:
            return HTTPFailure(
                code: number,
                sent: .surelyNot,
                cause: .held,
                reason: "the last check before sending said no"
            )
        case .foreignAddress:
            return foreignAddress(number)
        case .replay:
            return HTTPFailure(
                code: number,
                sent: .maybe,
                cause: .replay,
                reason: "the kept connection ended without an answer; a hidden second send was stopped"
            )
        case nil:
            if hasOnlyForeignAddresses { return foreignAddress(number) }
        }
        let words = unsafe String(cString: curl_easy_strerror(code))
        if mayHaveLeft {
            let broke =
                status > 0 ? "the answer (status \(status)) broke off" : "no answer after the request may have left"
            return HTTPFailure(
                code: number,
                sent: .maybe,
                cause: code == CURLE_OPERATION_TIMEDOUT ? .timeout : .broken,
                status: status > 0 ? status : nil,
                reason: code == CURLE_OK ? broke : "\(broke): \(words)"
            )
        }
        if lackedDescriptor || metShortage(code) {
            return HTTPFailure(
                code: number,
                sent: .surelyNot,
                cause: .shortage,
                reason: "not sent: this machine had no descriptor or port for a connection (\(words))"
            )
        }
        return HTTPFailure(
            code: number,
            sent: .surelyNot,
            cause: Self.causeBeforeSending(code),
            reason: "not sent: \(words)"
        )
    }

    private func foreignAddress(_ code: Int32) -> HTTPFailure {
        HTTPFailure(
            code: code,
            sent: .surelyNot,
            cause: .refused,
            reason: onlyPublicHosts
                ? "the host is not in the public internet, and may not be connected to"
                : "http is only allowed to a loopback address, and the name leads elsewhere"
        )
    }

    /// Whether the connection failed for want of something on this machine. The look-up of a name and the loading of
    /// certificates lose the error's number on its way: there, whether a descriptor can be had now decides.
    private func metShortage(_ code: CURLcode) -> Bool {
        if code == CURLE_COULDNT_CONNECT {
            var number = 0
            unsafe Self.check(tl_curl_get_errno(easy, &number))
            return Self.isShortage(Int32(truncatingIfNeeded: number))
        }
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor < 0 else {
            close(descriptor)
            return false
        }
        return Self.isShortage(errno)
    }

    /// EADDRNOTAVAIL: every port for outgoing connections to that peer is in use.
    static func isShortage(_ number: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(number)
    }

    private static func causeBeforeSending(_ code: CURLcode) -> HTTPFailure.Cause {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL:
            .refused
        case CURLE_COULDNT_RESOLVE_HOST:
            .resolve
        case CURLE_OPERATION_TIMEDOUT:
            .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT:
            .tls
        default:
            .connect
        }
    }
}
