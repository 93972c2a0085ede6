internal import Foundation

/// Certificates for tests: a good one, an expired one and one for another host; one authority for all.
package struct Certificates: Sendable {
    let checkout: Checkout

    package var folder: String { checkout.state + "/tls" }
    package var authority: String { folder + "/ca.pem" }

    /// The name of a certificate: `server`, `expired` or `wronghost`.
    func certificate(_ name: String) -> String { "\(folder)/\(name).pem" }
    func key(_ name: String) -> String { "\(folder)/\(name).key" }

    /// Makes them where there are none, or where they end within a day.
    package func make() async throws {
        try makeFolder(checkout.state)
        try await withFileLock(folder + ".lock") {
            let check = ["x509", "-in", certificate("server"), "-noout", "-checkend", "86400"]
            guard try await Command.run(Self.openssl, check).status != 0 else { return }
            let new = folder + ".new"
            removeFiles(new, folder)
            try makeFolder(new)
            try await run(
                ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"]
                    + ["-days", "3650", "-subj", "/CN=Trunkline test authority"]
                    + ["-addext", "basicConstraints=critical,CA:TRUE"]
                    + ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
                    + ["-keyout", "\(new)/ca.key", "-out", "\(new)/ca.pem"]
            )
            let local = "DNS:localhost,IP:127.0.0.1"
            try await make("server", in: new, commonName: "127.0.0.1", alternatives: local, days: 0...825)
            try await make("expired", in: new, commonName: "127.0.0.1", alternatives: local, days: -3 ... -1)
            try await make(
                "wronghost",
                in: new,
                commonName: "elsewhere.example",
                alternatives: "DNS:elsewhere.example",
                days: 0...825
            )
            try FileManager.default.moveItem(atPath: new, toPath: folder)
        }
    }

    private static let openssl = "/usr/bin/openssl"

    private func run(_ arguments: [String]) async throws {
        try await Command.run(Self.openssl, arguments).requireSuccess("openssl \(arguments[0])")
    }

    /// By `openssl ca`, which takes both dates in every version: `openssl x509` takes none before 3.4, and no negative days
    /// since.
    ///
    /// - Parameter days: from when to when it holds, counted from now.
    private func make(
        _ name: String,
        in folder: String,
        commonName: String,
        alternatives: String,
        days: ClosedRange<Int>
    ) async throws {
        let work = "\(folder)/\(name).work"
        try makeFolder(work)
        let configuration = """
            [ca]
            default_ca = test
            [test]
            database = \(work)/index
            new_certs_dir = \(work)
            rand_serial = yes
            policy = any
            [any]
            commonName = supplied
            [leaf]
            subjectAltName = \(alternatives)
            extendedKeyUsage = serverAuth
            keyUsage = digitalSignature
            basicConstraints = CA:FALSE

            """
        try writePrivately(configuration, to: work + "/ca.conf")
        try writePrivately("", to: work + "/index")
        try await run(
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"]
                + ["-subj", "/CN=\(commonName)", "-keyout", "\(folder)/\(name).key", "-out", "\(work)/\(name).csr"]
        )
        try await run(
            ["ca", "-batch", "-notext", "-config", "\(work)/ca.conf", "-extensions", "leaf", "-md", "sha256"]
                + ["-startdate", Self.date(days.lowerBound), "-enddate", Self.date(days.upperBound)]
                + ["-cert", "\(folder)/ca.pem", "-keyfile", "\(folder)/ca.key"]
                + ["-in", "\(work)/\(name).csr", "-out", "\(folder)/\(name).pem"]
        )
        removeFiles(work)
    }

    /// As openssl reads it: 20261130045204Z.
    private static func date(_ days: Int) -> String {
        let moment = Moment.rfc3339(microseconds: Moment.wall + Int64(days) * 86_400_000_000)
        return moment.filter(\.isNumber).prefix(14) + "Z"
    }
}
