internal import TestKit
internal import TrunklineCore
internal import TrunklineIntegrations

extension SourceConformance {
    func checkProof(_ account: SourceAccount, seed: UInt64, _ broken: Report) throws {
        var random = SeededGenerator(seed: seed, part: "proof")
        let both = sample.secret.isEmpty ? account : try self.account(sample.secret + "\n" + sample.otherSecret)
        for (index, fixture) in sample.fixtures.enumerated() {
            let place = "fixture \(index)"
            for secret in [sample.secret, sample.otherSecret] where !secret.isEmpty || sample.proof == .none {
                if let refusal = refusal(of: sample.sign(fixture, secret, Self.now), both) {
                    broken(.acceptsItsSender, "\(place): \(refusal)")
                }
            }
            if sample.proof == .none { continue }
            if accepts(sample.sign(fixture, sample.otherSecret, Self.now), account) {
                broken(.refusesAnotherSecret, place)
            }
            let request = sample.sign(fixture, sample.secret, Self.now)
            if let refusal = refusal(of: request, account) { broken(.acceptsItsSender, "\(place): \(refusal)") }
            switch sample.proof {
            case .signature(let header, let isTimed):
                checkChanges(of: request, account, using: &random, place, broken)
                checkHeader(header, of: request, account, isEncoded: true, place, broken)
                if isTimed { checkTimes(fixture, account, place, broken) }
            case .token(let header):
                checkHeader(header, of: request, account, isEncoded: false, place, broken)
            case .inBody, .none: break
            }
        }
    }

    private func refusal(of request: ReceivedRequest, _ account: SourceAccount) -> SourceRefusal? {
        do throws(SourceRefusal) {
            try source.verify(request, account, now: Self.now)
            return nil
        } catch {
            return error
        }
    }

    private func accepts(_ request: ReceivedRequest, _ account: SourceAccount) -> Bool {
        refusal(of: request, account) == nil
    }

    private func checkChanges(
        of request: ReceivedRequest,
        _ account: SourceAccount,
        using random: inout SeededGenerator,
        _ place: String,
        _ broken: Report
    ) {
        var changed: [[UInt8]] = [request.body + [0x20], Array(request.body.dropLast()), []]
        for _ in 0..<40 where !request.body.isEmpty {
            var body = request.body
            body[Int.random(in: body.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            changed.append(body)
        }
        for body in changed where body != request.body {
            let forged = ReceivedRequest(
                request.method,
                url: request.url,
                path: request.path,
                headers: request.headers,
                body: body
            )
            if accepts(forged, account) { broken(.refusesChangedBytes, "\(place): \(body.count) bytes") }
        }
    }

    private func checkHeader(
        _ name: String,
        of request: ReceivedRequest,
        _ account: SourceAccount,
        isEncoded: Bool,
        _ place: String,
        _ broken: Report
    ) {
        let others = request.headers.filter { $0.name.lowercased() != name }
        guard let header = request.headers.first(where: { $0.name.lowercased() == name }) else {
            return broken(.refusesWithoutProof, "\(place): the sample's requests have no \(name)")
        }
        var values = [
            [], [header.value, header.value], [""], [" "], [String(header.value.dropLast())],
            [String(header.value.dropFirst())], [header.value + "="], ["x" + header.value],
            [String(header.value.reversed())], [String(repeating: "A", count: header.value.utf8.count)],
        ]
        if isEncoded {
            // The other alphabet of Base64, and no padding.
            values.append([header.value.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")])
            // Hexadecimal has two cases.
            if !Self.isHexadecimal(header.value) { values.append([Self.swappingCase(header.value)]) }
        }
        for list in values {
            let forged = ReceivedRequest(
                request.method,
                url: request.url,
                path: request.path,
                headers: others + list.map { (header.name, $0) },
                body: request.body
            )
            if list != [header.value], accepts(forged, account) {
                broken(.refusesWithoutProof, "\(place): \(list.count) headers of \(list.first?.utf8.count ?? 0) bytes")
            }
        }
    }

    private static func isHexadecimal(_ text: String) -> Bool {
        text.suffix(64).utf8.count == 64 && text.suffix(64).allSatisfy(\.isHexDigit)
    }

    private static func swappingCase(_ text: String) -> String {
        String(text.map { $0.isUppercase ? Character($0.lowercased()) : Character($0.uppercased()) })
    }

    private func checkTimes(_ fixture: Fixture, _ account: SourceAccount, _ place: String, _ broken: Report) {
        for minutes in [-60 * 24 * 365 * 20, -60 * 24, -30, 30, 60 * 24] {
            let time = Self.now + .seconds(minutes * 60)
            if accepts(sample.sign(fixture, sample.secret, time), account) {
                broken(.refusesOtherTimes, "\(place): \(minutes) minutes")
            }
        }
    }

    // MARK: Bytes that nobody sends

    func checkAnyBytes(_ account: SourceAccount, seed: UInt64, _ broken: Report) {
        var random = SeededGenerator(seed: seed, part: "bytes")
        for fixture in sample.fixtures {
            for body in Self.damaged(fixture.body, using: &random) {
                feed(body, fixture.headers, account, broken)
            }
        }
        for fixture in sample.fixtures.prefix(1) {
            for body in Self.strange { feed(body, fixture.headers, account, broken) }
        }
    }

    /// Feeds the source with so many damaged requests as a test run has time for.
    package func fuzz(seed: UInt64) throws -> [Violation] {
        let account = try account(sample.secret)
        var found: [String] = []
        let bodies = sample.fixtures.map(\.body)
        var random = SeededGenerator(seed: seed, part: source.kind.value)
        for body in ByteFuzzer(bodies, seed: seed, part: "fuzz " + source.kind.value) {
            feed(body, random.pick(sample.fixtures).headers, account) { _, detail in
                if found.count < 10 { found.append(detail) }
            }
        }
        return found.map { Violation(rule: .survivesAnyBytes, detail: $0) }
    }

    /// Everything that is done with a request, with whatever came: what matters is that it ends.
    private func feed(
        _ body: [UInt8],
        _ headers: [ReceivedRequest.Header],
        _ account: SourceAccount,
        _ broken: Report
    ) {
        let request = ReceivedRequest(url: Self.url, headers: headers, body: body)
        _ = source.handshake(request, account)
        _ = refusal(of: request, account)
        let events = source.events(in: request, account, now: Self.now)
        if !(1...EventPack.largest).contains(events.count) {
            broken(.survivesAnyBytes, "\(body.count) bytes are \(events.count) events")
        }
        for event in events {
            let key = source.eventKey(of: event)
            if key.value.isEmpty || key.value.utf8.count > EventKey.longest {
                broken(.survivesAnyBytes, "a key of \(key.value.utf8.count) bytes")
            }
            if case .facts(let facts)? = try? source.read(event, account.settings), facts.isEmpty {
                broken(.survivesAnyBytes, "facts without a fact")
            }
        }
    }

    private static func damaged(_ body: [UInt8], using random: inout SeededGenerator) -> [[UInt8]] {
        guard !body.isEmpty else { return [[]] }
        var bodies: [[UInt8]] = []
        for _ in 0..<60 { bodies.append(Array(body.prefix(Int.random(in: 0...body.count, using: &random)))) }
        for _ in 0..<100 {
            var changed = body
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changed[Int.random(in: changed.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bodies.append(changed)
        }
        for _ in 0..<40 {
            var changed = body
            let start = Int.random(in: changed.indices, using: &random)
            let end = Int.random(in: start..<min(start + 40, changed.count), using: &random)
            if Bool.random(using: &random) {
                changed.removeSubrange(start...end)
            } else {
                changed.insert(contentsOf: changed[start...end], at: start)
            }
            bodies.append(changed)
        }
        return bodies
    }

    private static let strange: [[UInt8]] = {
        let texts = [
            "", " ", "{}", "[]", "null", "0", "\"\"", "[{}]", "[[]]", "{\"\":{}}", "\u{FEFF}{}", "id=1", "%", "=&=&",
            "a=%zz",
            "{\"id\":1e400,\"order_id\":-0.0}", "{\"id\":123456789012345678901234567890}", "<a/>", "<!DOCTYPE a>",
            String(repeating: "[", count: 10_000), String(repeating: "{\"a\":", count: 10_000),
            "[" + String(repeating: "7,", count: 20_000) + "7]",
            "{\"a\":\"" + String(repeating: "x", count: 1_048_000) + "\"}", "--x\r\n\r\n--x--",
        ]
        return texts.map { Array($0.utf8) } + [[0xFF, 0xFE, 0x00], [0x7B, 0x22, 0xC3, 0x28, 0x22, 0x3A, 0x31, 0x7D]]
    }()
}
