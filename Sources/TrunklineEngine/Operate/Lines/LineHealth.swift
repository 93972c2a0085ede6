package import TrunklineCore

/// What a line's API said of it when it was asked, once, whether it can send.
package struct LineHealth: Sendable, Hashable {
    package enum Gate: String, Sendable, Hashable {
        case open, held
        case noAnswer = "no_answer"
        case notAsked = "not_asked"
    }

    package let gate: Gate
    /// Whether somebody must do something before the line can send.
    package let needsPerson: Bool
    package let reason: Reason?
    /// What the API said beside it, or why it was not asked.
    package let detail: String?
    /// What a person would do about it; nil when nothing is to be done.
    package let advice: String?

    package var isSendable: Bool { gate == .open }

    init(_ answer: Preflight) {
        advice = answer.advice
        switch answer.verdict {
        case .open(let note): (gate, needsPerson, reason, detail) = (.open, false, nil, note)
        case .held(let kind, let reason, let detail):
            (gate, needsPerson, self.reason, self.detail) = (.held, kind == .human, reason, detail)
        case .keepLast(let reason): (gate, needsPerson, self.reason, detail) = (.noAnswer, false, reason, nil)
        }
    }

    init(notAsked why: String, advice: String) {
        (gate, needsPerson, reason, detail) = (.notAsked, false, nil, why)
        self.advice = advice
    }

    package var sentence: String {
        let words = reason.map { JobStory.words(forReason: $0.rawValue) } ?? ""
        let detail = detail.map { " (\($0))" } ?? ""
        switch gate {
        case .open: return "sendable\(detail)"
        case .held:
            return "not sendable: \(words)\(detail)"
                + (needsPerson ? "; a person must look at it" : "; it may clear by itself")
        case .notAsked: return "its health was not asked\(detail)"
        // What else the reason says is about sends.
        case .noAnswer: return "no answer about the line: \(words.prefix { $0 != ";" })"
        }
    }
}

extension Operator {
    /// Asks a line's API once whether it can send; sends nothing and wakes nothing. Throws when its token cannot be opened.
    ///
    /// - Parameters:
    ///   - ownFiles: paths of the program's own secrets, which no reference may name.
    ///   - certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    package func askHealth(
        of id: LineID,
        carriers: CarrierRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>,
        certificateAuthorities: String?
    ) async throws -> LineHealth {
        let account = try await account(of: id, carriers: carriers, masterKey: masterKey, ownFiles: ownFiles)
        return LineHealth(await Preflight.ask(account, certificateAuthorities: certificateAuthorities))
    }

    /// What a line's calls are made with. Throws when its token cannot be opened.
    func account(
        of id: LineID,
        carriers: CarrierRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> any CarrierAccount {
        let (text, secret) = try await access(toLane: .line(id), masterKey: masterKey, ownFiles: ownFiles)
        return try carriers.line.account(at: carriers.line.address(text, mayBePrivate: true), secret: secret)
    }

    /// The same after a change of the line, when its token may be one that only the workers can read: then nobody is asked.
    package func askHealth(
        ofChanged id: LineID,
        carriers: CarrierRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>,
        certificateAuthorities: String?
    ) async throws -> LineHealth {
        do {
            return try await askHealth(
                of: id,
                carriers: carriers,
                masterKey: masterKey,
                ownFiles: ownFiles,
                certificateAuthorities: certificateAuthorities
            )
        } catch let error as SecretReferenceError where !error.isRefusal {
            return LineHealth(
                notAsked: "its token is not to be had here (\(error.description))",
                advice: "every worker must find it; --no-check asks nothing"
            )
        }
    }
}
