import CurlDriver
import Glibc
import Testing

/// `openssl s_server` with one of the certificates that `dev` makes.
private struct TLSServer {
    let port: Int
    private let process: pid_t
    private let output: Int32

    struct NotReady: Error {}

    static func directory() throws -> String {
        let value = try #require(
            getenv("TRUNKLINE_TEST_TLS_DIR"),
            "TRUNKLINE_TEST_TLS_DIR is not set: run the tests with ./dev test"
        )
        return String(cString: value)
    }

    /// Blocks until it listens.
    init(directory: String, certificate: String, options: [String]) throws {
        var pair: [Int32] = [0, 0]
        precondition(pipe(&pair) == 0)
        pair.forEach(closeOnExec)
        defer { close(pair[1]) }
        output = pair[0]
        let words =
            [
                "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "\(directory)/\(certificate).pem",
                "-key", "\(directory)/\(certificate).key",
            ] + options
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pair[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process = pid_t()
        guard posix_spawnp(&process, "openssl", &actions, nil, &arguments, environ) == 0 else { throw NotReady() }
        self.process = process
        // It says "ACCEPT 127.0.0.1:12345" when it listens.
        var text: [UInt8] = []
        var found: Int?
        while found == nil {
            var byte: UInt8 = 0
            guard read(output, &byte, 1) == 1 else { break }
            text.append(byte)
            guard byte == UInt8(ascii: "\n") else { continue }
            let line = String(decoding: text, as: UTF8.self).dropLast()
            text = []
            if line.hasPrefix("ACCEPT") { found = line.split(separator: ":").last.flatMap { Int($0) } }
        }
        guard let found else {
            Self.end(process, output)
            throw NotReady()
        }
        port = found
    }

    func stop() { Self.end(process, output) }

    private static func end(_ process: pid_t, _ output: Int32) {
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
            Result { try TLSServer(directory: directory, certificate: certificate, options: options) }
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
}
