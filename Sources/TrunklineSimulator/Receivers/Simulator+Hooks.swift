import Synchronization

/// What becomes of a signed webhook.
extension Simulator {
    /// A delivery whose body was read. Faults come before the signature is looked at, as a proxy's would.
    func delivery(_ id: Int, _ request: HookRequest, body: [UInt8]) -> Plan {
        let wall = clock.wall()
        let hash = shortHash(body)
        return state.withLock { world in
            guard let call = world.air[id], let hook = call.hook else { return gone(id) }
            var record = record(of: call, .delivery, .fault)
            record.bodyHash = hash
            var answer: Answer
            if let fault = call.faults.fault, !fault.kind.accepts {
                answer = .fault(fault, now: wall)
            } else {
                do throws(APIRefusal) {
                    let secrets = (world.hooks[hook] ?? Hook(name: hook)).accepted
                    let (key, sentAt) = try request.verified(body: body, secrets: secrets, now: wall / 1_000_000)
                    let known = world.rememberedBody(of: key, to: hook, wall: wall)
                    record.data = .object([JSON.Member(name: "sentAt", value: .integer(sentAt))])
                    record.verdict = known.map { $0 == hash ? .replay : .conflict } ?? .accepted
                    answer = .received(isRepeat: known != nil)
                    if record.verdict == .conflict {
                        answer = .error(409, "conflict", "this webhook-id came with another body")
                    }
                } catch {
                    record.verdict = error.status == 401 ? .unauthorized : .invalid
                    answer = .error(error.status, error.code, error.message)
                }
            }
            self.record(&record, in: &world)
            world.air[id]?.request = record.seq
            world.air[id]?.verdict = record.verdict
            return finish(Plan(call: id, answer: answer), call.faults, wall: wall, in: &world)
        }
    }

    // MARK: Control

    func listHooks() -> Answer {
        ok { world, writer in
            writer.array("hooks") { writer in
                let names = Set(world.hooks.keys).union(world.tally.hooks.keys)
                for name in names.sorted() {
                    writer.object { self.write(world.hooks[name] ?? Hook(name: name), world, to: &$0) }
                }
            }
        }
    }

    private func write(_ hook: Hook, _ world: World, to writer: inout JSONWriter) {
        writer.member("name", hook.name)
        writer.member("path", Hook.prefix + hook.name)
        if hook.secrets.isEmpty {
            writer.member("secret", Hook.usualSecret(of: hook.name))
        } else {
            writer.strings("secretEnds", hook.secrets.map { String($0.suffix(4)) })
        }
        (world.tally.hooks[hook.name]?.counts ?? .init()).write(to: &writer)
    }

    /// Gives a hook secrets of its own, of which each is accepted; without any it has the usual one again.
    func putHook(_ name: String, _ json: JSON) throws(ControlRefusal) -> Answer {
        guard World.isLineID(name) else { throw .invalid("'\(name)' is no hook's name: 1 to 64 of A-Z a-z 0-9 . _ -") }
        var fields = try ControlFields(json, what: "hook")
        var hook = Hook(name: name)
        if let list = fields.value("secrets") {
            guard case .array(let values) = list else { throw .invalid("hook: 'secrets' must be a list") }
            for value in values {
                guard let secret = value.string, Hook.key(of: secret) != nil else {
                    throw .invalid("hook: a secret is whsec_ and after it 24 to 64 bytes in Base64")
                }
                hook.secrets.append(secret)
            }
        }
        try fields.refuseOthers()
        return state.withLock { [hook] world in
            world.hooks[name] = hook
            return Answer(status: 200, body: JSONWriter.object { self.write(hook, world, to: &$0) })
        }
    }

    func listReceived(_ query: [(name: String, value: String)]) throws(ControlRefusal) -> Answer {
        try Self.refuseOthers(query, known: ["hook", "id", "after", "limit"])
        func value(_ name: String) -> String? { query.last { $0.name == name }?.value }
        let (hook, id) = (value("hook"), value("id"))
        let limit = try Self.integer("limit", query, in: 1...100_000) ?? 100
        let after = Int64(try Self.integer("after", query, in: 0...Int.max) ?? 0)
        return ok { world, writer in
            let found = world.received.deliveries.lazy
                .filter { $0.seq > after && (hook ?? $0.hook) == $0.hook && (id ?? $0.id) == $0.id }
                .prefix(limit)
            writer.array("received") { writer in
                for delivery in found {
                    writer.object { writer in
                        writer.member("seq", delivery.seq)
                        writer.member("t", delivery.t)
                        writer.member("hook", delivery.hook)
                        writer.member("id", delivery.id)
                        writer.member("sentAt", delivery.sentAt)
                        writer.member("bodyHash", delivery.bodyHash)
                        writer.member("repeat", delivery.isRepeat)
                    }
                }
            }
        }
    }
}

extension Answer {
    static func received(isRepeat: Bool) -> Answer {
        Answer(
            status: 200,
            body: JSONWriter.object { writer in
                writer.member("received", true)
                writer.member("repeat", isRepeat)
            }
        )
    }
}
