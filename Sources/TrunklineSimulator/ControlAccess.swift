/// Who may use the control surface: programs, and no page in a browser that came from somewhere else. A page may name this
/// address, or a name of its own that leads here (DNS rebinding); the browser says both.
struct ControlAccess: Sendable {
    /// The address that is listened on.
    private let host: String
    private let isEverywhere: Bool

    init(_ options: SimulatorOptions) {
        host = options.host.lowercased()
        isEverywhere = ["0.0.0.0", "::"].contains(host)
    }

    /// - Parameters:
    ///   - authority: the header `Host`.
    ///   - origin: the header `Origin`: whose page asks, when one does.
    ///   - site: the header `Sec-Fetch-Site`: what the browser thinks of that.
    /// - Throws: a refusal with the status 403.
    func check(authority: String?, origin: String?, site: String?) throws(ControlRefusal) {
        guard let authority = authority?.lowercased(), isOurs(Self.name(authority)) else {
            throw Self.refused(
                "host_not_allowed",
                "the header Host must name a loopback address or the address that the simulator listens on"
            )
        }
        let isForeign = site.map { !["same-origin", "none"].contains($0.lowercased()) } ?? false
        guard !isForeign, origin.map({ $0.lowercased() == "http://" + authority }) ?? true else {
            throw Self.refused("origin_not_allowed", "pages of another origin may not control the simulator")
        }
    }

    private static func refused(_ code: String, _ message: String) -> ControlRefusal {
        ControlRefusal(status: 403, code: code, message: message)
    }

    /// Without the port, and without the brackets of an IPv6 address.
    private static func name(_ authority: String) -> String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        return String(authority.prefix { $0 != ":" })
    }

    private func isOurs(_ name: String) -> Bool {
        if name == host || SimulatorOptions.isLoopback(name) { return true }
        // Nobody can make a written address lead somewhere else.
        return isEverywhere && (name.contains(":") || SimulatorOptions.isIPv4(name))
    }
}
