internal import CPlatform
internal import EventLoop

/// One multi handle of libcurl: connections that may be used again, looked-up names, and when libcurl wants to be called for
/// them.
///
/// libcurl points back here from its callbacks, so this is a class with a stable address. It belongs to the loop's thread.
@safe final class ConnectionCache {
    // Safe: the handle lives until this object ends, and only this driver sees it.
    let multi: UnsafeMutableRawPointer
    /// Call slots whose connections come from here and that carry nothing at the moment.
    var idle: [Transfer] = []
    private unowned let driver: CurlDriver
    private let loop: EventLoop
    private var wantsCall = false
    /// When libcurl wants to be called again.
    private var deadline: ContinuousClock.Instant?
    private var timer: (id: EventLoop.TimerID, at: ContinuousClock.Instant)?

    /// - Parameters:
    ///   - driver: outlives it.
    ///   - kept: how many connections are kept.
    init(driver: CurlDriver, loop: EventLoop, keeping kept: Int) {
        self.driver = driver
        self.loop = loop
        guard let multi = unsafe curl_multi_init() else { preconditionFailure("out of memory") }
        unsafe self.multi = multi
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe Self.check(
            tl_curl_multi_set_socket(
                multi,
                { easy, descriptor, what, context, _ in
                    let cache = unsafe Unmanaged<ConnectionCache>.fromOpaque(context!).takeUnretainedValue()
                    unsafe cache.driver.want(descriptor, what, easy: easy!, of: cache)
                    return 0
                },
                unsafe me
            )
        )
        unsafe Self.check(
            tl_curl_multi_set_timer(
                multi,
                { _, milliseconds, context in
                    unsafe Unmanaged<ConnectionCache>.fromOpaque(context!).takeUnretainedValue().wantTimer(
                        in: milliseconds
                    )
                    return 0
                },
                unsafe me
            )
        )
        unsafe Self.check(tl_curl_multi_set_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING)))
        unsafe Self.check(tl_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, kept))
    }

    /// Codes of the multi interface: CURLM_OK, and otherwise only programming errors (bad handle, recursive call, added
    /// twice) or want of memory.
    static func check(_ code: CURLMcode) {
        precondition(code == CURLM_OK, "libcurl's multi interface failed: code \(code.rawValue)")
    }

    /// Frees libcurl's memory and closes its connections. Every easy handle must have been removed and freed before.
    func close() {
        if let timer { loop.cancel(timer.id) }
        timer = nil
        unsafe curl_multi_cleanup(multi)
    }

    /// Whether libcurl wants to be called at once; asked once.
    func takeWish() -> Bool {
        defer { wantsCall = false }
        return wantsCall
    }

    /// Called by libcurl; below zero it wants nothing.
    private func wantTimer(in milliseconds: Int) {
        deadline = nil
        if milliseconds == 0 {
            wantsCall = true
            return driver.armKick()
        }
        guard milliseconds > 0 else { return }
        let deadline = ContinuousClock.now.advanced(by: .milliseconds(milliseconds))
        self.deadline = deadline
        // An earlier timer looks again when it fires: libcurl moves its deadline with every call, a timer is not.
        if let timer {
            if timer.at <= deadline { return }
            loop.cancel(timer.id)
        }
        arm(deadline)
    }

    private func arm(_ deadline: ContinuousClock.Instant) {
        timer = (loop.schedule(at: deadline) { [weak self] in self?.fired() }, deadline)
    }

    private func fired() {
        timer = nil
        guard let deadline else { return }
        if deadline > ContinuousClock.now { return arm(deadline) }
        self.deadline = nil
        driver.timePassed(for: self)
    }
}

// libcurl points back at it from the loop's thread.
@available(*, unavailable)
extension ConnectionCache: Sendable {}
