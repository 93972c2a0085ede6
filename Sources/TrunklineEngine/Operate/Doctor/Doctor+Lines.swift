internal import TrunklineCore

extension Doctor {
    static func examineLines(
        _ install: Operator,
        _ configuration: Configuration,
        _ report: @escaping @Sendable (Finding) -> Void
    ) async throws {
        let lines = try await install.allLines()
        guard !lines.isEmpty else {
            report(.warning("lines", "there are none", "'trunkline line add' makes one"))
            return
        }
        var accounts: [Result<any CarrierAccount, any Error>] = []
        for line in lines {
            do {
                let account = try await install.account(
                    of: line.id,
                    carriers: configuration.carriers,
                    masterKey: configuration.masterKey,
                    ownFiles: configuration.ownFiles
                )
                accounts.append(.success(account))
            } catch {
                accounts.append(.failure(error))
            }
        }
        await withTaskGroup(of: (Int, Finding).self) { group in
            var next = 0
            var done: [Int: Finding] = [:]
            var told = 0
            func begin() {
                let (index, line, account) = (next, lines[next], accounts[next])
                next += 1
                group.addTask { (index, await look(line, account, configuration.certificateAuthorities)) }
            }
            while next < min(configuration.linesAtOnce, lines.count) { begin() }
            for await (index, finding) in group {
                done[index] = finding
                while let finding = done.removeValue(forKey: told) {
                    report(finding)
                    told += 1
                }
                if next < lines.count { begin() }
            }
        }
    }

    private static func look(
        _ line: Line,
        _ access: Result<any CarrierAccount, any Error>,
        _ certificateAuthorities: String?
    ) async -> Finding {
        let name = "line \(line.id)"
        let account: any CarrierAccount
        switch access {
        case .success(let found): account = found
        case .failure(let error):
            return .failed(
                name,
                "its token or address cannot be used here: \(words(error))",
                "'trunkline line set \(line.id) --token-file FILE', or make the reference readable on this host"
            )
        }
        let answer = await Preflight.ask(account, certificateAuthorities: certificateAuthorities)
        let verdict = answer.verdict
        let unfinished = line.unfinished.values.reduce(0, +)
        let waiting = unfinished > 0 ? "; \(unfinished) unfinished" : ""
        if line.isHeld(at: line.readAt), let hold = line.hold {
            return .warning(
                name,
                "held by hand (\(hold.reason))\(waiting); its health: \(health(verdict))",
                "'trunkline line resume \(line.id)' when the reason is gone"
            )
        }
        switch verdict {
        case .open:
            return .ok(name, "\(health(verdict))\(waiting)")
        case .held(.human, _, _):
            return .failed(name, "\(health(verdict))\(waiting)", answer.advice ?? "somebody must look at the line")
        case .held(.transient, _, _):
            return .warning(name, "\(health(verdict))\(waiting)", "its notices wait; workers ask again by themselves")
        case .keepLast(.slowDown):
            return .warning(name, "\(health(verdict))\(waiting)", "the API asks to slow down: try again in a minute")
        case .keepLast:
            return .failed(
                name,
                "\(health(verdict))\(waiting)",
                (answer.advice ?? "is the API up?") + "; 'trunkline line preflight \(line.id)' asks again"
            )
        }
    }

    private static func health(_ verdict: HealthVerdict) -> String {
        switch verdict {
        case .open(let note): "sendable" + (note.map { " (\($0))" } ?? "")
        case .held(_, let reason, let detail):
            "not sendable: \(reason.rawValue)" + (detail.map { " (\($0))" } ?? "")
        case .keepLast(let reason): "gave no answer about itself: \(reason.rawValue)"
        }
    }
}
