import Testing

@testable import PostgresDriver

/// The pipeline's states without a server: what goes out, what completes, and with which error.
@Suite struct PipelineMachineTests {
    private typealias Machine = PipelineMachine<String>

    /// Which statements completed, and how.
    private final class Ends {
        var list: [String] = []

        func of(_ name: String) -> Machine.Completion {
            { answer in
                switch answer {
                case .success(let rows): self.list.append("\(name)=\(rows)")
                case .failure(let error): self.list.append("\(name)!\(error.outcomeUnknown ? "maybe" : "never")")
                }
            }
        }
    }

    private static let start = ContinuousClock.now
    private static func after(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }
    private static let lost = PostgresError(code: .connectionLost, message: "lost")
    private let ends = Ends()

    private func machine(_ names: String...) -> Machine {
        var machine = Machine(at: Self.start)
        for name in names {
            machine.submit(
                name.hasPrefix("script") ? .script(name) : .statement(PostgresStatement(name: name, sql: name), []),
                ends.of(name)
            )
        }
        return machine
    }

    private func name(_ work: Machine.Work?) -> String? {
        switch work {
        case .statement(let statement, _), .prepare(let statement): statement.name
        case .script(let sql): sql
        case nil: nil
        }
    }

    /// Gives everything that may go out.
    private func give(_ machine: inout Machine) -> [String] {
        var given: [String] = []
        while let name = name(machine.next) {
            machine.give(at: Self.start)
            given.append(name)
        }
        return given
    }

    private func check(_ machine: inout Machine, gives expected: [String]) {
        let given = give(&machine)
        #expect(given == expected)
    }

    private func end(_ machine: inout Machine) {
        for (done, error) in machine.end(Self.lost) ?? [] { done(.failure(error)) }
    }

    private func run(_ step: Machine.Step) {
        switch step {
        case .complete(let done, let answer), .completeScript(let done, let answer): done(answer)
        case .nothing, .end: break
        }
    }

    @Test func statementsEndInOrderEachAtItsSync() {
        var machine = machine("a", "b")
        check(&machine, gives: ["a", "b"])
        machine.answered(.success("1"))
        #expect(ends.list.isEmpty)
        run(machine.exhausted(isHealthy: true))
        run(machine.synced(at: Self.start))
        #expect(ends.list == ["a=1"])
        machine.answered(.success("2"))
        // A commit that fails after the result.
        machine.answered(.failure(PostgresError(code: .server, sqlState: "23505", message: "")))
        machine.answered(.success("3"))
        run(machine.synced(at: Self.start))
        #expect(ends.list == ["a=1", "b!never"])
        #expect(!machine.awaitsAnswers && !machine.isDying)
    }

    @Test func aScriptRunsAloneAndItsLastResultCounts() {
        var machine = machine("a", "script", "b")
        check(&machine, gives: ["a"])
        machine.answered(.success("1"))
        run(machine.synced(at: Self.start))
        check(&machine, gives: ["script"])
        machine.answered(.success("first"))
        machine.answered(.success("last"))
        guard case .completeScript = machine.exhausted(isHealthy: true) else {
            Issue.record("a script has ended")
            return
        }
        check(&machine, gives: ["b"])
    }

    @Test func aScriptWhoseConnectionBrokeConfirmsNothing() {
        var machine = machine("script", "b")
        _ = give(&machine)
        machine.answered(.success("1"))
        guard case .end = machine.exhausted(isHealthy: false) else {
            Issue.record("nothing more is read")
            return
        }
        end(&machine)
        #expect(ends.list == ["script!maybe", "b!never"])
    }

    @Test func whatWaitsBehindABlockedSocketWasNeverSent() {
        var machine = machine("a", "b", "c")
        machine.give(at: Self.start)
        let changes = [
            machine.flushed(isBlocked: true, hangsUp: false), machine.flushed(isBlocked: true, hangsUp: false),
        ]
        #expect(changes == [true, false] && machine.wantsWrite && machine.next == nil)
        end(&machine)
        #expect(ends.list == ["a!maybe", "b!never", "c!never"])
        let again = machine.end(Self.lost)
        #expect(again == nil && machine.isOver)
    }

    /// libpq throws its output away when a write fails, and says so only when the end is read.
    @Test func nothingFollowsIntoASocketThatHungUpWhileItWasBlocked() {
        var machine = machine("a", "b")
        machine.give(at: Self.start)
        _ = machine.flushed(isBlocked: true, hangsUp: false)
        let isChanged = machine.flushed(isBlocked: false, hangsUp: true)
        #expect(isChanged && !machine.wantsWrite && machine.next == nil)
    }

    @Test func aSocketThatTakesAgainGetsTheRest() {
        var machine = machine("a", "b")
        machine.give(at: Self.start)
        _ = machine.flushed(isBlocked: true, hangsUp: false)
        _ = machine.flushed(isBlocked: false, hangsUp: false)
        check(&machine, gives: ["b"])
    }

    @Test func whatWasAnsweredBeforeTheEndStillCounts() {
        var machine = machine("a", "b")
        _ = give(&machine)
        let isNew = machine.die()
        #expect(isNew && machine.isDying && machine.awaitsAnswers && machine.next == nil)
        machine.answered(.success("1"))
        run(machine.synced(at: Self.start))
        // Twice "no more": libpq knows of nothing else.
        guard case .nothing = machine.exhausted(isHealthy: false), case .end = machine.exhausted(isHealthy: false)
        else {
            Issue.record("it must not spin")
            return
        }
        end(&machine)
        #expect(ends.list == ["a=1", "b!maybe"])
    }

    @Test func aSyncThatNobodyAskedForEndsTheConnection() {
        var machine = machine()
        guard case .nothing = machine.synced(at: Self.start) else {
            Issue.record("nobody is there to be told")
            return
        }
        #expect(machine.isDying && machine.cause == nil)
    }

    @Test func aStatementWithoutAResultIsAViolation() {
        var machine = machine("a")
        _ = give(&machine)
        run(machine.synced(at: Self.start))
        #expect(machine.isDying && machine.cause?.code == .protocolViolation)
        #expect(ends.list == ["a!never"])
        // The first reason stays.
        machine.die(Self.lost)
        #expect(machine.cause?.code == .protocolViolation)
    }

    @Test func silenceCountsFromTheLastAnswerOrTheFirstStatementAfterARest() {
        var machine = machine("a", "b")
        #expect(machine.silentSince == nil)
        machine.give(at: Self.after(1))
        machine.give(at: Self.after(2))
        #expect(machine.silentSince == Self.after(1))
        machine.answered(.success("1"))
        run(machine.synced(at: Self.after(3)))
        #expect(machine.silentSince == Self.after(3))
        machine.answered(.success("2"))
        run(machine.synced(at: Self.after(4)))
        #expect(machine.silentSince == nil)
    }

    @Test func aStatementThatCannotBeEncodedIsTakenOut() {
        var machine = machine("a", "b")
        machine.withdraw()(.failure(PostgresError(code: .invalidParameter, message: "")))
        #expect(ends.list == ["a!never"])
        check(&machine, gives: ["b"])
        #expect(machine.inFlight == 1)
    }
}
