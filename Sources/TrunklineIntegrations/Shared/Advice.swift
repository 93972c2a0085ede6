package import TrunklineCore

extension OutsideFailure {
    /// What a person would do about a call that got no answer.
    ///
    /// - Parameters:
    ///   - origin: whom was called.
    ///   - addressWords: what people call the lane's address: `base URL`.
    package func advice(calling origin: String, addressWords: String) -> String {
        switch cause {
        case .unresolved: "the host of \(origin) has no address: is it spelled rightly?"
        case .unreachable:
            "nobody can be reached at \(origin): are host and port right, and does a firewall let this host out?"
        case .untrusted:
            "the certificate of \(origin) is not for this host, has expired, or is of an authority that is not trusted here "
                + "(--ca-file, for the workers too)"
        case .timedOut:
            "\(origin) did not answer in time: is it the right host, and does a firewall let this host out?"
        case .broken: "\(origin) does not speak HTTP as it should: are scheme and port right?"
        case .shortage:
            "this machine has no descriptor or port left for the question: 'trunkline doctor' shows its limits"
        case .refused, .withdrawn: "look at the \(addressWords)"
        }
    }
}
