import Testing

@testable import RabbitDriver

@Suite struct MessageAssemblerTests {
    private func fragment(
        _ assembler: inout MessageAssembler,
        _ bytes: [UInt8]
    ) throws(MessageAssembler.Violation) -> [UInt8]? {
        var result: Result<[UInt8]?, MessageAssembler.Violation> = .success(nil)
        bytes.withUnsafeBytes { bytes in
            do throws(MessageAssembler.Violation) {
                result = .success(try assembler.fragment(bytes))
            } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }

    @Test func anEmptyBodyIsCompleteWithItsHeader() throws {
        var assembler = MessageAssembler(limit: 10)
        try assembler.begin()
        #expect(try assembler.header(bodySize: 0) == [])
        #expect(assembler.phase == .idle)
    }

    @Test func aBodyInPartsComesTogether() throws {
        var assembler = MessageAssembler(limit: 10)
        for _ in 0..<2 {
            try assembler.begin()
            #expect(try assembler.header(bodySize: 5) == nil)
            #expect(try fragment(&assembler, [1, 2]) == nil)
            #expect(try fragment(&assembler, [3, 4]) == nil)
            #expect(try fragment(&assembler, [5]) == [1, 2, 3, 4, 5])
            #expect(assembler.phase == .idle)
        }
    }

    @Test func aBodyOverTheLimitIsCutAndCounted() throws {
        var assembler = MessageAssembler(limit: 3)
        try assembler.begin()
        _ = try assembler.header(bodySize: 5)
        #expect(try fragment(&assembler, [1, 2, 3, 4, 5]) == [1, 2, 3])
        #expect(assembler.bodySize == 5)
        try assembler.begin()
        _ = try assembler.header(bodySize: 4)
        #expect(try fragment(&assembler, [1, 2]) == nil)
        #expect(try fragment(&assembler, [3, 4]) == [1, 2, 3])
    }

    @Test func aHostileSizeReservesNothing() throws {
        var assembler = MessageAssembler(limit: 16)
        try assembler.begin()
        #expect(try assembler.header(bodySize: .max) == nil)
        #expect(try fragment(&assembler, [1]) == nil)
    }

    @Test func framesOutOfOrderAreViolations() throws {
        var assembler = MessageAssembler(limit: 10)
        #expect(throws: MessageAssembler.Violation.self) { try assembler.header(bodySize: 1) }
        #expect(throws: MessageAssembler.Violation.self) { try fragment(&assembler, [1]) }
        try assembler.begin()
        #expect(throws: MessageAssembler.Violation.self) { try assembler.begin() }
        #expect(throws: MessageAssembler.Violation.self) { try fragment(&assembler, [1]) }
        _ = try assembler.header(bodySize: 2)
        #expect(throws: MessageAssembler.Violation.self) { try assembler.begin() }
        #expect(throws: MessageAssembler.Violation.self) { try fragment(&assembler, [1, 2, 3]) }
    }
}

@Suite struct BackoffTests {
    @Test func everyWaitIsWithinItsRange() {
        var generator = SystemRandomNumberGenerator()
        var backoff = Backoff()
        var ceiling = Duration.milliseconds(100)
        for _ in 0..<100 {
            ceiling = min(ceiling * 2, .seconds(3))
            let wait = backoff.next(using: &generator)
            #expect(wait >= .milliseconds(100))
            #expect(wait <= ceiling)
        }
        backoff.reset()
        #expect(backoff.next(using: &generator) <= .milliseconds(200))
    }
}

@Suite struct ConfigurationTests {
    @Test func everyPartIsRead() throws {
        let configuration = try RabbitConfiguration(
            url: "amqps://us%40er:p%2Fw%3A%40@broker.example:5999/v%2Fh?cacertfile=%2Fca.pem&heartbeat=7",
            connectionName: "x"
        )
        #expect(configuration.host == "broker.example")
        #expect(configuration.port == 5999)
        #expect(configuration.user == "us@er")
        #expect(configuration.password == "p/w:@")
        #expect(configuration.virtualHost == "v/h")
        #expect(configuration.heartbeat == .seconds(7))
        #expect(configuration.tls?.authorityFile == "/ca.pem")
        #expect(configuration.tls?.verifiesPeer == true)
    }

    @Test(arguments: [
        ("amqp://localhost", "localhost", 5672, "/"), ("amqp://127.8.0.1/", "127.8.0.1", 5672, "/"),
        ("amqp://h/%2f?plaintext=allowed", "h", 5672, "/"),
        ("amqps://h/a", "h", 5671, "a"), ("amqp://[::1]:9/a", "::1", 9, "a"),
    ])
    func whatIsLeftOutHasItsDefault(url: String, host: String, port: Int32, virtualHost: String) throws {
        let configuration = try RabbitConfiguration(url: url, connectionName: "x")
        #expect(configuration.host == host)
        #expect(configuration.port == port)
        #expect(configuration.virtualHost == virtualHost)
        #expect(configuration.user == "guest")
        #expect(configuration.password == "guest")
    }

    @Test(arguments: [
        "http://u:secret@h", "amqp://u:secret@", "amqp://u:secret@h:0", "amqp://u:secret@h:99999",
        "amqp://u:sec%zzret@h",
        "amqp://u:123/secret@h", "amqp://u:secret@h?verify=peer", "amqps://u:secret@h?verify=perhaps",
        "amqps://u:secret@h?certfile=/c", "amqp://u:secret@h?cacertfile=/c", "amqp://u:secret@h?unknown=1",
        "amqp://u:secret%00@h", "amqp://u:secret@h?heartbeat=0", "amqp://u:secret@localhost?plaintext=perhaps",
        "amqps://u:secret@h?plaintext=allowed",
    ])
    func aBadURLIsRefusedWithoutItsPassword(url: String) {
        let error = #expect(throws: RabbitError.self) {
            _ = try RabbitConfiguration(url: url, connectionName: "x")
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error.map { "\($0)".contains("secret") } == false)
    }

    @Test(arguments: [
        "amqp://u:secret@h", "amqp://u:secret@10.0.0.7", "amqp://u:secret@0.0.0.0", "amqp://u:secret@[2001:db8::1]",
        "amqp://u:secret@127.0.0.1.example.com",
    ])
    func plaintextToAnotherMachineMustBeAskedForAloud(url: String) throws {
        let error = #expect(throws: RabbitError.self) { _ = try RabbitConfiguration(url: url, connectionName: "x") }
        #expect(error?.code == .invalidConfiguration && error?.message.contains("?plaintext=allowed") == true)
        let aloud = try RabbitConfiguration(url: url + "?plaintext=allowed", connectionName: "x")
        #expect(!aloud.isLocal && aloud.transportWarning?.contains("plaintext=allowed") == true)
    }

    @Test func whoeverProvesWhoItIsNeedsNoWarning() throws {
        for url in [
            "amqps://h", "amqp://127.0.0.1", "amqp://localhost", "amqp://[::1]", "amqps://localhost?verify=none",
        ] {
            #expect(try RabbitConfiguration(url: url, connectionName: "x").transportWarning == nil, "\(url)")
        }
        let unverified = try RabbitConfiguration(url: "amqps://h?verify=none", connectionName: "x")
        #expect(unverified.transportWarning?.contains("verify=none") == true)
    }

    @Test func aPasswordInAURLIsFound() {
        for url in ["amqp://u:x@h", "amqp://u:x/y@h", "amqps://:x@h/v", "amqp://u:@h"] {
            #expect(RabbitConfiguration.holdsPassword(url: url), "\(url)")
        }
        for url in ["amqp://u@h:5672/v", "amqp://h:5672", "amqps://[::1]:5671/v", "amqp://u%3Ax@h"] {
            #expect(!RabbitConfiguration.holdsPassword(url: url), "\(url)")
        }
    }

    @Test func noDescriptionShowsThePassword() throws {
        let configuration = try RabbitConfiguration(url: "amqp://u:secret@localhost/v", connectionName: "x")
        var dumped = ""
        dump(configuration, to: &dumped)
        #expect(!"\(configuration) \(String(reflecting: configuration)) \(dumped)".contains("secret"))
    }
}
