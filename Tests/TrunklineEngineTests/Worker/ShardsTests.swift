import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct ShardsTests {
    @Test func aShardIsTakenThenReadThenOwned() throws {
        let kit = try PartsKit()
        kit.join()
        let shards = kit.parts.shards
        #expect(shards.divide(kit.parts.membership, at: kit.here.now).isEmpty)
        #expect(kit.control.names == ["acquire"] && shards.isEmpty)
        kit.control.endAll()
        #expect(kit.parts.agenda.takeLoads() == [0, 1])
        #expect(shards.phase(of: 0) == .loading && shards.owner.shards.isEmpty, "nothing begins before all is known")
        #expect(shards.knowingOwner == nil)

        let loading = try #require(shards.beginLoading(0))
        #expect(shards.isWanted(loading))
        shards.endLoading(loading)
        #expect(shards.phase(of: 0) == .owned && shards.isOwned(0))
        #expect(shards.owner.shards == [0] && shards.knowingOwner?.fences == [1])
    }

    @Test func aShardThatIsLeftKeepsItsFenceUntilItsQueueIsEmpty() throws {
        let kit = try PartsKit()
        kit.own()
        let shards = kit.parts.shards
        #expect(shards.leave(0) && !shards.leave(0), "it is given up once")
        #expect(!shards.isOwned(0) && shards.owner.shards == [0, 1] && shards.knowingOwner?.shards == [1])
        #expect(shards.beginLoading(0) == nil, "what is given up is not read anew")
        shards.release(1)
        #expect(kit.control.names.isEmpty, "a shard that is kept is not released")

        shards.release(0)
        kit.control.end(connectionLost)
        #expect(shards.numbers == [0, 1], "the fence stays with us until the release is known")
        kit.loop.pass(.milliseconds(200))
        kit.control.endAll()
        #expect(shards.numbers == [1] && kit.model.shards[0].owner == nil)
        #expect(kit.parts.agenda.takeEndCheck())
    }

    @Test func aFenceThatMovedIsALostShard() throws {
        let kit = try PartsKit()
        kit.own()
        kit.model.shards[1].owner = BootID(bytes: Array(repeating: 9, count: 16))
        kit.model.shards[1].fence += 1
        kit.parts.shards.look {}
        kit.control.endAll()
        #expect(kit.parts.agenda.takeLostShards() == [1])
        #expect(kit.parts.shards.lose(1) && !kit.parts.shards.lose(1) && kit.parts.shards.numbers == [0])
    }

    @Test func aLookThatIsOlderThanTheFenceLosesNothing() throws {
        let kit = try PartsKit()
        kit.own()
        for shard in kit.model.shards.indices { kit.model.shards[shard].fence -= 1 }
        kit.parts.shards.look {}
        kit.control.endAll()
        #expect(kit.parts.agenda.takeLostShards().isEmpty)
    }

    @Test func aLoadingThatWasBegunAnewIsNotWanted() throws {
        let kit = try PartsKit()
        kit.own()
        let shards = kit.parts.shards
        let first = try #require(shards.beginLoading(0))
        let second = try #require(shards.beginLoading(0))
        #expect(!shards.isWanted(first) && shards.isWanted(second))
        #expect(shards.forgetMemory() == [0, 1])
        #expect(!shards.isWanted(second), "after a lost connection all is read again")
    }

    @Test func aLaneThatIsAddedIsReadWithItsShardOrAlone() throws {
        let kit = try PartsKit()
        kit.own()
        let shards = kit.parts.shards
        let alone = try #require(shards.beginReading(newLane: 1, of: 1, canRead: true))
        #expect(!shards.isKnownWhole(1) && shards.isOwned(1), "the shard's other lanes do not notice")
        #expect(shards.doubt(5, of: 1), "what happens to its jobs meanwhile is read again")
        shards.endLoading(alone)
        #expect(shards.isKnownWhole(1) && !shards.doubt(5, of: 1))

        _ = shards.beginLoading(1)
        #expect(shards.beginReading(newLane: 1, of: 1, canRead: true) == nil, "it is read with its shard")
    }

    @Test func aReplyThatWasLostGivesTheShardBack() throws {
        let kit = try PartsKit()
        kit.join()
        _ = kit.parts.shards.divide(kit.parts.membership, at: kit.here.now)
        _ = kit.model.acquire(
            kit.model.shards.indices.map { ShardFence(shard: Int32($0), fence: 0) },
            by: kit.here.boot
        )
        kit.control.end(connectionLost)
        // Another worker came, and half of them should be its.
        kit.beat(BootID(bytes: Array(repeating: 2, count: 16)))
        kit.parts.membership.look(at: kit.here.now)
        kit.parts.shards.look {}
        kit.control.endAll()
        kit.parts.agenda.takeLostShards().forEach { _ = kit.parts.shards.lose($0) }
        _ = kit.parts.shards.divide(kit.parts.membership, at: kit.here.now)
        #expect(kit.control.names.contains("release"))
        kit.control.endAll()
        #expect(kit.model.shards.contains { $0.owner == nil })
    }
}
