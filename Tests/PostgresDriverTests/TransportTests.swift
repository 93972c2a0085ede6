import Foundation
import PostgresDriver
import TestKit
import Testing

/// Off this machine the server proves who it is, unless somebody asked for less aloud.
@Suite struct TransportRuleTests {
    @Test(arguments: [
        "postgresql://u@127.0.0.1/d", "postgresql://u@127.8.0.1:6000/d", "postgresql://u@localhost/d",
        "postgresql://u@LOCALHOST/d", "postgresql://u@[::1]/d", "postgresql:///d", "host=/run/postgresql dbname=d",
        "host=@abstract dbname=d", "postgresql://u@localhost,127.0.0.1/d", "host=db.example hostaddr=127.0.0.1",
    ])
    func thisMachineHasLibpqsDefault(_ url: String) throws {
        let transport = try DatabaseTransport(url: url)
        #expect(transport.isLocal && transport.mode == nil && transport.warning == nil)
    }

    @Test(arguments: [
        "postgresql://u@db.example/d", "postgresql://u@10.0.0.7/d", "postgresql://u@[2001:db8::1]/d",
        "postgresql://u@localhost,db.example/d", "postgresql://u@128.0.0.1/d", "postgresql://u@0.0.0.0/d",
        "host=localhost hostaddr=10.0.0.7", "host=127.0.0.1.example.com", "service=there",
    ])
    func anywhereElseTheServerIsVerified(_ url: String) throws {
        let transport = try DatabaseTransport(url: url)
        #expect(
            !transport.isLocal && transport.mode == "verify-full" && transport.isDefault && transport.warning == nil
        )
    }

    @Test(arguments: ["disable", "allow", "prefer", "require", "verify-ca"])
    func whoAsksForLessHasItAndIsTold(_ mode: String) throws {
        let transport = try DatabaseTransport(url: "postgresql://u@db.example/d?sslmode=\(mode)")
        #expect(transport.mode == mode && !transport.isDefault)
        #expect(transport.warning?.contains("sslmode=\(mode)") == true)
        #expect(try DatabaseTransport(url: "postgresql://u@127.0.0.1/d?sslmode=\(mode)").warning == nil)
        #expect(try DatabaseTransport(url: "postgresql://u@db.example/d?sslmode=verify-full").warning == nil)
    }

    @Test(arguments: [
        "host=x password=SECRET", "host=x password = SECRET", "host=x password= 'SECRET'", "postgresql://u:SECRET@x/d",
        "postgresql://x/d?password=SECRET", "postgresql://x/d?pass%77ord=SECRET", "postgresql://u%3a:SECRET@x/d",
        "postgresql://x/d?sslpassword=SECRET", "host=x\tpassword\t=\tSECRET",
    ])
    func aPasswordIsFoundHoweverItIsWritten(_ url: String) throws {
        #expect(try PostgresSession.holdsPassword(url: url))
    }

    @Test(arguments: [
        "postgresql://u@x/password", "host=x user=password", "postgresql://x/d?passfile=/p", "dbname='a password=b'",
    ])
    func whatIsNoPasswordIsNone(_ url: String) throws {
        #expect(try !PostgresSession.holdsPassword(url: url))
    }
}

/// Against a server that speaks TLS with certificates of ours. It listens on loopback; `0.0.0.0` leads there too, and is
/// no address of this machine by the rule.
@Suite struct DatabaseTLSTests {
    private struct Server {
        let database: PrivateDatabase
        let folder: String

        func url(host: String, _ query: String) throws -> String {
            var parts = try #require(URLComponents(string: database.url))
            parts.host = host
            parts.path = "/postgres"
            parts.query = query.isEmpty ? nil : query
            return try #require(parts.string)
        }

        /// Has the server show this certificate from now on; nil: speak no TLS.
        func show(_ certificate: String?) async throws {
            try await PostgresSession.withSession(url: database.url, applicationName: "tests") { session in
                if let certificate {
                    // Through the server, so that the key is its user's own.
                    for kind in ["pem", "key"] {
                        let text = try String(contentsOfFile: "\(folder)/\(certificate).\(kind)", encoding: .utf8)
                        try await session.script(
                            "copy (select unnest(string_to_array('\(text)', E'\\n'))) to program 'umask 077; cat > \(certificate).\(kind)'"
                        )
                    }
                    try await session.script("alter system set ssl_cert_file = '\(certificate).pem'")
                    try await session.script("alter system set ssl_key_file = '\(certificate).key'")
                }
                try await session.script("alter system set ssl = \(certificate == nil ? "off" : "on")")
                try await session.query("select pg_reload_conf()")
            }
            try await eventually("the server to show \(certificate ?? "nothing")") {
                try await PostgresSession.withSession(url: database.url, applicationName: "tests") { session in
                    let now = try await session.query("select current_setting('ssl'), current_setting('ssl_cert_file')")
                    return certificate == nil
                        ? now.text(0, 0) == "off" : now.text(0, 1) == certificate.map { $0 + ".pem" }
                }
            }
        }

        func state(_ url: String) async throws -> Bool? {
            try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                try await session.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()").bool(0, 0)
            }
        }

        func refusal(_ url: String) async throws -> String {
            let error = await #expect(throws: PostgresError.self, "\(url)") { _ = try await state(url) }
            #expect(error?.code == .cannotConnect)
            return error?.message ?? ""
        }
    }

    @Test func aServerIsUsedOnlyWhenItProvesWhoItIs() async throws {
        try await PrivateDatabase.with { database in
            let server = Server(database: database, folder: try TestEnvironment.variable("TRUNKLINE_TEST_TLS_DIR"))
            let verified = "sslmode=verify-full&sslrootcert=\(server.folder)/ca.pem"

            // Plaintext: what was to be verified is refused, also when nobody wrote a mode; what was asked for aloud goes.
            try await server.show(nil)
            #expect(try await server.refusal(server.url(host: "127.0.0.1", verified)).contains("SSL"))
            let advised = try await server.refusal(server.url(host: "0.0.0.0", ""))
            #expect(advised.contains("SSL") && advised.contains("sslmode=verify-full is the default"), "\(advised)")
            #expect(try await server.state(server.url(host: "0.0.0.0", "sslmode=disable")) == false)

            try await server.show("server")
            for host in ["127.0.0.1", "localhost"] {
                #expect(try await server.state(server.url(host: host, verified)) == true, "\(host)")
            }
            // Without our own authority the system's count, and none of those signed this.
            let stranger = try await server.refusal(server.url(host: "0.0.0.0", ""))
            #expect(stranger.contains("certificate") && stranger.contains("sslrootcert=FILE"), "\(stranger)")
            // The authority is right, and the name is not the certificate's.
            let other = try await server.refusal(server.url(host: "0.0.0.0", "sslrootcert=\(server.folder)/ca.pem"))
            #expect(other.contains("does not match host name"), "\(other)")
            #expect(try await server.state(server.url(host: "0.0.0.0", "sslmode=require")) == true)

            try await server.show("expired")
            #expect(
                try await server.refusal(server.url(host: "127.0.0.1", verified)).contains("certificate verify failed")
            )
            try await server.show("wronghost")
            #expect(try await server.refusal(server.url(host: "127.0.0.1", verified)).contains("elsewhere.example"))
        }
    }
}
