/// The parts of a worker, and who knows whom: each knows only those above it in this list. What it wants of one below goes
/// through the agenda.
struct WorkerParts {
    let here: Surroundings
    let agenda = Agenda()
    // What is known.
    let directory: LaneDirectory
    let shards: Shards
    let origins: Origins
    let board: LaneBoard
    let attempts = Attempts()
    let retries: RetryAlarms
    // The fleet.
    let sessions: Sessions
    let presence: BrokerPresence
    let membership: Membership
    // The way out.
    let caller: Caller
    let health: Health
    let credentials: CredentialKeeper
    let effects: Effects
    let settling: Settling
    let events: Events
    let calls: Calls
    let claiming: Claiming
    let breakers: Breakers
    let gateNotes: GateNotes
    // What rows say.
    let rows: Rows
    let loader: Loader
    let sweeping: Sweeping
    // The way in.
    let intake: Intake
    let topology: TopologyWatch
    let consumption: Consumption
    let queueLooks: QueueLooks

    init(_ ports: WorkerPorts, _ here: Surroundings) {
        self.here = here
        directory = LaneDirectory(here, ports.control)
        shards = Shards(here, agenda, directory, ports.control)
        origins = Origins(here)
        board = LaneBoard(here, agenda, directory, shards, origins)
        retries = RetryAlarms(here, agenda, board, ports.publisher)

        sessions = Sessions(here, ports)
        presence = BrokerPresence(here, ports.broker)
        membership = Membership(here, agenda, sessions, presence, shards, origins, board, ports.control)

        caller = Caller(here, agenda, ports.http, origins)
        health = Health(here, directory, origins, board, caller)
        credentials = CredentialKeeper(here, membership, shards, origins, caller, ports.settler)
        effects = Effects(here, attempts, ports.settler)
        settling = Settling(here, agenda, shards, board, attempts, retries, ports.settler)
        events = Events(here, agenda, directory, shards, board, attempts, settling, ports)
        calls = Calls(
            here,
            agenda,
            membership,
            directory,
            origins,
            board,
            attempts,
            caller,
            health,
            credentials,
            effects,
            settling,
            events
        )
        claiming = Claiming(
            here,
            agenda,
            directory,
            shards,
            origins,
            board,
            retries,
            attempts,
            caller,
            health,
            calls,
            events,
            ports.intake
        )
        breakers = Breakers(here, directory, shards, origins, board, caller, health, membership, ports.control)
        gateNotes = GateNotes(here, agenda, directory, board, ports.settler)

        rows = Rows(here, agenda, membership, shards, board, attempts, retries, settling, ports.intake)
        loader = Loader(here, agenda, directory, shards, board, attempts, rows, ports.intake)
        sweeping = Sweeping(here, agenda, shards, board, attempts, retries, rows, ports.intake)

        let refusals = Refusals(here, ports.intake)
        let taking = Taking(
            here,
            agenda,
            directory,
            shards,
            origins,
            board,
            retries,
            attempts,
            rows,
            caller,
            calls,
            refusals,
            ports
        )
        intake = Intake(here, taking, refusals, ports.intake)
        topology = TopologyWatch(here, ports.broker, shards)
        consumption = Consumption(here, agenda, ports.broker, topology, intake)
        queueLooks = QueueLooks(here, agenda, ports.broker, topology, consumption)
    }
}
