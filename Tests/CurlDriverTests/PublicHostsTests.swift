import CPlatform
import TestKit
import Testing

@testable import CurlDriver

/// Where a URL that a customer gave may lead.
@Suite(.timeLimit(.minutes(2))) struct PublicHostsTests {
    // MARK: The list

    struct Closed: Sendable {
        let first: String
        let last: String
        /// The neighbours outside, where they are open.
        var before: String?
        var after: String?
    }

    static let closed: [Closed] = [
        .init(first: "0.0.0.0", last: "0.255.255.255", after: "1.0.0.0"),
        .init(first: "10.0.0.0", last: "10.255.255.255", before: "9.255.255.255", after: "11.0.0.0"),
        .init(first: "100.64.0.0", last: "100.127.255.255", before: "100.63.255.255", after: "100.128.0.0"),
        .init(first: "127.0.0.0", last: "127.255.255.255", before: "126.255.255.255", after: "128.0.0.0"),
        .init(first: "169.254.0.0", last: "169.254.255.255", before: "169.253.255.255", after: "169.255.0.0"),
        .init(first: "172.16.0.0", last: "172.31.255.255", before: "172.15.255.255", after: "172.32.0.0"),
        .init(first: "192.0.0.0", last: "192.0.0.255", before: "191.255.255.255", after: "192.0.1.0"),
        .init(first: "192.0.2.0", last: "192.0.2.255", before: "192.0.1.255", after: "192.0.3.0"),
        .init(first: "192.88.99.0", last: "192.88.99.255", before: "192.88.98.255", after: "192.88.100.0"),
        .init(first: "192.168.0.0", last: "192.168.255.255", before: "192.167.255.255", after: "192.169.0.0"),
        .init(first: "198.18.0.0", last: "198.19.255.255", before: "198.17.255.255", after: "198.20.0.0"),
        .init(first: "198.51.100.0", last: "198.51.100.255", before: "198.51.99.255", after: "198.51.101.0"),
        .init(first: "203.0.113.0", last: "203.0.113.255", before: "203.0.112.255", after: "203.0.114.0"),
        .init(first: "224.0.0.0", last: "239.255.255.255", before: "223.255.255.255"),
        .init(first: "240.0.0.0", last: "255.255.255.255"),
        .init(first: "::", last: "::"),
        .init(first: "::1", last: "::1"),
        // IPv4 in older clothes, which a host may still take off.
        .init(first: "::7f00:1", last: "::a00:1"),
        .init(first: "64:ff9b::", last: "64:ff9b::ffff:ffff"),
        .init(first: "64:ff9b:1::", last: "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        .init(first: "100::", last: "100::ffff:ffff:ffff:ffff"),
        .init(first: "2001::", last: "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", after: "2001:200::"),
        .init(
            first: "2001:db8::",
            last: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            before: "2001:db7:ffff::",
            after: "2001:db9::"
        ),
        .init(first: "2002::", last: "2002:ffff::ffff", before: "2001:ffff::", after: "2003::"),
        .init(first: "3fff::", last: "3fff:fff:ffff::", before: "3ffe::", after: "3fff:1000::"),
        .init(first: "5f00::", last: "5f00:ffff::"),
        .init(first: "fc00::", last: "fdff:ffff::ffff"),
        .init(first: "fd00:ec2::254", last: "fd00:ec2::254"),
        .init(first: "fe80::", last: "febf:ffff::ffff"),
        .init(first: "fec0::", last: "feff::1"),
        .init(first: "ff00::", last: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ]

    private func isPublic(_ text: String) throws -> Bool {
        PublicNetwork.isPublic(try #require(PublicNetwork.bytes(ofAddress: text), "\(text)"))
    }

    @Test(arguments: closed)
    func everyRangeIsClosedToItsEdgesAndNoFurther(_ range: Closed) throws {
        for address in [range.first, range.last] {
            #expect(try !isPublic(address), "\(address)")
            if !address.contains(":") { #expect(try !isPublic("::ffff:" + address), "::ffff:\(address)") }
        }
        for address in [range.before, range.after].compactMap({ $0 }) {
            #expect(try isPublic(address), "\(address)")
            if !address.contains(":") { #expect(try isPublic("::ffff:" + address), "::ffff:\(address)") }
        }
    }

    @Test(arguments: ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1"])
    func theInternetIsOpen(_ address: String) throws {
        #expect(try isPublic(address))
    }

    @Test(arguments: ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "fe80::1%lo", "[::1]", "1.1.1.1 "])
    func whatIsNoAddressHasNone(_ text: String) {
        #expect(PublicNetwork.bytes(ofAddress: text) == nil)
    }

    @Test func anAddressOfAnotherFamilyIsClosed() {
        var other = sockaddr()
        other.sa_family = sa_family_t(AF_UNIX)
        #expect(PublicNetwork.bytes(of: &other) == nil)
        for length in [0, 3, 5, 15, 17] { #expect(!PublicNetwork.isPublic([UInt8](repeating: 8, count: length))) }
    }

    // MARK: The connection

    private func withServer<Value>(
        _ answer: String = accepted,
        _ body: (RawServer) async throws -> Value
    ) async rethrows -> Value {
        let server = RawServer(answering: answer)
        do {
            let value = try await body(server)
            await offPool { server.stop() }
            return value
        } catch {
            await offPool { server.stop() }
            throw error
        }
    }

    private func outward(_ url: String) -> HTTPRequest {
        var request = post(url)
        request.onlyPublicHosts = true
        return request
    }

    private func expectRefused(_ answer: Answer, _ comment: Comment? = nil) {
        #expect(answer.failure?.cause == .refused, comment)
        #expect(answer.failure?.sent == .surelyNot, comment)
        #expect(answer.failure?.reason.contains("public internet") == true, comment)
    }

    /// However it is written, and although each of them is reached without the rule.
    @Test(arguments: ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.0x1"])
    func whatLeadsToThisMachineIsRefused(_ host: String) async {
        await withServer { server in
            await Harness.with { harness in
                for scheme in ["http", "https"] {
                    let asked = Counter()
                    let answer = await harness.call(outward("\(scheme)://\(host):\(server.port)/")) {
                        asked.add()
                        return true
                    }
                    expectRefused(answer, "\(scheme)")
                    #expect(asked.value == 0)
                }
                #expect(server.connections == 0)
                #expect(await harness.call(post("http://\(host):\(server.port)/")).response?.status == 202)
            }
        }
    }

    @Test(arguments: ["[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "0.0.0.0"])
    func anAddressOfAPrivateNetworkIsRefused(_ host: String) async {
        await Harness.with { harness in
            expectRefused(await harness.call(outward("https://\(host):\(refusingPort)/")))
        }
    }

    /// A name of the internet that leads here: what its text says does not matter.
    @Test func aNameThatIsMadeToLeadHereIsRefused() async {
        // Ends each connection at once: no certificate comes.
        let server = RawServer { _ in }
        let rebinding = "hooks.example.com:443:127.0.0.1:\(server.port)"
        await Harness.with(connectTo: rebinding) { harness in
            expectRefused(await harness.call(outward("https://hooks.example.com/")))
            #expect(server.connections == 0)
            // Without the rule it does lead here.
            #expect(await harness.call(post("https://hooks.example.com/")).failure?.cause == .tls)
            #expect(server.connections == 1)
        }
        await offPool { server.stop() }
    }

    @Test func aKeptConnectionIsLookedAtAgain() async {
        await withServer { server in
            await Harness.with(alsoPublic: ["127.0.0.1"]) { harness in
                #expect(await harness.call(outward(server.url())).response?.status == 202)
                await harness.onLoop { $0.driver.alsoPublic = [] }
                expectRefused(await harness.call(outward(server.url())))
                #expect(server.requests.count == 1 && server.connections == 1)
            }
        }
    }

    /// ::1 is refused, 127.0.0.1 is not: a refused address does not speak for the others.
    @Test func aHostWithOneGoodAddressIsReached() async {
        await withServer { server in
            await Harness.with(alsoPublic: ["127.0.0.1"]) { harness in
                let answer = await harness.call(outward("http://localhost:\(server.port)/"))
                #expect(answer.response?.status == 202, "\(answer)")
            }
        }
    }

    @Test func theTwoKindsOfCallsShareNoConnection() async {
        await withServer { server in
            await Harness.with(calls: 2, alsoPublic: ["127.0.0.1"]) { harness in
                for _ in 0..<3 {
                    #expect(await harness.call(post(server.url())).response?.status == 202)
                    #expect(await harness.call(outward(server.url())).response?.status == 202)
                }
                #expect(await harness.onLoop { $0.driver.freeSlots } == 2)
            }
            let usedFor = Dictionary(grouping: server.requests.enumerated(), by: \.element.connection)
                .mapValues { Set($0.map { $0.offset % 2 }) }
            #expect(usedFor == [0: [0], 1: [1]])
        }
    }

    @Test(arguments: [301, 302, 303, 307, 308])
    func aRedirectIsNotFollowed(_ status: Int) async {
        await withServer { other in
            let location = other.url("/metadata")
            let answer = "HTTP/1.1 \(status) Elsewhere\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n"
            await withServer(answer) { server in
                await Harness.with(alsoPublic: ["127.0.0.1"]) { harness in
                    #expect(await harness.call(outward(server.url())).response?.status == status)
                }
                #expect(server.requests.count == 1 && other.connections == 0)
            }
        }
    }
}
