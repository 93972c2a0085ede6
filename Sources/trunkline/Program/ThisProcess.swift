internal import Foundation
internal import TrunklineCore

/// The wall clock.
enum WallClock {
    static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
}

/// Where the program runs, and who runs it.
enum ThisHost {
    /// Not ProcessInfo's name, which may ask a name server.
    static var name: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "unknown" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// `user@host`.
    static var caller: String {
        let user = getpwuid(getuid()).flatMap { $0.pointee.pw_name }.map { String(cString: $0) } ?? "\(getuid())"
        return user + "@" + name
    }
}

enum ThisProcess {
    /// Ends the process at once, its output written. Not by `exit`: what OpenSSL and others clean up there may be in use by
    /// another thread at that moment, for example by a connection that is being made.
    static func leave(_ code: Int32) -> Never {
        fflush(nil)
        _exit(code)
    }
}
