import Glibc
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// One connection of a client.
final class Connection: Sendable {
    let number: Int
    let peer: Int?

    private struct State {
        /// The call that is being answered; HTTP/1.1 has one at a time.
        var call: Int?
        var isClosed = false
    }

    private let state = Mutex(State())

    init(number: Int, peer: Int?) {
        self.number = number
        self.peer = peer
    }

    /// - Returns: false when the connection ended meanwhile; nobody will report the end of this call then.
    func begin(_ call: Int) -> Bool {
        state.withLock { state in
            if state.isClosed { return false }
            state.call = call
            return true
        }
    }

    func takeCall(isClosing: Bool = false) -> Int? {
        state.withLock { state in
            if isClosing { state.isClosed = true }
            defer { state.call = nil }
            return state.call
        }
    }
}

/// The connections, by channel: Hummingbird hands a responder the channel and nothing else.
final class Connections: Sendable {
    private struct State {
        var known: [ObjectIdentifier: Connection] = [:]
        /// Requests of a connection can still come up after it was closed, so that it is known for a while.
        var closed: [(id: ObjectIdentifier, number: Int)] = []
        var lastNumber = 0
    }

    private static let closedKept = 4_096

    private let state = Mutex(State())

    func opened(_ channel: any Channel) -> Connection {
        state.withLock { state in
            state.lastNumber += 1
            let connection = Connection(number: state.lastNumber, peer: channel.remoteAddress?.port)
            state.known[ObjectIdentifier(channel)] = connection
            return connection
        }
    }

    func closed(_ channel: any Channel) {
        state.withLock { state in
            let id = ObjectIdentifier(channel)
            guard let number = state.known[id]?.number else { return }
            state.closed.append((id, number))
            guard state.closed.count >= 2 * Self.closedKept else { return }
            for old in state.closed.prefix(Self.closedKept) where state.known[old.id]?.number == old.number {
                state.known[old.id] = nil
            }
            state.closed.removeFirst(Self.closedKept)
        }
    }

    func find(_ channel: any Channel) -> Connection? {
        state.withLock { $0.known[ObjectIdentifier(channel)] }
    }
}

/// Sits in each connection and reports the truth about answers: the last byte was handed to the kernel, or it was not.
final class AnswerWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let simulator: Simulator
    private var connection: Connection?
    private var socket: (any SocketOptionProvider)?
    private var status = 0
    private static let established: UInt8 = 1

    init(simulator: Simulator) {
        self.simulator = simulator
    }

    func handlerAdded(context: ChannelHandlerContext) {
        connection = simulator.connections.opened(context.channel)
        socket = context.channel as? any SocketOptionProvider
        // Hummingbird lets clients close their half and read on. Here the end of the client's half means that the client
        // is gone (a killed process looks exactly like that), so that no answer "leaves" towards a dead one.
        try? context.channel.syncOptions?.setOption(ChannelOptions.allowRemoteHalfClosure, value: false)
    }

    func channelInactive(context: ChannelHandlerContext) {
        simulator.connections.closed(context.channel)
        if let connection, let call = connection.takeCall(isClosing: true) { simulator.connectionClosed(during: call) }
        context.fireChannelInactive()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            status = head.status.code
        case .body:
            break
        case .end:
            if let call = connection?.takeCall() {
                writeEnd(of: call, context: context, data: data, promise: promise)
                return
            }
        }
        context.write(data, promise: promise)
    }
    private func writeEnd(of call: Int, context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?)
    {
        guard !isPeerGone() else {
            // Nothing of this answer was flushed yet, and nothing will be.
            simulator.noAnswerLeft(call, reason: "closed")
            promise?.fail(ChannelError.eof)
            context.close(promise: nil)
            return
        }
        let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
        let simulator = simulator
        let status = status
        promise.futureResult.whenComplete { result in
            switch result {
            case .success: simulator.answerLeft(call, status: status)
            case .failure: simulator.noAnswerLeft(call, reason: "closed")
            }
        }
        context.write(data, promise: promise)
    }

    /// Asks the kernel, which may know of the end of the client before this loop has looked.
    private func isPeerGone() -> Bool {
        var isGone = false
        // On the loop the answer is there at once.
        socket?.getTCPInfo().assumeIsolated().whenComplete { result in
            switch result {
            case .success(let info): isGone = info.tcpi_state != Self.established
            case .failure: isGone = true
            }
        }
        return isGone
    }
}
