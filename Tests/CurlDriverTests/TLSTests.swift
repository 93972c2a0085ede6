import CPlatform
import Glibc
import Testing

@testable import CurlDriver

/// `openssl s_server` with one of the certificates that `dev` makes.
private struct TLSServer {
    let port: Int
    private let process: pid_t
    private let input: Int32
    private let output: Int32

    struct NotReady: Error {}

    static func directory() throws -> String {
        let value = try #require(
            getenv("TRUNKLINE_TEST_TLS_DIR"),
            "TRUNKLINE_TEST_TLS_DIR is not set: run the tests with ./dev test"
        )
        return String(cString: value)
    }

    /// Blocks until it listens. With `-www` among the options it answers every request by itself.
    init(directory: String, certificate: String, options: [String]) throws {
        var toServer: [Int32] = [0, 0]
        var pair: [Int32] = [0, 0]
        precondition(pipe(&toServer) == 0 && pipe(&pair) == 0)
        (toServer + pair).forEach(closeOnExec)
        defer {
            close(toServer[0])
            close(pair[1])
        }
        input = toServer[1]
        output = pair[0]
        let words =
            [
                "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "\(directory)/\(certificate).pem",
                "-key", "\(directory)/\(certificate).key",
            ] + options
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toServer[0], 0)
        posix_spawn_file_actions_adddup2(&actions, pair[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process = pid_t()
        guard posix_spawnp(&process, "openssl", &actions, nil, &arguments, environ) == 0 else { throw NotReady() }
        self.process = process
        // It says "ACCEPT 127.0.0.1:12345" when it listens.
        let listens = Self.line(of: output) { $0.hasPrefix("ACCEPT") }
        guard let found = listens?.split(separator: ":").last.flatMap({ Int($0) }) else {
            Self.end(process, input, output)
            throw NotReady()
        }
        port = found
    }

    /// Blocks until it has shown such a line; nil when it ended before.
    private static func line(of output: Int32, where isWanted: (Substring) -> Bool) -> String? {
        var text: [UInt8] = []
        while true {
            var byte: UInt8 = 0
            guard read(output, &byte, 1) == 1 else { return nil }
            text.append(byte)
            guard byte == UInt8(ascii: "\n") else { continue }
            let line = String(decoding: text, as: UTF8.self).dropLast()
            if isWanted(line) { return String(line) }
            text = []
        }
    }

    /// Blocks until a request has come, and answers it with these bytes: without `-www` it shows what it receives and
    /// sends what it is given.
    func answerOne(_ bytes: String) -> Bool {
        guard Self.line(of: output, where: { $0.hasPrefix("GET ") }) != nil else { return false }
        let answer = Array(bytes.utf8)
        return write(input, answer, answer.count) == answer.count
    }

    func freeze() { kill(process, SIGSTOP) }

    func stop() { Self.end(process, input, output) }

    private static func end(_ process: pid_t, _ input: Int32, _ output: Int32) {
        close(input)
        close(output)
        // Not SIGTERM: the runtime's threads block it, and the program inherited that.
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
    }
}

@Suite(.timeLimit(.minutes(2))) struct TLSTests {
    private func call(
        _ certificate: String,
        options: [String] = [],
        authorities: String?,
        asked: Counter
    ) async throws -> Answer {
        let directory = try TLSServer.directory()
        let server = try await offPool {
            Result { try TLSServer(directory: directory, certificate: certificate, options: ["-www"] + options) }
        }.get()
        let answer = await Harness.with(authorities: authorities) { harness in
            await harness.call(get("https://127.0.0.1:\(server.port)/")) {
                asked.add()
                return true
            }
        }
        await offPool { server.stop() }
        return answer
    }

    @Test func aTrustedCertificateForTheRightHostIsSpokenTo() async throws {
        let asked = Counter()
        let authority = try TLSServer.directory() + "/ca.pem"
        let answer = try await call("server", authorities: authority, asked: asked)
        #expect(answer.response?.status == 200, "\(answer)")
        #expect(asked.value == 1)
    }

    @Test(arguments: ["expired", "wronghost"])
    func aBadCertificateOfATrustedAuthorityIsRefusedBeforeTheRequest(_ certificate: String) async throws {
        let asked = Counter()
        let authority = try TLSServer.directory() + "/ca.pem"
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
            authorities: try TLSServer.directory() + "/ca.pem",
            asked: asked
        ).failure
        #expect(failure?.sent == .surelyNot)
        #expect(failure?.cause == .tls)
        #expect(asked.value == 0)
    }

    /// libcurl 8.9 and newer let a TLS connection that does not end at once end beside the calls, with a handle of their
    /// own; older ones do not wait. The call that pushed the connection out of the pool does not notice either.
    @Test func aTLSConnectionWhosePeerDoesNotAnswerTheCloseHarmsNobody() async throws {
        let directory = try TLSServer.directory()
        let tls = try await offPool {
            Result { try TLSServer(directory: directory, certificate: "server", options: []) }
        }.get()
        let plain = RawServer(answering: accepted)
        // One call at once is one kept connection: the second pushes the first out.
        await Harness.with(calls: 1, authorities: directory + "/ca.pem") { harness in
            async let answered = offPool { tls.answerOne("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
            #expect(await harness.call(get("https://127.0.0.1:\(tls.port)/")).response?.status == 200)
            #expect(await answered)
            tls.freeze()
            for _ in 0..<3 { #expect(await harness.call(get(plain.url())).response?.status == 202) }
            #expect(plain.connections == 1)
        }
        await offPool {
            tls.stop()
            plain.stop()
        }
    }

    /// The same on every libcurl, newer or older: its own handle carries no transfer.
    @Test func aHandleOfLibcurlsOwnIsWatchedAndForgotten() async {
        await Harness.with { harness in
            await harness.onLoop { harness in
                let own = curl_easy_init()!
                #expect(Transfer.of(own) == nil)
                var address = curl_sockaddr()
                address.family = AF_INET
                address.socktype = Int32(SOCK_STREAM.rawValue)
                let descriptor = harness.driver.openSocket(for: address)
                for what in [CURL_POLL_IN, CURL_POLL_OUT, CURL_POLL_REMOVE] {
                    harness.driver.want(descriptor, what, easy: own)
                }
                #expect(harness.driver.closeSocket(descriptor) == 0)
                curl_easy_cleanup(own)
            }
        }
    }
}
