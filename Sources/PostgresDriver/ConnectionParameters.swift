internal import CPlatform
internal import Glibc

/// What a connection is made from: the parts of a URI or a connection string, with ours around them.
struct ConnectionParameters: Sendable {
    /// One server to try, as libpq's lists of hosts, addresses and ports name it.
    struct Host: Sendable {
        var name: String
        var address: String
        var port: String

        /// Whether an address must be looked up, which blocks.
        var needsResolution: Bool {
            unsafe address.isEmpty && !name.isEmpty && !name.hasPrefix("/") && !name.hasPrefix("@")
                && tl_is_address(name) == 0
        }
    }

    private var parsed: [(keyword: String, value: String)] = []
    private(set) var hosts: [Host] = []
    private let password: String?
    private let namesSessionAttributes: Bool
    /// What the server must prove, and what is said about that.
    let transport: DatabaseTransport

    /// Errors never repeat any of `url`: a mistyped one has its password anywhere.
    init(url: String) throws(PostgresError) {
        var complaint: UnsafeMutablePointer<CChar>?
        guard let options = unsafe PQconninfoParse(url, &complaint) else {
            unsafe PQfreemem(complaint)
            throw PostgresError(
                code: .invalidURL,
                message: "the database URL is neither a URI (postgresql://…) nor a list of keyword=value"
            )
        }
        defer { unsafe PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val {
                let (keyword, value) = unsafe (String(cString: keyword), String(cString: value))
                values[keyword] = value
                parsed.append((keyword, value))
            }
            unsafe option += 1
        }
        password = values["password"]
        transport = DatabaseTransport(values)
        namesSessionAttributes = unsafe values["target_session_attrs"] != nil || getenv("PGTARGETSESSIONATTRS") != nil
        let ports = Self.list(values["port"] ?? "")
        for port in ports where !port.isEmpty {
            guard let number = Int(port), (1...65_535).contains(number) else {
                throw PostgresError(code: .invalidURL, message: "the port of the database URL is not 1 to 65535")
            }
        }
        // An address in the URL or the environment needs no look-up, and a service file may name a host: both are libpq's.
        guard values["hostaddr"] == nil, unsafe getenv("PGHOSTADDR") == nil, values["service"] == nil else { return }
        guard let names = unsafe values["host"] ?? getenv("PGHOST").map({ unsafe String(cString: $0) }) else { return }
        let list = Self.list(names)
        guard ports.count == 1 || ports.count == list.count else {
            throw PostgresError(code: .invalidURL, message: "the database URL has not as many ports as hosts")
        }
        for (index, name) in list.enumerated() {
            hosts.append(Host(name: name, address: "", port: ports.count == 1 ? ports[0] : ports[index]))
        }
    }

    /// Of the role, or of the key of its certificate.
    var holdsPassword: Bool {
        parsed.contains { ["password", "sslpassword"].contains($0.keyword) && !$0.value.isEmpty }
    }

    var needsResolution: Bool { hosts.contains(where: \.needsResolution) }

    /// Blocks for as long as the system's resolver does. A name with several addresses becomes several servers to try; a
    /// name without any is left out unless none has one.
    func resolved() -> Result<ConnectionParameters, PostgresError> {
        var copy = self
        copy.hosts = []
        var reason = ""
        for host in hosts {
            guard host.needsResolution else {
                copy.hosts.append(host)
                continue
            }
            var (code, addresses): (Int32, [String]) = (0, [])
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4_096) { buffer in
                guard let base = buffer.baseAddress else { return }
                code = unsafe tl_resolve(host.name, base, buffer.count)
                addresses = unsafe String(cString: base).split(separator: ",").map { String($0) }
            }
            if code != 0 { reason = unsafe String(cString: gai_strerror(code)) }
            copy.hosts += addresses.map { Host(name: host.name, address: $0, port: host.port) }
        }
        if copy.hosts.isEmpty {
            return .failure(
                PostgresError(code: .cannotConnect, message: "the host of the database URL has no address: \(reason)")
            )
        }
        return .success(copy)
    }

    /// The same servers, beginning with the one after the first `count` ones.
    ///
    /// libpq tries them in order and, driven without blocking, waits for each as long as the kernel does: behind a machine
    /// that is gone and answers nothing, the next one would never have its turn within our time-out.
    func rotated(by count: Int) -> ConnectionParameters {
        guard hosts.count > 1 else { return self }
        var copy = self
        let first = count % hosts.count
        copy.hosts = Array(hosts[first...] + hosts[..<first])
        return copy
    }

    /// Keywords and values for libpq, later ones winning.
    func keywords(applicationName: String) -> [(keyword: String, value: String)] {
        var list: [(String, String)] = [
            // A dead peer is noticed within 15 s whether we are sending (unacknowledged data) or waiting (keepalives).
            ("tcp_user_timeout", "15000"),
            ("keepalives", "1"),
            ("keepalives_idle", "5"),
            ("keepalives_interval", "3"),
            ("keepalives_count", "3"),
            // Asking a Kerberos library for credentials can block on its name servers.
            ("gssencmode", "disable"),
        ]
        // Of several servers only one can be written to; which, changes with every failover.
        if hosts.count > 1, !namesSessionAttributes { list.append(("target_session_attrs", "read-write")) }
        list += transport.defaults
        list += parsed
        if !hosts.isEmpty {
            list.append(("host", hosts.map(\.name).joined(separator: ",")))
            if hosts.contains(where: { !$0.address.isEmpty }) {
                list.append(("hostaddr", hosts.map(\.address).joined(separator: ",")))
            }
            if hosts.contains(where: { !$0.port.isEmpty }) {
                list.append(("port", hosts.map(\.port).joined(separator: ",")))
            }
        }
        list.append(("application_name", applicationName))
        list.append(("client_encoding", "UTF8"))
        return list
    }

    /// `message` without the password, should any library or server ever repeat it.
    func redacted(_ message: String) -> String {
        guard let password, !password.isEmpty else { return message }
        var rest = message[...]
        var text = ""
        while let range = rest.firstRange(of: password) {
            text += rest[..<range.lowerBound] + "•••"
            rest = rest[range.upperBound...]
        }
        return text + rest
    }

    /// libpq's lists have empty members.
    private static func list(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
    }
}
