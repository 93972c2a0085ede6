package import HummingbirdCore
package import Logging
package import NIOCore
internal import Synchronization

/// Closes the listening socket in order.
///
/// A connection that was accepted and set up but never handed to the server's loop ends the process ("Deinited
/// NIOAsyncWriter without calling finish()"), and that is what happens to one that comes in the moment of a stop. So the
/// server stops accepting first, and is only stopped when every connection that was set up was also taken over.
package final class Door: Sendable {
    private let listener = Mutex<(any Channel)?>(nil)
    private let setUp = Atomic<Int>(0)
    private let taken = Atomic<Int>(0)

    package init() {}

    package func opened(_ channel: any Channel) {
        listener.withLock { $0 = channel }
    }

    fileprivate func connectionSetUp() {
        setUp.add(1, ordering: .sequentiallyConsistent)
    }

    fileprivate func connectionTaken() {
        taken.add(1, ordering: .sequentiallyConsistent)
    }

    /// Returns when no connection is on its way in; call it before the server is stopped.
    package func close(_ group: any EventLoopGroup) async {
        guard let listener = listener.withLock({ $0 }) else { return }
        try? await listener.setOption(ChannelOptions.autoRead, value: false).get()
        // What had been accepted by then is being set up on the loops of the connections.
        for _ in 0..<3 {
            for loop in group.makeIterator() {
                _ = try? await loop.submit {}.get()
            }
        }
        let end = ContinuousClock.now + .seconds(1)
        while setUp.load(ordering: .sequentiallyConsistent) != taken.load(ordering: .sequentiallyConsistent),
            ContinuousClock.now < end
        {
            try? await Task.sleep(for: .milliseconds(1))
        }
    }
}

/// HTTP/1.1 connections that are counted on both sides of the door.
package struct CountedChannel: ServerChildChannel {
    package typealias Value = HTTP1Channel.Value

    private let base: HTTP1Channel
    private let door: Door

    package init(base: HTTP1Channel, door: Door) {
        self.base = base
        self.door = door
    }

    package func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        base.setup(channel: channel, logger: logger).map { value in
            door.connectionSetUp()
            return value
        }
    }

    package func handle(value: Value, logger: Logger) async {
        door.connectionTaken()
        await base.handle(value: value, logger: logger)
    }
}
