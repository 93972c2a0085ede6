import CurlDriver
import EventLoop
import Glibc
import Synchronization
import TestKit
import Testing

private func withServer<Value>(
    _ server: RawServer,
    _ body: (RawServer) async throws -> Value
) async rethrows -> Value {
    do {
        let value = try await body(server)
        await offPool { server.stop() }
        return value
    } catch {
        await offPool { server.stop() }
        throw error
    }
}

@Suite(.timeLimit(.minutes(2))) struct CurlDriverTests {
    // MARK: Answers

    @Test func anAnswerComesBackAndTheRequestIsAsGiven() async {
        await withServer(RawServer(answering: accepted)) { server in
            let answer = await Harness.with {
                await $0.call(post(server.url("/api/v1/messages/text?a=b"), "{\"to\":1}"))
            }
            #expect(answer == .success(HTTPResponse(status: 202, body: Array("{\"id\":\"a1\"}".utf8))))
            let request = server.requests[0]
            #expect(server.requests.count == 1)
            #expect(request.method == "POST" && request.target == "/api/v1/messages/text?a=b")
            #expect(request.body == Array("{\"to\":1}".utf8))
            #expect(request["authorization"] == "Bearer secret")
            #expect(request["content-type"] == "application/json")
            #expect(request["user-agent"] == "trunkline")
            #expect(request["expect"] == nil && request["proxy-connection"] == nil)
            #expect(request["host"] == "127.0.0.1:\(server.port)")
        }
    }

    @Test(
        arguments: [HTTPRequest.Method.get, .post, .put, .patch, .delete],
        [nil, [], Array("body".utf8)] as [[UInt8]?]
    )
    func everyMethodWithAndWithoutABody(_ method: HTTPRequest.Method, _ body: [UInt8]?) async {
        await withServer(RawServer(answering: accepted)) { server in
            await Harness.with(calls: 1) { harness in
                // A request with everything first: nothing of it may stick to the handle.
                _ = await harness.call(post(server.url(), "a body of the request before"))
                let request = HTTPRequest(method: method, url: server.url(), headers: [("X-Empty", "")], body: body)
                #expect(await harness.call(request).response?.status == 202)
                let seen = server.requests[1]
                #expect(seen.method == method.rawValue)
                #expect(seen.body == body ?? [])
                #expect(seen["x-empty"] == "")
                #expect(seen["authorization"] == nil && seen["content-type"] == nil)
                #expect((seen["content-length"] == nil) == (body == nil && method != .post))
            }
        }
    }

    @Test func aLargeBodyArrivesWhole() async {
        await withServer(RawServer(answering: accepted)) { server in
            let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let request = HTTPRequest(method: .post, url: server.url(), body: body)
            let answer = await Harness.with { await $0.call(request) }
            #expect(answer.response?.status == 202)
            #expect(server.requests.first?.body == body)
        }
    }

    @Test func aConnectionIsKeptAndUsedAgain() async {
        await withServer(RawServer(answering: accepted)) { server in
            await Harness.with { harness in
                for _ in 0..<20 { #expect(await harness.call(post(server.url())).response?.status == 202) }
            }
            #expect(server.requests.count == 20)
            #expect(server.connections == 1)
        }
    }

    @Test func aConnectionThatDiedWhileIdleIsReplaced() async {
        let served = Signal()
        let server = RawServer { connection in
            while connection.readRequest() != nil {
                connection.write(accepted)
                guard connection.ordinal == 0 else { continue }
                // Reset only once the answer was read: the client's buffer must not be thrown away.
                served.wait()
                return connection.resetOnClose()
            }
        }
        await withServer(server) { server in
            await Harness.with { harness in
                #expect(await harness.call(post(server.url())).response?.status == 202)
                served.give()
                // Whether libcurl saw the reset in time or the guard stopped it, nothing was sent twice.
                for number in 1...3 {
                    let body = "call \(number)"
                    let answer = await harness.call(post(server.url(), body))
                    let seen = server.requests.count { $0.body == Array(body.utf8) }
                    switch answer {
                    case .success(let response): #expect(response.status == 202 && seen == 1)
                    case .failure(let failure):
                        // Only the first can meet the dead connection.
                        #expect(number == 1 && [.replay, .broken].contains(failure.cause) && seen <= 1, "\(failure)")
                    }
                }
                #expect(await harness.onLoop { $0.driver.callsInFlight } == 0)
            }
        }
    }

    @Test func anAnswerInSmallPiecesAndAfterAnInterimOne() async {
        let server = RawServer { connection in
            guard connection.readRequest() != nil else { return }
            let answer =
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            for byte in answer.utf8 { connection.write([byte]) }
            _ = connection.readToEnd()
        }
        await withServer(server) { server in
            let answer = await Harness.with { await $0.call(post(server.url())) }
            #expect(answer == .success(HTTPResponse(status: 202, body: Array("abcde".utf8))))
        }
    }

    @Test func aWholeAnswerCountsEvenIfItsConnectionThenEnds() async {
        let server = RawServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write(accepted)
        }
        await withServer(server) { server in
            for _ in 0..<5 {
                let answer = await Harness.with { await $0.call(post(server.url())) }
                #expect(answer.response?.status == 202)
            }
            #expect(server.requests.count == 5)
        }
    }

    @Test func aLongBodyIsCappedAndStillAnAnswer() async {
        let body = String(repeating: "x", count: 71_680)
        await withServer(RawServer(answering: "HTTP/1.1 202 OK\r\nContent-Length: 71680\r\n\r\n\(body)")) { server in
            await Harness.with { harness in
                for _ in 0..<2 {
                    let response = await harness.call(post(server.url())).response
                    #expect(response?.status == 202)
                    #expect(response?.body.count == 65_536)
                    #expect(response?.isTruncated == true)
                }
            }
            // The rest was read and thrown away, so the connection could be kept.
            #expect(server.connections == 1)
        }
    }

    @Test func anEndlessBodyIsCutOffAndStillAnAnswer() async {
        let server = RawServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write("HTTP/1.1 500 Oops\r\n\r\n")
            let chunk = [UInt8](repeating: 0x78, count: 65_536)
            while connection.write(chunk) {}
        }
        await withServer(server) { server in
            let response = await Harness.with { await $0.call(post(server.url())) }.response
            #expect(response?.status == 500)
            #expect(response?.body.count == 65_536)
            #expect(response?.isTruncated == true)
        }
    }

    @Test(arguments: [301, 302, 303, 307, 308])
    func aRedirectIsAnAnswerAndNeverFollowed(_ status: Int) async {
        await withServer(RawServer(answering: accepted)) { other in
            let answer =
                "HTTP/1.1 \(status) Elsewhere\r\nLocation: \(other.url("/stolen"))\r\nContent-Length: 0\r\n\r\n"
            await withServer(RawServer(answering: answer)) { server in
                let answer = await Harness.with { await $0.call(post(server.url())) }
                #expect(answer.response?.status == status)
                #expect(server.requests.count == 1)
                #expect(other.connections == 0)
            }
        }
    }

    @Test(arguments: ["30", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
    func retryAfterIsHandedOnUntouched(_ value: String) async {
        let answer = "HTTP/1.1 429 Slow\r\nretry-after: \(value)\r\nContent-Length: 0\r\n\r\n"
        await withServer(RawServer(answering: answer)) { server in
            await Harness.with(calls: 1) { harness in
                #expect(await harness.call(post(server.url())).response?.retryAfter == value)
            }
        }
        await withServer(RawServer(answering: "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")) { server in
            let response = await Harness.with { await $0.call(post(server.url())) }.response
            #expect(response?.status == 429 && response?.retryAfter == nil)
        }
    }

    @Test func onlyTheHeadersThatAreWantedAreKept() async {
        let answer =
            "HTTP/1.1 200 OK\r\nx-limit: 9\r\nX-Other: \(String(repeating: "y", count: 300))\r\nX-Secret: z\r\n"
            + "Retry-After: 7\r\nContent-Length: 0\r\n\r\n"
        await withServer(RawServer(answering: answer)) { server in
            var request = post(server.url())
            request.wantedHeaders = ["X-Limit", "X-Absent", "x-other"]
            let wanted = request
            await Harness.with(calls: 1) { harness in
                let response = await harness.call(wanted).response
                #expect(response?.headers.map(\.name) == ["X-Limit", "x-other"])
                #expect(response?.headers.map(\.value) == ["9", String(repeating: "y", count: 256)])
                #expect(response?.retryAfter == nil)
                // Nothing of it may stick to the handle.
                #expect(await harness.call(post(server.url())).response?.headers == [.init("Retry-After", "7")])
            }
        }
    }

    // MARK: The hidden second send (engineering notes M1, M2)

    /// Answers the first request of each connection, and takes the second one without a word.
    private func serverThatDropsTheSecondRequest() -> RawServer {
        RawServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write(accepted)
            _ = connection.readRequest()
        }
    }

    @Test func plainLibcurlSendsTwiceOnAKeptConnectionThatDied() async {
        await withServer(serverThatDropsTheSecondRequest()) { server in
            await Harness.with(replayGuard: false) { harness in
                #expect(await harness.call(post(server.url("/first"))).response?.status == 202)
                #expect(await harness.call(post(server.url("/second"))).response?.status == 202)
            }
            #expect(server.requests.filter { $0.target == "/second" }.count == 2)
        }
    }

    @Test func theGuardMakesItOneEffectAndSaysMaybe() async {
        await withServer(serverThatDropsTheSecondRequest()) { server in
            let asked = Counter()
            await Harness.with { harness in
                #expect(await harness.call(post(server.url("/first"))).response?.status == 202)
                let failure = await harness.call(post(server.url("/second"))) {
                    asked.add()
                    return true
                }.failure
                #expect(failure?.sent == .maybe)
                #expect(failure?.cause == .replay)
                // The slot and the driver are as good as new.
                #expect(await harness.call(post(server.url("/third"))).response?.status == 202)
            }
            #expect(server.requests.filter { $0.target == "/second" }.count == 1)
            #expect(asked.value == 1)
        }
    }

    // MARK: No answer: sent or not?

    @Test func aRefusedConnectionIsSurelyNotSent() async {
        let asked = Counter()
        let failure = await Harness.with { harness in
            await harness.call(post("http://127.0.0.1:\(refusingPort)/")) {
                asked.add()
                return true
            }
        }.failure
        #expect(failure?.sent == .surelyNot)
        #expect(failure?.cause == .connect)
        #expect(asked.value == 0)
    }

    /// In a process of its own, whose limit of descriptors may be lowered.
    @Test func aLackOfDescriptorsIsOurOwnAndNotThePeers() async {
        await #expect(processExitsWith: .success) {
            await withServer(RawServer(answering: accepted)) { server in
                await Harness.with { harness in
                    // An address and a name: the look-up needs a descriptor, too. The port is made at its first use, so here.
                    let urls = ["http://127.0.0.1:\(refusingPort)/", "https://no-such-host.invalid/"]
                    #expect(await harness.call(post(server.url("/before"))).response?.status == 202)
                    let free = dup(0)
                    close(free)
                    var before = rlimit()
                    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
                    var none = rlimit(rlim_cur: rlim_t(free), rlim_max: before.rlim_max)
                    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none)
                    // Nothing but the calls happens under the limit: whatever else needs a descriptor may trap.
                    var failures: [HTTPFailure?] = []
                    for url in urls { failures.append(await harness.call(get(url)).failure) }
                    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
                    #expect(failures.map(\.?.sent) == [.surelyNot, .surelyNot])
                    #expect(failures.map(\.?.cause) == [.shortage, .shortage])
                    #expect(await harness.call(get(urls[0])).failure?.cause == .connect)
                    #expect(await harness.call(post(server.url("/after"))).response?.status == 202)
                }
            }
        }
    }

    @Test func aNameThatDoesNotResolveIsSurelyNotSentAndHarmsNobody() async {
        await withServer(RawServer(answering: accepted)) { server in
            await Harness.with { harness in
                // The resolver's socket pair is closed behind the driver's back, and its numbers come back as connections.
                for _ in 0..<3 {
                    let request = HTTPRequest(
                        method: .get,
                        url: "https://no-such-host.invalid/",
                        connectTimeout: .seconds(2)
                    )
                    let failure = await harness.call(request).failure
                    #expect(failure?.sent == .surelyNot)
                    #expect(failure?.cause == .resolve || failure?.cause == .timeout)
                    #expect(await harness.call(post(server.url())).response?.status == 202)
                }
            }
        }
    }

    @Test func aServerThatClosesWithoutReadingMayHaveIt() async {
        await withServer(RawServer { _ in }) { server in
            let failure = await Harness.with { await $0.call(post(server.url())) }.failure
            #expect(failure?.sent == .maybe)
            #expect(failure?.cause == .broken)
            #expect(failure?.status == nil)
        }
    }

    @Test func aResetAfterTheRequestMayHaveIt() async {
        let server = RawServer { connection in
            _ = connection.readRequest()
            connection.resetOnClose()
        }
        await withServer(server) { server in
            let failure = await Harness.with { await $0.call(post(server.url())) }.failure
            #expect(failure?.sent == .maybe)
            #expect(failure?.cause == .broken)
            #expect(server.requests.count == 1)
        }
    }

    @Test func aHangAfterTheRequestIsATimeoutAndMayHaveIt() async {
        await withServer(RawServer { _ = $0.readToEnd() }) { server in
            let failure = await Harness.with {
                await $0.call(post(server.url(), total: .seconds(2)))
            }.failure
            #expect(failure?.sent == .maybe)
            #expect(failure?.cause == .timeout)
            #expect(failure?.code == 28)
        }
    }

    @Test(arguments: [true, false])
    func aHangBeforeTheRequestIsATimeoutAndSurelyNotSent(_ connectIsShorter: Bool) async {
        // TLS to a peer that never says hello.
        await withServer(RawServer { _ = $0.readToEnd() }) { server in
            let request = HTTPRequest(
                method: .post,
                url: "https://127.0.0.1:\(server.port)/",
                connectTimeout: connectIsShorter ? .milliseconds(200) : .seconds(20),
                totalTimeout: connectIsShorter ? .seconds(20) : .milliseconds(200)
            )
            let failure = await Harness.with { await $0.call(request) }.failure
            #expect(failure?.sent == .surelyNot)
            #expect(failure?.cause == .timeout)
        }
    }

    @Test(arguments: [
        ("HTTP/1.1 202 Acc", nil),
        ("HTTP/1.1 202 Accepted\r\nContent-Le", 202),
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"id\":", 202),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc", 202),
        ("this is not HTTP\r\n\r\n", nil),
        ("\0\0\0\0\0\0\0\0", nil),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", nil),
    ])
    func aBrokenAnswerMayHaveBeenSent(_ answer: String, _ status: Int?) async {
        let server = RawServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write(answer)
        }
        await withServer(server) { server in
            let failure = await Harness.with { await $0.call(post(server.url())) }.failure
            #expect(failure?.sent == .maybe, "\(String(describing: failure))")
            #expect(failure?.cause == .broken)
            if let status { #expect(failure?.status == status) }
            #expect(server.requests.count == 1)
        }
    }

    @Test func aHalfAnswerThatThenHangsKeepsItsStatusAsEvidence() async {
        let server = RawServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{")
            _ = connection.readToEnd()
        }
        await withServer(server) { server in
            let failure = await Harness.with {
                await $0.call(post(server.url(), total: .seconds(2)))
            }.failure
            #expect(failure?.sent == .maybe && failure?.cause == .timeout && failure?.status == 202)
        }
    }

    /// ```
    /// loop thread                                   server
    /// request leaves
    ///                                               reads it
    /// blocked; another call begins                  answers
    /// the call's total time passes
    /// goes on: libcurl's timers, readiness, timers
    /// ```
    @Test func anAnswerThatLiesInTheBufferIsNeverBookedAsATimeout() async {
        let loopIsBlocked = Signal()
        let answered = Signal()
        let requestArrived = Signal()
        let server = RawServer { connection in
            guard let request = connection.readRequest() else { return }
            if request.target == "/slow" {
                requestArrived.give()
                loopIsBlocked.wait()
                connection.write(accepted)
                answered.give()
            } else {
                connection.write(accepted)
            }
            _ = connection.readToEnd()
        }
        await withServer(server) { server in
            await Harness.with { harness in
                let total = Duration.seconds(2)
                let left = Mutex(ContinuousClock.now)
                async let answer = harness.call(post(server.url("/slow"), total: total)) {
                    left.withLock { $0 = .now }
                    return true
                }
                #expect(await requestArrived.given())
                harness.loop.run {
                    loopIsBlocked.give()
                    answered.wait()
                    let deadline = left.withLock { $0 }.advanced(by: total)
                    while ContinuousClock.now < deadline { usleep(1_000) }
                    // Makes libcurl look at its own timers before the loop looks at the sockets.
                    harness.driver.send(post(server.url("/other")), mayLeave: { true }) { _ in }
                }
                let slow = await answer
                #expect(slow.response?.status == 202, "\(slow)")
            }
        }
    }

    // MARK: The last check

    @Test func mayLeaveSaysNoAndNotAByteLeaves() async {
        let seen = Mutex<[UInt8]?>(nil)
        let ended = Signal()
        let server = RawServer { connection in
            let bytes = connection.readToEnd()
            seen.withLock { $0 = bytes }
            ended.give()
        }
        await withServer(server) { server in
            await Harness.with { harness in
                let failure = await harness.call(post(server.url())) { false }.failure
                #expect(failure?.sent == .surelyNot)
                #expect(failure?.cause == .held)
                #expect(await ended.given())
            }
            #expect(server.connections == 1)
            #expect(seen.withLock { $0 } == [])
        }
    }

    @Test func mayLeaveIsAskedOnceOnTheLoopOnNewAndKeptConnections() async {
        await withServer(RawServer(answering: accepted)) { server in
            await Harness.with { harness in
                let asked = Counter()
                for _ in 0..<10 {
                    let answer = await harness.call(post(server.url())) {
                        harness.loop.preconditionOnLoop()
                        asked.add()
                        return true
                    }
                    #expect(answer.response?.status == 202)
                }
                #expect(asked.value == 10)
                #expect(await harness.call(post(server.url())) { false }.failure?.cause == .held)
            }
            #expect(server.requests.count == 10)
        }
    }

    // MARK: What is refused before anything happens

    @Test(arguments: [
        "http://192.0.2.1/", "http://example.com/", "http://127.0.0.1.example.com/", "http://localhost.example.com/",
        "http://[::2]/", "http://[::ffff:192.0.2.1]/", "http://10.0.0.1/", "http://0.0.0.0/", "http://3232235777/",
        "ftp://127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1/", "127.0.0.1", "//127.0.0.1/", "",
        "https://user:hunter2@127.0.0.1/", "http://127.0.0.1@192.0.2.1/", "https://127.0.0.1/\r\nX: y",
        "https://127.0.0.1/a b", "https://127.0.0.1/\0", "https://127.0.0.1/é", "https://",
    ])
    func aURLThatIsNotAllowedIsRefused(_ url: String) async {
        let asked = Counter()
        await Harness.with { harness in
            let failure = await harness.call(post(url)) {
                asked.add()
                return true
            }.failure
            #expect(failure?.sent == .surelyNot)
            #expect(failure?.cause == .refused)
            // The driver decided, before any connection.
            #expect(failure?.code == 0)
            #expect(failure?.reason.contains("hunter2") != true)
            #expect(await harness.onLoop { $0.driver.freeSlots } == 8)
        }
        #expect(asked.value == 0)
    }

    @Test(arguments: ["127.0.0.1", "localhost", "127.1", "2130706433"])
    func loopbackMayBeSpokenToInTheClear(_ host: String) async {
        await withServer(RawServer(answering: accepted)) { server in
            let answer = await Harness.with { await $0.call(post("http://\(host):\(server.port)/")) }
            #expect(answer.response?.status == 202)
        }
    }

    @Test(arguments: [
        ("X-Note", "a\r\nX-Injected: yes"), ("X-Note", "a\nb"), ("X-Note", "a\rb"), ("X-Note", "a\0b"),
        ("X-Note", "\u{7F}"), ("X-Note: a\r\nX-Injected", "yes"), ("", "a"), ("X Note", "a"), ("X:Note", "a"),
        ("Ünicode", "a"), ("Content-Length", "0"), ("transfer-encoding", "chunked"), ("Host", "elsewhere"),
        ("Connection", "close"), ("Expect", "100-continue"),
    ])
    func aHeaderThatCouldBreakTheMessageIsRefused(_ name: String, _ value: String) async {
        await withServer(RawServer(answering: accepted)) { server in
            var request = post(server.url())
            request.headers.append((name, value))
            let checked = request
            let failure = await Harness.with { await $0.call(checked) }.failure
            #expect(failure?.sent == .surelyNot)
            #expect(failure?.cause == .refused)
            #expect(failure?.reason.contains("Injected") == false)
            #expect(server.connections == 0)
        }
    }

    @Test func aProxyOfTheEnvironmentIsIgnored() async {
        await withServer(RawServer(answering: accepted)) { server in
            await Harness.with { harness in
                #expect(getenv("http_proxy") != nil)
                #expect(await harness.call(post(server.url())).response?.status == 202)
                let failure = await harness.call(get("https://127.0.0.1:\(refusingPort)/")).failure
                #expect(failure?.cause == .connect)
            }
            #expect(Harness.proxyOfTheEnvironment.connections == 0)
        }
    }

    // MARK: Many calls, and the end

    @Test func fiveHundredCallsOnSixtyFourSlotsAreEachAnsweredOnce() async {
        struct Tally: Sendable {
            var started = 0
            var answered = [Int](repeating: 0, count: 500)
            var most = 0
        }
        let server = RawServer { connection in
            while let request = connection.readRequest() {
                let body = request.target.dropFirst()
                connection.write("HTTP/1.1 202 Accepted\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            }
        }
        await withServer(server) { server in
            await Harness.with(calls: 64) { harness in
                let tally = Mutex(Tally())
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    @Sendable func fill() {
                        while harness.driver.freeSlots > 0 {
                            let next: Int? = tally.withLock { tally in
                                guard tally.started < 500 else { return nil }
                                tally.started += 1
                                return tally.started - 1
                            }
                            guard let next else { return }
                            harness.driver.send(post(server.url("/\(next)")), mayLeave: { true }) { answer in
                                let isLast = tally.withLock { tally in
                                    if answer.response?.body == Array("\(next)".utf8) { tally.answered[next] += 1 }
                                    return tally.answered.reduce(0, +) == 500
                                }
                                // A completion may begin the next calls.
                                fill()
                                if isLast { continuation.resume() }
                            }
                            tally.withLock { $0.most = max($0.most, harness.driver.callsInFlight) }
                        }
                    }
                    harness.loop.run { fill() }
                }
                #expect(tally.withLock { $0.answered.allSatisfy { $0 == 1 } })
                #expect(tally.withLock { $0.most } == 64)
                #expect(await harness.onLoop { $0.driver.freeSlots } == 64)
            }
            #expect(server.requests.count == 500)
            #expect(server.connections <= 64)
        }
    }

    @Test func completionsAreNeverCalledFromInsideSend() async {
        await Harness.with { harness in
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                harness.loop.run {
                    let inside = Mutex(true)
                    harness.driver.send(get("http://192.0.2.1/"), mayLeave: { true }) { _ in
                        #expect(!inside.withLock { $0 })
                        continuation.resume()
                    }
                    inside.withLock { $0 = false }
                }
            }
        }
    }

    @Test(arguments: [false, true])
    func cancellingAndClosingEndEveryCallAndSayWhatMayHaveLeft(_ byClosing: Bool) async {
        let arrived = Signal()
        let plain = RawServer { connection in
            _ = connection.readRequest()
            arrived.give()
            _ = connection.readToEnd()
        }
        let silent = RawServer { _ = $0.readToEnd() }
        await withServer(plain) { plain in
            await withServer(silent) { silent in
                let failures = Mutex<[String: HTTPFailure]>([:])
                await Harness.with { harness in
                    await harness.onLoop { harness in
                        for (name, url) in [("left", plain.url()), ("connecting", "https://127.0.0.1:\(silent.port)/")]
                        {
                            harness.driver.send(post(url), mayLeave: { true }) { answer in
                                failures.withLock { $0[name] = answer.failure }
                            }
                        }
                    }
                    #expect(await arrived.given())
                    if byClosing {
                        await harness.onLoop { $0.driver.close() }
                        #expect(failures.withLock { $0.count } == 2)
                    } else {
                        await harness.onLoop { $0.driver.cancelAll() }
                        // The driver goes on.
                        #expect(await harness.call(get("http://192.0.2.1/")).failure?.cause == .refused)
                        #expect(await harness.onLoop { $0.driver.freeSlots } == 8)
                    }
                }
                let ended = failures.withLock { $0 }
                #expect(ended["left"]?.sent == .maybe && ended["left"]?.cause == .cancelled)
                #expect(ended["connecting"]?.sent == .surelyNot && ended["connecting"]?.cause == .cancelled)
            }
        }
    }

    @Test func sendingWithoutAFreeSlotIsAProgrammingError() async {
        await #expect(processExitsWith: .failure) {
            await Harness.with(calls: 1) { harness in
                await harness.onLoop { harness in
                    for _ in 0..<2 { harness.driver.send(get("https://127.0.0.1:1/"), mayLeave: { true }) { _ in } }
                }
            }
        }
    }
}
