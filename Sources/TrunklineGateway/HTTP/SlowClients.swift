internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Ends connections that keep us waiting: for a request's head, for its body, or for taking an answer.
///
/// Stands right behind the HTTP codec of one connection; on its loop only. Also says `100 Continue` to whoever waits for it
/// before the body.
final class SlowClients: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// How long who may take.
    struct Limits: Sendable, Hashable {
        /// From the beginning of a connection to the end of its first request's head. Default 10 s.
        var firstHead: TimeAmount = .seconds(10)
        /// From one answer to the end of the next request's head. Default 75 s: longer than the 60 s after which proxies
        /// close, so that they are the first to do it.
        var nextHead: TimeAmount = .seconds(75)
        /// From a head to the end of its body. Default 20 s: less than what a gateway waits at its own end.
        var body: TimeAmount = .seconds(20)
        /// From the end of an answer to its last byte's leaving us. Default 20 s, for the same reason.
        var answer: TimeAmount = .seconds(20)
    }

    private let limits: Limits
    /// For the client's next step.
    private var alarm: Scheduled<Void>?
    /// For the client's taking of answers.
    private var leaving: Scheduled<Void>?
    /// Requests without an answer.
    private var open = 0

    init(_ limits: Limits) { self.limits = limits }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { wait(limits.firstHead, context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        wait(limits.firstHead, context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        alarm?.cancel()
        leaving?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            open += 1
            wait(limits.body, context)
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
            }
        case .body: break
        case .end:
            alarm?.cancel()
            alarm = nil
            if open == 0 { wait(limits.nextHead, context) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        open -= 1
        // What comes of a request whose body is still on its way has its own time.
        if open == 0, alarm == nil { wait(limits.nextHead, context) }
        let promise = promise ?? context.eventLoop.makePromise()
        leaving?.cancel()
        let channel = context.channel
        let leaving = context.eventLoop.scheduleTask(in: limits.answer) { channel.close(promise: nil) }
        self.leaving = leaving
        promise.futureResult.whenComplete { _ in leaving.cancel() }
        context.write(data, promise: promise)
    }

    private func wait(_ time: TimeAmount, _ context: ChannelHandlerContext) {
        alarm?.cancel()
        let channel = context.channel
        alarm = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }
}
