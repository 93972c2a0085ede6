internal import CPlatform
internal import Glibc

/// What is checked of a request before libcurl hears of it.
enum RequestCheck {
    /// How a URL reaches its peer.
    enum Route: Hashable {
        /// TLS, to any peer.
        case secure
        /// In clear text: only ever to a loopback address.
        case plainLoopback
    }

    /// Headers that decide where a message begins and ends, or who it is for.
    private static let reserved: Set<String> = ["host", "connection", "content-length", "transfer-encoding", "expect"]

    private static func refusal(_ reason: String) -> HTTPFailure {
        HTTPFailure(sent: .surelyNot, cause: .refused, reason: reason)
    }

    /// The route of `url`, read with libcurl's own parser: a second parser could see another host.
    static func route(of url: String) throws(HTTPFailure) -> Route {
        guard !url.isEmpty, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw refusal("the URL is empty or holds a character that is not printable ASCII")
        }
        guard let parsed = unsafe curl_url() else { preconditionFailure("out of memory") }
        defer { unsafe curl_url_cleanup(parsed) }
        guard unsafe curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK else {
            throw refusal("the URL is not valid")
        }
        guard unsafe part(CURLUPART_USER, of: parsed) == nil, unsafe part(CURLUPART_PASSWORD, of: parsed) == nil else {
            throw refusal("the URL holds a user name or password; credentials travel in a header")
        }
        switch unsafe part(CURLUPART_SCHEME, of: parsed) {
        case "https":
            return .secure
        case "http":
            guard let host = unsafe part(CURLUPART_HOST, of: parsed), host == "localhost" || isLoopback(address: host)
            else {
                throw refusal("http is only allowed to a loopback address; use https")
            }
            return .plainLoopback
        default:
            throw refusal("the URL is neither https nor http")
        }
    }

    private static func part(_ part: CURLUPart, of url: OpaquePointer) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard unsafe curl_url_get(url, part, &text, 0) == CURLUE_OK, let text = unsafe text else { return nil }
        defer { unsafe curl_free(text) }
        return unsafe String(cString: text)
    }

    /// Refuses what would end a header line early or contradict the framing of the message.
    static func check(headers: [(String, String)]) throws(HTTPFailure) {
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte) else {
                throw refusal("a header name is not a token")
            }
            guard value.utf8.allSatisfy({ ($0 >= 0x20 || $0 == 0x09) && $0 != 0x7F }) else {
                throw refusal("the value of header \(name) holds a control character")
            }
            guard !reserved.contains(name.lowercased()) else {
                throw refusal("header \(name) is set by the driver")
            }
        }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default:
            // RFC 9110, 5.6.2
            "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// Whether a numeric address is one of this machine's own; `[::1]` may carry its brackets.
    static func isLoopback(address text: String) -> Bool {
        var address4 = in_addr()
        if unsafe inet_pton(AF_INET, text, &address4) == 1 {
            return UInt32(bigEndian: address4.s_addr) >> 24 == 127
        }
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        var address6 = in6_addr()
        guard unsafe inet_pton(AF_INET6, bare, &address6) == 1 else { return false }
        return isLoopback(address6)
    }

    private static func isLoopback(_ address: in6_addr) -> Bool {
        unsafe withUnsafeBytes(of: address) { bytes in
            let zeros = unsafe bytes.prefix(10).allSatisfy { $0 == 0 }
            let one = unsafe bytes[10...14].allSatisfy { $0 == 0 } && bytes[15] == 1
            let mapped = unsafe bytes[10] == 0xFF && bytes[11] == 0xFF && bytes[12] == 127
            return zeros && (one || mapped)
        }
    }

    /// The same for an address that libcurl is about to connect to. Anything but IPv4 and IPv6 is not loopback.
    static func isLoopback(_ address: UnsafePointer<sockaddr>) -> Bool {
        switch unsafe Int32(address.pointee.sa_family) {
        case AF_INET:
            unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                unsafe UInt32(bigEndian: $0.pointee.sin_addr.s_addr) >> 24 == 127
            }
        case AF_INET6:
            unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                unsafe isLoopback($0.pointee.sin6_addr)
            }
        default:
            false
        }
    }
}
