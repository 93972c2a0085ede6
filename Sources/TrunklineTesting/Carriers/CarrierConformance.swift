package import TrunklineCore

/// What every carrier must do, whatever its outside system is: each rule of the port that a test can hold it to. A carrier of
/// the registry that breaks one loses or doubles deliveries, or shows a secret.
package struct CarrierConformance: Sendable {
    package enum Rule: String, Sendable, Hashable, CaseIterable {
        /// The same job makes the same bytes.
        case rendersTheSameBytes
        /// What was rendered can be read back, and says what the ledger says; a broken piece of it says nothing.
        case readsItsBytesBack
        /// Work that it cannot carry is refused, not rendered.
        case refusesForeignWork
        /// An address that was stored is read as itself.
        case readsItsAddressBack
        /// An exchange ends, with an outcome that can be settled, within `ExchangeLimits.longest` steps.
        case endsEveryExchange
        /// Once a step may have taken effect and nobody said whether, the outcome says so, or that it was sent.
        case neverForgetsALostAnswer
        /// What surely never left is not said to have been sent, or perhaps sent.
        case neverCountsWhatNeverLeft
        /// No evidence holds a secret, whatever the answer repeats.
        case keepsNoSecretInEvidence
        /// No description or dump shows a secret.
        case showsNoSecret
        /// No refusal repeats a secret.
        case refusesWithoutTheSecret
        /// An account is the same as one of the same address and secret, and as no other.
        case knowsItsAccount
        /// Calls go to the address's origin only, into private networks only where that is allowed.
        case staysAtItsAddress
        /// An exchange whose policy does not say that it begins quietly begins with a call that counts as one that may take effect.
        case beginsAsItsPolicySays
        /// One whose exchanges need credentials says how they are got.
        case knowsHowToRefresh
        /// It asks for health exactly when its gate opens by health.
        case asksAsItsPolicySays
    }

    package struct Violation: Sendable, Hashable, CustomStringConvertible {
        package let rule: Rule
        package let detail: String
        package var description: String { "\(rule.rawValue): \(detail)" }
    }

    /// What the suite must know of a carrier to try it.
    package struct Sample: Sendable {
        package enum Role: Sendable {
            case line, destination
        }

        let role: Role
        let address: String
        let otherAddress: String
        let secret: String
        let otherSecret: String
        let mustNotShow: [String]

        /// - Parameter mustNotShow: the parts of address and secret that nobody may see.
        package init(
            _ role: Role,
            address: String,
            otherAddress: String,
            secret: String,
            otherSecret: String,
            mustNotShow: [String]
        ) {
            self.role = role
            self.address = address
            self.otherAddress = otherAddress
            self.secret = secret
            self.otherSecret = otherSecret
            self.mustNotShow = mustNotShow
        }
    }

    let carrier: any Carrier
    let sample: Sample

    package init(_ carrier: any Carrier, _ sample: Sample) {
        self.carrier = carrier
        self.sample = sample
    }

    /// Every rule that the carrier breaks, each with one example.
    ///
    /// - Parameter seed: decides the mixed sequences of answers.
    package func violations(seed: UInt64) throws -> [Violation] {
        var found: [Rule: String] = [:]
        func broken(_ rule: Rule, _ detail: String) {
            if found[rule] == nil { found[rule] = detail }
        }
        checkBytes(broken)
        try checkAddressAndAccount(broken)
        checkRefusals(broken)
        try checkExchanges(seed: seed, broken)
        return Rule.allCases.compactMap { rule in found[rule].map { Violation(rule: rule, detail: $0) } }
    }

    typealias Report = (Rule, String) -> Void

    // MARK: Bytes

    private func checkBytes(_ broken: Report) {
        let works = Self.works(of: sample.role)
        for (index, work) in works.enumerated() {
            do throws(Refusal) {
                let bytes = try carrier.render(work)
                if try carrier.render(work) != bytes { broken(.rendersTheSameBytes, "work \(index)") }
                if carrier.content(of: bytes) != Self.content(of: work) {
                    broken(.readsItsBytesBack, "work \(index)")
                }
                for piece in [[], Array(bytes.dropLast()), Array(bytes.prefix(bytes.count / 2)), bytes + bytes]
                where carrier.content(of: piece) != nil {
                    broken(.readsItsBytesBack, "\(piece.count) of \(bytes.count) bytes of work \(index)")
                }
            } catch {
                broken(.rendersTheSameBytes, "work \(index) is refused: \(error)")
            }
        }
        for work in Self.works(of: sample.role == .line ? .destination : .line)
        where (try? carrier.render(work)) != nil {
            broken(.refusesForeignWork, "it renders what it cannot carry")
        }
    }

    /// As the ledger has it.
    private static func content(of work: CarriedWork) -> StoredContent {
        switch work {
        case .send(let job): StoredContent(recipient: job.to.value, digest: job.contentDigest)
        case .deliver(let job): StoredContent(recipient: nil, digest: job.contentDigest)
        }
    }

    // MARK: Address, account, policy

    func account(_ address: String? = nil, _ secret: String? = nil, mayBePrivate: Bool = false) throws(Refusal)
        -> any CarrierAccount
    {
        let address = try carrier.address(address ?? sample.address, mayBePrivate: mayBePrivate)
        return try carrier.account(at: address, secret: Array((secret ?? sample.secret).utf8))
    }

    private func checkAddressAndAccount(_ broken: Report) throws {
        for text in [sample.address, sample.otherAddress] {
            let address = try carrier.address(text, mayBePrivate: false)
            if try carrier.address(address.value, mayBePrivate: false) != address {
                broken(.readsItsAddressBack, address.shown)
            }
            if !address.value.hasPrefix(address.origin) || address.mayBePrivate {
                broken(.staysAtItsAddress, "its address is not at its origin, or opens private networks")
            }
        }
        let account = try account()
        let others = [
            try self.account(sample.otherAddress), try self.account(nil, sample.otherSecret),
            try self.account(mayBePrivate: true), ForeignAccount(address: account.address),
        ]
        if try !account.isSame(as: self.account()) { broken(.knowsItsAccount, "it is not itself") }
        for (index, other) in others.enumerated() where account.isSame(as: other) || other.isSame(as: account) {
            broken(.knowsItsAccount, "it is another: number \(index)")
        }
        if (account.healthQuestion != nil) != (carrier.policy.opening == .health) {
            broken(.asksAsItsPolicySays, "opening by \(carrier.policy.opening)")
        }
        if let question = account.healthQuestion { check(question, of: account, broken) }
        if let refresh = account.refresh(nil) { check(refresh.call, of: account, broken) }
        let hint = try carrier.secretHint(Array(sample.secret.utf8))
        checkShown([hint, account.address.shown, "\(carrier)"], "hint or address", broken)
        checkShown(Self.appearances(of: account) + Self.appearances(of: account.address), "account", broken)
    }

    /// An account of somebody else's.
    private struct ForeignAccount: CarrierAccount {
        let address: CarrierAddress
        var healthQuestion: OutsideCall? { nil }
        func health(_ result: CallResult) -> HealthVerdict { .open(note: nil) }
        func advice(on result: CallResult) -> String? { nil }
        func exchange(_ attempt: CarriedAttempt) -> any Exchange { preconditionFailure("never begun") }
        func isSame(as other: any CarrierAccount) -> Bool { other is ForeignAccount }
    }

    // MARK: Refusals

    private func checkRefusals(_ broken: Report) {
        let secret = sample.secret
        let secrets = [
            "", " ", "x" + secret, secret + "!", secret + "\u{0}", String(secret.dropFirst()), secret + "é",
            secret + "\n" + secret, secret + "\n" + secret + "\n" + secret, secret + ":" + secret,
        ]
        for text in secrets {
            do throws(Refusal) {
                _ = try carrier.secretHint(Array(text.utf8))
                _ = try account(nil, text)
            } catch {
                checkRefusal(error, broken)
            }
        }
        let address = sample.address
        let host = address.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).joined(separator: "/")
        let addresses = [
            "", address + " x", address + "\n", address + "\"", address + "\\", "https://user:word@" + host,
            "ftp://" + host, "http://" + host, address + "#f", address + "{{order}}",
            address + String(repeating: "x", count: 2_100),
        ]
        for text in addresses {
            for mayBePrivate in [true, false] {
                do throws(Refusal) {
                    _ = try carrier.address(text, mayBePrivate: mayBePrivate)
                } catch {
                    checkRefusal(error, broken)
                }
            }
        }
    }

    private func checkRefusal(_ refusal: Refusal, _ broken: Report) {
        let texts = [refusal.description, refusal.reason, refusal.field ?? ""]
        for text in texts where leaks(text) {
            broken(.refusesWithoutTheSecret, "the refusal of the field \(refusal.field ?? "-")")
        }
    }

    // MARK: Appearance

    func checkShown(_ texts: [String], _ what: String, _ broken: Report) {
        for text in texts where leaks(text) { broken(.showsNoSecret, what) }
    }

    /// A good part of a secret is too much.
    func leaks(_ text: String) -> Bool { sample.mustNotShow.contains { text.contains($0.prefix(16)) } }

    static func appearances(of value: Any) -> [String] {
        var dumped = ""
        dump(value, to: &dumped)
        return ["\(value)", String(reflecting: value), String(reflecting: [value]), dumped]
    }

    func check(_ call: OutsideCall, of account: any CarrierAccount, looks: Bool = true, _ broken: Report) {
        let origin = account.address.origin
        let rest = call.url.dropFirst(origin.count)
        if !call.url.hasPrefix(origin) || !(rest.isEmpty || rest.hasPrefix("/") || rest.hasPrefix("?")) {
            broken(.staysAtItsAddress, "a call leaves its origin")
        }
        if call.onlyPublicHosts == account.address.mayBePrivate {
            broken(.staysAtItsAddress, "a call has private networks open or closed against its address")
        }
        if looks { checkShown(Self.appearances(of: call), "call", broken) }
    }
}
