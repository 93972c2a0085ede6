/// How many installs live side by side: most of their time they sleep, but each has its processes and connections, and a
/// test that waits for its place is slower, not wrong.
actor Places {
    static let installs = Places(10)
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ places: Int) { free = places }

    func enter() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func leave() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
