import Testing
import TrunklineDev

/// What the demo takes for proven.
@Suite struct DemoTests {
    private static let orders = DemoProof.Orders(notices: 36, refused: 2, repeats: 3)
    /// Notices of orders.csv, and of the shops' webhooks.
    private static let all = 40

    /// A journal in which every order was sent once, and one was in the air when a worker was killed.
    private func journal(_ more: [String] = []) throws -> DemoJournal {
        var lines = [#"{"kind":"start","t":1}"#]
        for number in 1...Self.all {
            let line = number % 2 == 0 ? "acme-01" : "bolt-02"
            lines.append(#"{"kind":"request","seq":\#(number),"key":"k\#(number)","line":"\#(line)","t":\#(number)}"#)
            lines.append(#"{"kind":"effect","key":"k\#(number)","line":"\#(line)","t":\#(number)000}"#)
            lines.append(#"{"kind":"answer","req":\#(number),"status":201,"t":\#(number)}"#)
        }
        return try DemoJournal((lines + Self.events + more).joined(separator: "\n"))
    }

    /// Two of one order and one of another; the first was turned away at first.
    private static let events =
        delivery(80_001, "order:1:0", status: 503) + delivery(80_003, "order:1:0") + delivery(80_005, "order:2:0")
        + delivery(80_007, "order:1:1")

    private static func delivery(
        _ number: Int,
        _ key: String,
        status: Int = 200,
        isNew: Bool? = nil
    ) -> [String] {
        let verdict = isNew ?? (status == 200) ? "accepted" : status == 200 ? "replay" : "fault"
        return [
            #"{"kind":"delivery","seq":\#(number),"hook":"acme-crm","key":"\#(key)","verdict":"\#(verdict)","t":1}"#,
            #"{"kind":"answer","req":\#(number),"hook":"acme-crm","key":"\#(key)","status":\#(status),"t":1}"#,
        ]
    }

    /// The worker was killed while this call was in the air; another asked again and was told.
    private static let brokenCall = [
        #"{"kind":"request","seq":90001,"key":"broken","line":"acme-01","t":1}"#,
        #"{"kind":"effect","key":"broken","line":"acme-01","t":1}"#, #"{"kind":"noAnswer","req":90001,"t":2}"#,
        #"{"kind":"request","seq":90002,"key":"broken","line":"acme-01","t":3}"#,
    ]

    private func proof(
        _ journal: DemoJournal,
        new: Int = DemoTests.orders.notices,
        sentByCheck: Int = DemoTests.all + 3 + 4,
        posted: Int = 8,
        findings: Int = 0,
        keys: (inout Set<String>) -> Void = { _ in }
    ) -> DemoProof {
        var expected = Set((1...Self.orders.notices).map { "k\($0)" })
        keys(&expected)
        return DemoProof(
            orders: Self.orders,
            shops: .init(webhooks: 4, posted: posted, keys: Set((37...40).map { "k\($0)" })),
            journal: journal,
            keys: expected,
            enqueued: .init(new: new, repeat: Self.orders.repeats, refused: Self.orders.refused),
            events: 3,
            sentByCheck: sentByCheck,
            findings: findings
        )
    }

    private static let check = "with the webhooks run, says trunkline check"

    private func failing(_ proof: DemoProof) -> [String] { proof.rows.filter { !$0.holds }.map(\.what) }

    /// One of the orders' calls was in the air.
    private static let killed = [#"{"kind":"noAnswer","req":7,"t":9}"#]

    @Test func aGoodRunIsProven() throws {
        let proof = proof(try journal(Self.killed))
        #expect(failing(proof).isEmpty && proof.failures == 0)
        #expect(proof.table.contains("killed in the air, finished by others              1   ok\n"))
        #expect(proof.table.contains("acme-01        20"))
        #expect(proof.table.contains("acme-crm           3            1\n"))
    }

    @Test func aRunInWhichNobodyWasInterruptedProvesLess() throws {
        let proof = proof(try journal())
        #expect(failing(proof).isEmpty && !proof.hasCallInTheAir && proof.failures == 1)
    }

    @Test func everyFaultIsFound() throws {
        let twice = [#"{"kind":"effect","key":"k3","line":"acme-01","t":1}"#]
        #expect(failing(proof(try journal(Self.killed + twice))) == ["keys sent twice"])
        let again = [#"{"kind":"request","seq":90001,"key":"k3","line":"acme-01","t":1}"#]
        #expect(failing(proof(try journal(Self.killed + again))) == ["asked again after an answer"])
        let stranger = [#"{"kind":"effect","key":"stranger","line":"acme-01","t":1}"#]
        #expect(
            failing(proof(try journal(Self.killed + stranger)))
                == ["sent, says the simulator", "keys sent that nobody gave"]
        )
        #expect(
            failing(proof(try journal(Self.killed)) { $0.insert("lost") }) == [
                "keys of orders.csv and the shops", "of these lost",
            ]
        )
        let unfinished = failing(
            proof(try journal(Self.brokenCall), sentByCheck: Self.all + 4 + 4) { $0.insert("broken") }
        )
        #expect(unfinished.contains("killed in the air, finished by others"))
        #expect(failing(proof(try journal(Self.killed), new: 35)) == ["notices of orders.csv"])
        #expect(failing(proof(try journal(Self.killed), sentByCheck: 1)) == [Self.check])
        #expect(failing(proof(try journal(Self.killed), posted: 7)) == ["webhooks posted, each twice"])
        #expect(failing(proof(try journal(Self.killed), findings: 1)) == ["findings of trunkline check"])
    }

    @Test func faultsOfEventsAreFound() throws {
        let repeated = Self.delivery(90_001, "order:1:1", isNew: false)
        #expect(failing(proof(try journal(Self.killed + repeated))) == ["events delivered again"])
        let early = Self.delivery(90_001, "order:3:1") + Self.delivery(90_003, "order:3:0")
        #expect(
            failing(proof(try journal(Self.killed + early), sentByCheck: Self.all + 5 + 4))
                == ["events delivered, say the receivers", Self.check, "events out of order"]
        )
        #expect(
            failing(proof(try journal(Self.killed + Self.delivery(90_001, "order:9:0"))))
                == ["events delivered, say the receivers"]
        )
    }

    @Test func aRunInWhichNobodyWasDownProvesLess() throws {
        let text = (Self.delivery(1, "order:1:0") + Self.killed).joined(separator: "\n")
        let proof = proof(try DemoJournal(text))
        #expect(!proof.wasSomebodyDown && proof.failures == proof.rows.count { !$0.holds } + 2)
    }

    @Test func whatEnqueueHasCountedIsInItsLastLine() throws {
        let output = """
            {"row":2,"verdict":"refused"}
            {"summary":{"new":3,"repeat":2,"refused":1,"conflict":0}}

            """
        let enqueued = try DemoProof.Enqueued(output: output)
        #expect(enqueued.new == 3 && enqueued.repeat == 2 && enqueued.refused == 1)
        #expect(throws: (any Error).self) { try DemoProof.Enqueued(output: "") }
    }
}
