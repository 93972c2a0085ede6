internal import CPlatform
internal import Glibc

/// What a database server must prove, and who may read along, by its connection string and libpq's variables.
///
/// On this machine (a Unix socket, `localhost`, 127.0.0.0/8, ::1) libpq's own default counts. Anywhere else it is
/// `sslmode=verify-full`, unless the URL or `PGSSLMODE` ask for less aloud.
package struct DatabaseTransport: Sendable, Hashable {
    /// Whether every server is this machine. False with a `service`, whose file is libpq's to read.
    package let isLocal: Bool
    /// libpq's `sslmode` as it is in effect; nil: its default, on this machine.
    package let mode: String?
    /// Whether nobody asked for the mode.
    package let isDefault: Bool
    /// Keywords for libpq that stand in for what nobody said.
    let defaults: [(keyword: String, value: String)]

    package init(url: String) throws(PostgresError) { self = try ConnectionParameters(url: url).transport }

    init(_ values: [String: String]) {
        isLocal = Self.isLocal(values)
        let asked = values["sslmode"] ?? Self.variable("PGSSLMODE")
        isDefault = asked == nil
        mode = asked ?? (isLocal ? nil : "verify-full")
        guard let mode, isDefault else {
            defaults = []
            return
        }
        defaults =
            [("sslmode", mode)]
            + (Self.hasAuthorities(values) ? [] : [("sslrootcert", Self.systemAuthorities)])
    }

    /// What a person should know who did not mean it; nil when the server is on this machine or proves who it is.
    package var warning: String? {
        guard !isLocal, let mode, mode != "verify-full" else { return nil }
        switch mode {
        case "verify-ca":
            return "sslmode=verify-ca: the database proves its authority, and not that it is the host that was named"
        case "require":
            return
                "sslmode=require: the connection to the database is encrypted, and anybody on the way can pose as the database"
        default:
            return
                "sslmode=\(mode): password and customers' data may travel unencrypted to whoever poses as the database"
        }
    }

    /// How to mend a connection that failed for a default of ours; nil when it was not ours.
    var advice: String? {
        guard isDefault, !isLocal else { return nil }
        return
            "off this machine sslmode=verify-full is the default: name the server's authority with sslrootcert=FILE, or ask "
            + "for less aloud (sslmode=require, sslmode=disable)"
    }

    private static func isLocal(_ values: [String: String]) -> Bool {
        func list(_ text: String) -> [String] {
            text.split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
        }
        if values["service"] != nil || variable("PGSERVICE") != nil { return false }
        if let addresses = values["hostaddr"] ?? variable("PGHOSTADDR") {
            return list(addresses).allSatisfy { unsafe tl_is_loopback($0) == 1 }
        }
        guard let names = values["host"] ?? variable("PGHOST") else { return true }
        return list(names).allSatisfy { name in
            unsafe name.isEmpty || name.hasPrefix("/") || name.hasPrefix("@") || tl_is_loopback(name) == 1
        }
    }

    /// Where Debian keeps the authorities that the system trusts.
    private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    /// Whether libpq finds authorities by itself.
    private static func hasAuthorities(_ values: [String: String]) -> Bool {
        if values["sslrootcert"] != nil || variable("PGSSLROOTCERT") != nil { return true }
        guard let home = variable("HOME") else { return false }
        return unsafe access(home + "/.postgresql/root.crt", R_OK) == 0
    }

    private static func variable(_ name: String) -> String? { unsafe getenv(name).map { unsafe String(cString: $0) } }

    package static func == (left: DatabaseTransport, right: DatabaseTransport) -> Bool {
        left.isLocal == right.isLocal && left.mode == right.mode && left.isDefault == right.isDefault
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(isLocal)
        hasher.combine(mode)
    }
}

extension PostgresSession {
    /// Whether the connection string holds a password, however it is written: everybody on a machine reads command lines.
    ///
    /// Throws `invalidURL` for what libpq cannot read, of which nobody can tell.
    package static func holdsPassword(url: String) throws(PostgresError) -> Bool {
        try ConnectionParameters(url: url).holdsPassword
    }
}
