import CurlDriver
import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// Credentials of a lane: read, asked for once, committed before they are used.
@Suite struct CredentialKeeperTests {
    /// Says what it was asked with; its answers' bodies are `ACCESS RENEWAL`.
    private struct Account: CarrierAccount {
        let address: CarrierAddress
        var healthQuestion: OutsideCall? { nil }
        func health(_ result: CallResult) -> HealthVerdict { .open(note: nil) }
        func advice(on result: CallResult) -> String? { nil }
        func exchange(_ attempt: CarriedAttempt) -> any Exchange { preconditionFailure("never begun") }
        func isSame(as other: any CarrierAccount) -> Bool { true }
        func refresh(_ last: LaneCredentials?) -> CredentialRefresh? {
            let call = OutsideCall(
                .post,
                address.value,
                headers: [],
                body: last?.renewal ?? Array("secret".utf8),
                onlyPublicHosts: false
            )
            return CredentialRefresh(call) { result, _ in
                guard case .success(let answer) = result else { return .failed }
                let words = String(decoding: answer.body, as: UTF8.self).split(separator: " ").map(String.init)
                guard answer.status == 200, words.count == 2 else { return .refused }
                return .renewed(
                    LaneCredentials(
                        credentials: Credentials(accessToken: words[0]),
                        renewal: Array(words[1].utf8),
                        lifetime: .seconds(600)
                    )
                )
            }
        }
    }

    /// What a worker was told that needed credentials, in order.
    private final class Heard {
        var words: [String] = []
        func callAsFunction(_ answer: CredentialKeeper.Answer) {
            switch answer {
            case .have(let credentials): words.append(credentials.accessToken)
            case .none: words.append("none")
            case .refused: words.append("refused")
            }
        }
    }

    private let kit: PartsKit
    private let heard = Heard()
    private var keeper: CredentialKeeper { kit.parts.credentials }

    init() throws {
        kit = try PartsKit()
        kit.own()
    }

    /// Lane 1 with that secret.
    private func settings(secret: String = "secret") throws -> LaneSettings {
        let known = try #require(kit.parts.directory[1])
        let address = CarrierAddress(
            value: "https://a.example",
            origin: "https://a.example",
            shown: "",
            mayBePrivate: true
        )
        let name = try #require(known.name)
        return LaneSettings(
            id: known.id,
            name: name,
            lane: 1,
            shard: known.shard,
            revision: 1,
            carrier: known.carrier,
            policy: known.policy,
            origin: nil,
            account: Account(address: address),
            credentialOwner: .init(name, address, secret: Array(secret.utf8)),
            fault: nil,
            pace: known.pace,
            dailyCap: nil,
            isRemoved: false,
            isHeld: false,
            holdEnds: nil
        )
    }

    private func need(secret: String = "secret", refused: String? = nil) throws {
        let refused = refused.map { Credentials(accessToken: $0) }
        keeper.need(try settings(secret: secret), refused: refused) { heard($0) }
    }

    /// Answers what is under way in the database, but no call.
    private func settle() { kit.settler.endAll() }

    private func answer(_ status: Int, _ body: String) {
        kit.http.end(.success(HTTPResponse(status: status, body: Array(body.utf8))))
    }

    private var asked: [String] {
        kit.http.calls.map { String(decoding: $0.request.body ?? [], as: UTF8.self) }
    }

    @Test func theyAreCommittedBeforeAnythingUsesThem() throws {
        try need()
        settle()
        #expect(asked == ["secret"])
        answer(200, "a1 r1")
        #expect(kit.settler.names == ["end_refresh"] && heard.words.isEmpty)
        settle()
        #expect(heard.words == ["a1"])
        #expect(kit.model.credentials[1]?.generation == 1 && kit.model.credentials[1]?.refresher == nil)
    }

    @Test func oneQuestionForAllWhoNeedThem() throws {
        for _ in 0..<3 { try need() }
        settle()
        #expect(asked == ["secret"])
        try need()
        answer(200, "a1 r1")
        settle()
        #expect(heard.words == ["a1", "a1", "a1", "a1"])
        try need()
        #expect(heard.words.count == 5 && kit.settler.names.isEmpty && kit.http.calls.isEmpty)
    }

    /// The next ones are asked for with what the last ones brought, when they were refused or would end during a call.
    @Test(arguments: [true, false])
    func theNextOnesFollowTheLast(wereRefused: Bool) throws {
        try need()
        settle()
        answer(200, "a1 r1")
        settle()
        if !wereRefused { kit.loop.pass(.seconds(590)) }
        try need(refused: wereRefused ? "a1" : nil)
        settle()
        #expect(asked == ["r1"])
        answer(200, "a2 r2")
        settle()
        #expect(heard.words == ["a1", "a2"] && kit.model.credentials[1]?.generation == 2)
    }

    /// Another worker's are read before anything is asked for.
    @Test func anotherWorkersAreUsed() throws {
        try need()
        settle()
        answer(200, "a1 r1")
        settle()
        try keep("a2", "r2", generation: 2)
        try need(refused: "a1")
        settle()
        #expect(heard.words == ["a1", "a2"] && kit.http.calls.isEmpty)
    }

    private func keep(_ access: String, _ renewal: String, generation: Int64) throws {
        let owner = try #require(try settings().credentialOwner)
        let new = LaneCredentials(
            credentials: Credentials(accessToken: access),
            renewal: Array(renewal.utf8),
            lifetime: .zero
        )
        var row = LedgerModel.CredentialsRow()
        row.generation = generation
        row.sealed = try SealedCredentials(new, of: owner, generation: generation, PartsKit.masterKey)
        row.expiresAt = kit.model.now + 600_000_000
        kit.model.credentials[1] = row
    }

    @Test func whoeverFellBehindReadsAgain() throws {
        try need()
        kit.settler.end()
        #expect(kit.settler.names == ["begin_refresh"])
        try keep("a1", "r1", generation: 1)
        settle()
        #expect(heard.words == ["a1"] && kit.http.calls.isEmpty)
    }

    @Test func whileAnotherWorkerAsksNobodyElseDoes() throws {
        var row = LedgerModel.CredentialsRow()
        row.refresher = BootID(bytes: Array(repeating: 9, count: 16))
        row.refreshUntil = kit.model.now + 30_000_000
        kit.model.credentials[1] = row
        try need()
        settle()
        #expect(heard.words == ["none"] && kit.http.calls.isEmpty)
        kit.loop.pass(.seconds(31))
        try need()
        settle()
        #expect(kit.http.calls.count == 1)
    }

    @Test func whoLostTheShardAsksForNothing() throws {
        kit.model.shards[1].fence += 1
        try need()
        settle()
        #expect(heard.words == ["none"] && kit.http.calls.isEmpty)
    }

    /// They may be the only ones that are good for anything: kept until they are committed, used only then, lease or not.
    @Test(arguments: ["statement", "connection", "reply"])
    func aCommitThatFailedIsRepeated(what: String) throws {
        try need()
        settle()
        answer(200, "a1 r1")
        switch what {
        case "statement": kit.settler.end(serverError)
        case "connection":
            kit.settler.isConnected = false
            kit.settler.end(connectionLost)
        default:
            // It took effect, and its reply was lost.
            try keep("a1", "r1", generation: 1)
            kit.settler.end(connectionLost)
        }
        #expect(heard.words == ["none"] && !keeper.isDone)
        try need()
        #expect(heard.words == ["none", "none"])
        kit.loop.pass(.milliseconds(300))
        kit.settler.isConnected = true
        kit.loop.pass(.milliseconds(300))
        settle()
        #expect(keeper.isDone && kit.model.credentials[1]?.generation == 1)
        try need()
        settle()
        #expect(heard.words.last == "a1" && kit.http.calls.isEmpty)
    }

    @Test func aRefusalIsOneAndTheNextMayAsk() throws {
        try need()
        settle()
        answer(400, "")
        settle()
        #expect(heard.words == ["refused"] && kit.model.credentials[1]?.refresher == nil)
        // Not when somebody has others by now.
        try need()
        settle()
        try keep("a1", "r1", generation: 1)
        answer(400, "")
        settle()
        #expect(heard.words == ["refused", "a1"])
    }

    /// What is kept of another secret opens nothing: the new one is asked with, and nothing of the old one is used.
    @Test func anotherSecretBeginsAnew() throws {
        try need()
        settle()
        answer(200, "a1 r1")
        settle()
        try need(secret: "another")
        settle()
        #expect(asked == ["secret"])
        answer(200, "b1 s1")
        settle()
        #expect(heard.words == ["a1", "b1"] && kit.model.credentials[1]?.generation == 2)
    }

    @Test func whatIsStoredShowsNothingOfThem() throws {
        try need()
        settle()
        answer(200, "access-of-a-lane renewal-of-a-lane")
        settle()
        let row = try #require(kit.model.credentials(1))
        var shown = "\(row)"
        dump(row, to: &shown)
        shown += String(decoding: row.sealed.bytes, as: UTF8.self)
        #expect(!shown.contains("of-a-lane"))
    }
}
