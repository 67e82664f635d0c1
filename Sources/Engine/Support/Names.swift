/// Names of containers and volumes.
enum Names {
    /// Whether `name` is one that Docker accepts: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
    static func isValid(_ name: some StringProtocol) -> Bool {
        let bytes = Array(name.utf8)
        guard bytes.count >= 2, isAlphanumeric(bytes[0]) else { return false }
        return bytes.dropFirst().allSatisfy { isAlphanumeric($0) || $0 == 0x5F || $0 == 0x2E || $0 == 0x2D }
    }

    /// The name as it is stored, without the leading slash that clients may send.
    static func normalized(_ name: String) throws(EngineError) -> String {
        let bare = name.hasPrefix(bytes: "/") ? String(name.dropFirst()) : name
        guard isValid(bare), bare.utf8.count <= maximumLength else {
            throw .invalid("Invalid container name (\(name)), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        }
        return bare
    }

    static func random() -> String {
        adjectives.randomElement()! + "_" + surnames.randomElement()!
    }

    /// A bound of our own: names go into file names, host names and SQL indices.
    static let maximumLength = 255

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5A) || (byte >= 0x61 && byte <= 0x7A)
    }

    private static let adjectives = [
        "able", "agile", "alert", "amber", "ample", "avid", "balmy", "bold", "brave", "bright", "brisk", "calm",
        "candid", "careful", "cheerful", "civil", "clear", "clever", "cosy", "crisp", "curious", "daring", "deft",
        "eager", "earnest", "easy", "fair", "famous", "fearless", "fine", "fleet", "fond", "frank", "fresh", "frugal",
        "gentle", "glad", "golden", "graceful", "grand", "handy", "happy", "hardy", "honest", "humble", "ideal",
        "jolly", "joyful", "just", "keen", "kind", "lively", "loyal", "lucid", "lucky", "merry", "mild", "modest",
        "neat", "nimble", "noble", "patient", "placid", "polite", "prompt", "proud", "quick", "quiet", "rapid",
        "ready", "robust", "serene", "sharp", "silent", "sincere", "smart", "snug", "sober", "solid", "spry",
        "steady", "sturdy", "subtle", "sunny", "swift", "tidy", "tranquil", "trusty", "upbeat", "vivid", "warm",
        "wise", "witty", "worthy", "zesty",
    ]

    /// People to whom computing, mathematics and the sciences owe something.
    private static let surnames = [
        "abel", "aiken", "allen", "archimedes", "babbage", "backus", "banach", "bardeen", "bernoulli", "bohr",
        "boltzmann", "boole", "booth", "brahmagupta", "cantor", "cauchy", "cerf", "chandrasekhar", "church", "clarke",
        "codd", "conway", "curie", "dahl", "darwin", "dijkstra", "dirac", "edison", "einstein", "engelbart", "erdos",
        "euclid", "euler", "faraday", "fermat", "fermi", "feynman", "floyd", "fourier", "franklin", "galileo",
        "galois", "gauss", "germain", "goedel", "goldberg", "hamilton", "hamming", "hawking", "heisenberg", "hertz",
        "hilbert", "hoare", "hopper", "huygens", "hypatia", "iverson", "jacobi", "johnson", "karp", "kay", "kepler",
        "kernighan", "khwarizmi", "kleene", "knuth", "kolmogorov", "lagrange", "lamarr", "lamport", "laplace",
        "leibniz", "liskov", "lovelace", "maxwell", "mccarthy", "meitner", "mendel", "milner", "minsky", "moore",
        "morse", "nash", "naur", "newell", "newton", "noether", "nyquist", "nygaard", "ohm", "pascal", "perlis",
        "planck", "poincare", "ramanujan", "riemann", "ritchie", "rivest", "rutherford", "shannon", "simon",
        "sinclair", "stroustrup", "tarjan", "tesla", "thompson", "torvalds", "turing", "ullman", "volta", "watt",
        "wiles", "wilkes", "wirth", "yao", "zuse",
    ]
}
