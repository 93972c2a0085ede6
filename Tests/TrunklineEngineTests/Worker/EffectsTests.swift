import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// The commit before a quiet attempt's first call that may take effect.
@Suite struct EffectsTests {
    /// A job in the air, quiet as the model's row of it.
    private func stage() throws -> (PartsKit, Call) {
        let kit = try PartsKit()
        kit.model.lanes[0].beginsQuietly = true
        kit.own()
        let (taken, person) = try kit.takeNotice(fast: false)
        let row = try #require(taken)
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(row.id, person: person))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        kit.parts.claiming.claim(at: kit.here.now)
        kit.intake.endAll()
        return (kit, try #require(kit.parts.attempts[row.id]))
    }

    @Test func aCallIsMadeOnlyAfterTheCommit() throws {
        let (kit, call) = try stage()
        // Its exchange's first call may take effect.
        #expect(call.isQuiet && kit.http.calls.isEmpty && kit.settler.names.isEmpty)
        kit.parts.effects.write()
        #expect(kit.settler.names == ["begin_effect"] && kit.http.calls.isEmpty)
        kit.settler.endAll()
        #expect(kit.http.calls.count == 1 && kit.parts.attempts[call.job]?.isQuiet == false)
        #expect(kit.model.row(call.job)?.isQuiet == false)
    }

    @Test func theLeaseBeginsAnewWithIt() throws {
        let (kit, call) = try stage()
        kit.loop.pass(.seconds(12))
        let announced = kit.here.now
        kit.parts.effects.write()
        kit.loop.pass(.seconds(1))
        kit.settler.endAll()
        #expect(call.leaseBegan < announced && kit.parts.attempts[call.job]?.leaseBegan == announced)
    }

    @Test(arguments: ["taken over", "cancelled", "statement", "connection", "no connection"])
    func withoutTheCommitNothingIsCalledAndTheTryIsGivenBack(why: String) throws {
        let (kit, call) = try stage()
        let row = try #require(kit.model.row(call.job))
        switch why {
        case "taken over": row.attempt += 1
        case "cancelled": row.cancelWanted = true
        case "no connection": kit.settler.isConnected = false
        default: break
        }
        kit.parts.effects.write()
        switch why {
        case "statement": kit.settler.end(serverError)
        case "connection": kit.settler.end(connectionLost)
        case "no connection": #expect(kit.settler.names.isEmpty)
        default: kit.settler.end()
        }
        #expect(kit.http.calls.isEmpty)
        kit.settler.isConnected = true
        kit.parts.settling.write(at: kit.here.now)
        let outcome = try #require(kit.settler.settled.first?.first)
        #expect(outcome.outcome == .givenBack && !outcome.mayHaveLeft && outcome.attempt == 1)
        #expect(outcome.dueIn == .seconds(1))
    }
}
