import CPlatform
import Glibc
import TestKit
import Testing

@testable import CurlDriver

@Suite(.timeLimit(.minutes(2))) struct TLSTests {
    /// Where the certificates lie.
    private static func folder() throws -> String { try TestEnvironment.variable("TRUNKLINE_TEST_TLS_DIR") }

    private func call(
        _ certificate: String,
        options: [String] = [],
        authorities: String?,
        asked: Counter
    ) async throws -> Answer {
        let server = try await TLSServer.start(
            certificate: certificate,
            folder: Self.folder(),
            options: ["-www"] + options
        )
        defer { server.stop() }
        return await Harness.with(authorities: authorities) { harness in
            await harness.call(get("https://127.0.0.1:\(server.port)/")) {
                asked.add()
                return true
            }
        }
    }

    @Test func aTrustedCertificateForTheRightHostIsSpokenTo() async throws {
        let asked = Counter()
        let authority = try Self.folder() + "/ca.pem"
        let answer = try await call("server", authorities: authority, asked: asked)
        #expect(answer.response?.status == 200, "\(answer)")
        #expect(asked.value == 1)
    }

    @Test(arguments: ["expired", "wronghost"])
    func aBadCertificateOfATrustedAuthorityIsRefusedBeforeTheRequest(_ certificate: String) async throws {
        let asked = Counter()
        let authority = try Self.folder() + "/ca.pem"
        let failure = try await call(certificate, authorities: authority, asked: asked).failure
        #expect(failure?.sent == .surelyNot)
        #expect(failure?.cause == .tls)
        #expect(asked.value == 0)
    }

    @Test func anAuthorityThatIsNotTrustedIsRefusedBeforeTheRequest() async throws {
        let asked = Counter()
        let failure = try await call("server", authorities: nil, asked: asked).failure
        #expect(failure?.sent == .surelyNot)
        #expect(failure?.cause == .tls)
        #expect(asked.value == 0)
    }

    @Test func anOldProtocolIsRefusedBeforeTheRequest() async throws {
        let asked = Counter()
        let failure = try await call(
            "server",
            options: ["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
            authorities: try Self.folder() + "/ca.pem",
            asked: asked
        ).failure
        #expect(failure?.sent == .surelyNot)
        #expect(failure?.cause == .tls)
        #expect(asked.value == 0)
    }

    /// libcurl 8.9 and newer let a TLS connection that does not end at once end beside the calls, with a handle of their
    /// own; older ones do not wait. The call that pushed the connection out of the pool does not notice either.
    @Test func aTLSConnectionWhosePeerDoesNotAnswerTheCloseHarmsNobody() async throws {
        let directory = try Self.folder()
        let tls = try await TLSServer.start(certificate: "server", folder: directory)
        defer { tls.stop() }
        let plain = RawServer(answering: accepted)
        // One call at once is one kept connection: the second pushes the first out.
        try await Harness.with(calls: 1, authorities: directory + "/ca.pem") { harness in
            async let answered: Void = tls.answerOne("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            #expect(await harness.call(get("https://127.0.0.1:\(tls.port)/")).response?.status == 200)
            try await answered
            tls.freeze()
            for _ in 0..<3 { #expect(await harness.call(get(plain.url())).response?.status == 202) }
            #expect(plain.connections == 1)
        }
        await offPool { plain.stop() }
    }

    /// The same on every libcurl, newer or older: its own handle carries no transfer.
    @Test func aHandleOfLibcurlsOwnIsWatchedAndForgotten() async {
        await Harness.with { harness in
            await harness.onLoop { harness in
                let own = curl_easy_init()!
                let cache = ConnectionCache(driver: harness.driver, loop: harness.loop, keeping: 1)
                #expect(Transfer.of(own) == nil)
                var address = curl_sockaddr()
                address.family = AF_INET
                address.socktype = Int32(SOCK_STREAM.rawValue)
                let descriptor = harness.driver.openSocket(for: address)
                for what in [CURL_POLL_IN, CURL_POLL_OUT, CURL_POLL_REMOVE] {
                    harness.driver.want(descriptor, what, easy: own, of: cache)
                }
                #expect(harness.driver.closeSocket(descriptor) == 0)
                curl_easy_cleanup(own)
                cache.close()
            }
        }
    }
}
