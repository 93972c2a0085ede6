internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine

/// What a gateway knows of sources: read from the database over and over, and kept while that is away. Holds their secrets in
/// the clear, in memory alone.
final class SourceDirectory: Sendable {
    /// A source that takes requests.
    struct Entry: Sendable {
        let id: SourceID
        let reader: any Source
        let account: SourceAccount
    }

    enum Found: Sendable {
        case open(Entry)
        /// It is there, and its secret cannot be opened or its kind is not known here; the log says why.
        case closed
        case removed
        case nobody
        /// The database has not been asked yet.
        case notRead
    }

    fileprivate struct Known {
        let door: SourceDoor
        var entry: Entry?
        /// Whether its secret could not be used at the last look.
        var isUnreadable = false
        var openedAt: ContinuousClock.Instant
    }

    fileprivate struct State {
        var sources: [SourceID: Known] = [:]
        /// By the digests of tokens.
        var names: [[UInt8]: SourceID] = [:]
        var revision: Int64 = 0
        var isRead = false
    }

    /// How often secrets that stand outside the database are looked at again.
    private static let referenceAge: Duration = .seconds(5)

    private let registry: SourceRegistry
    private let masterKey: MasterKey?
    private let ownFiles: Set<String>
    private let warn: @Sendable (SourceID, String) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - ownFiles: paths of the program's own secrets, which no source's secret may be read from.
    ///   - warn: called with why a source's secret cannot be used, when that becomes so.
    init(
        _ registry: SourceRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>,
        warn: @escaping @Sendable (SourceID, String) -> Void
    ) {
        self.registry = registry
        self.masterKey = masterKey
        self.ownFiles = ownFiles
        self.warn = warn
    }

    /// Reads what has changed. For one task at a time.
    func read(_ install: Operator) async throws {
        let (revision, known) = state.withLock { ($0.revision, $0.sources) }
        let (doors, newest) = try await install.sourceDoors(since: revision)
        let now = ContinuousClock.now
        var read: [Known] = doors.map { open($0, before: nil, at: now) }
        let changed = Set(doors.map(\.source))
        for old in known.values
        where old.door.hasReference && !changed.contains(old.door.source) && now - old.openedAt > Self.referenceAge {
            read.append(open(old.door, before: old, at: now))
        }
        state.withLock { state in
            for source in read { state.put(source) }
            state.revision = newest
            state.isRead = true
        }
    }

    /// Whose a token is. Looked up by its SHA-256: how long that takes tells nothing about a token that somebody guesses at.
    func find(_ token: SourceToken) -> Found {
        state.withLock { state in
            guard state.isRead else { return .notRead }
            guard let name = state.names[token.digest], let known = state.sources[name] else { return .nobody }
            if known.door.isRemoved { return .removed }
            return known.entry.map { .open($0) } ?? .closed
        }
    }

    /// - Parameter before: what was known of it. A secret that cannot be read for a while is the one that it was.
    private func open(_ door: SourceDoor, before: Known?, at now: ContinuousClock.Instant) -> Known {
        let closed = Known(door: door, openedAt: now)
        if door.isRemoved { return closed }
        guard let reader = registry[door.kind] else {
            if before == nil { warn(door.source, "this program knows no kind \(door.kind); it takes nothing") }
            return closed
        }
        do {
            let account = try door.account(reader, masterKey: masterKey, ownFiles: ownFiles)
            return Known(door: door, entry: Entry(id: door.source, reader: reader, account: account), openedAt: now)
        } catch {
            if before?.isUnreadable != true {
                let more = before?.entry == nil ? "; it takes nothing" : "; the secret that it was counts on"
                warn(door.source, Explanation(error).words + more)
            }
            return Known(door: door, entry: before?.entry, isUnreadable: true, openedAt: now)
        }
    }
}

extension SourceDirectory.State {
    fileprivate mutating func put(_ known: SourceDirectory.Known) {
        let name = known.door.source
        for digest in sources[name]?.door.tokenDigests ?? [] where names[digest] == name { names[digest] = nil }
        for digest in known.door.tokenDigests {
            // A token that a removed source had may be another one's by now.
            if known.door.isRemoved, let other = names[digest], other != name { continue }
            names[digest] = name
        }
        sources[name] = known
    }
}
