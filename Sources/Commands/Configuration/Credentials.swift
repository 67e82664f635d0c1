import FoundationEssentials
import Glibc

/// A user's credentials for a registry.
struct Credentials: Sendable, Equatable {
    var username = ""
    var password = ""
    var serverAddress = ""
    /// What some registries give in exchange for a password.
    var identityToken = ""
    var registryToken = ""

    var isEmpty: Bool { username.isEmpty && password.isEmpty && identityToken.isEmpty && registryToken.isEmpty }

    /// The document of `POST /auth` and of `X-Registry-Auth`.
    var document: OrderedJSON {
        let members = [
            ("username", username), ("password", password), ("serveraddress", serverAddress),
            ("identitytoken", identityToken), ("registrytoken", registryToken),
        ]
        return .object(JSONObject(members.filter { !$0.1.isEmpty }.map { ($0.0, .string($0.1)) }))
    }

    /// The entry in a `config.json`.
    var entry: OrderedJSON {
        var members: [(String, OrderedJSON)] = []
        if !username.isEmpty || !password.isEmpty {
            members.append(("auth", .string(Data("\(username):\(password)".utf8).base64EncodedString())))
        }
        if !identityToken.isEmpty { members.append(("identitytoken", .string(identityToken))) }
        if !registryToken.isEmpty { members.append(("registrytoken", .string(registryToken))) }
        return .object(JSONObject(members))
    }

    /// The value of `X-Registry-Auth`: base64url with padding (RFC 4648, section 5).
    var header: String {
        let text = Data(document.text.utf8).base64EncodedString()
        return String(text.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }
}

/// Where credentials are kept: in `DOCKER_AUTH_CONFIG` first, then in the store of a credential helper where the
/// configuration names one for the registry, else in the configuration file itself.
struct CredentialStore {
    /// Docker Hub's key, which it has had since the first registry.
    static let hub = "https://index.docker.io/v1/"

    private(set) var configuration: ClientConfiguration

    init(_ configuration: ClientConfiguration) { self.configuration = configuration }

    /// The key of a registry's host in the stores.
    static func key(host: String) -> String { host == "docker.io" || host == "index.docker.io" ? hub : host }

    /// The host, with its port, of what may be a whole address: `https://example.com:5000/v2/` is `example.com:5000`.
    static func hostname(_ address: String) -> String {
        let rest = address.firstRange(of: "://").map { address[$0.upperBound...] } ?? address[...]
        return String(rest.prefix { $0 != "/" })
    }

    /// The credentials kept for `key`; empty where there are none.
    ///
    /// - Throws: `CommandFailure` where the helper fails or the file's entry is broken.
    func credentials(_ key: String) throws(CommandFailure) -> Credentials {
        if let found = try fromEnvironment(key) { return found }
        var found = Credentials(serverAddress: key)
        let entry = entry(key)
        if let helper = helper(key) {
            guard let answer = try helper.get(key) else { return found }
            if answer.username == "<token>" {
                found.identityToken = answer.secret
            } else {
                (found.username, found.password) = (answer.username, answer.secret)
            }
        } else if let auth = entry["auth"].string, !auth.isEmpty {
            (found.username, found.password) = try Self.decoded(auth, configuration.path)
        }
        if found.identityToken.isEmpty { found.identityToken = entry["identitytoken"].string ?? "" }
        found.registryToken = entry["registrytoken"].string ?? ""
        return found
    }

    /// The credentials of every registry, for `--use-api-socket`.
    func all() throws(CommandFailure) -> [Credentials] {
        var keys = configuration.document["auths"].members.map(\.key)
        keys += configuration.document["credHelpers"].members.map(\.key)
        if let helper = defaultHelper { keys += try helper.list() }
        var found: [Credentials] = []
        for key in Set(keys).sorted() { found.append(try credentials(key)) }
        return found.filter { !$0.isEmpty }
    }

    /// The file's entry: an older one may be kept under the whole address of the registry instead of its host.
    private func entry(_ key: String) -> OrderedJSON {
        let auths = configuration.document["auths"]
        if !auths[key].isNull { return auths[key] }
        return auths.members.first { Self.hostname($0.key) == key }?.value ?? .null
    }

    // MARK: Changing

    /// Keeps credentials and writes the configuration.
    mutating func store(_ credentials: Credentials) throws(CommandFailure) {
        let key = credentials.serverAddress
        var entry = OrderedJSON.object(JSONObject())
        if let helper = helper(key) {
            let isToken = !credentials.identityToken.isEmpty
            try helper.store(
                key, username: isToken ? "<token>" : credentials.username,
                secret: isToken ? credentials.identityToken : credentials.password)
        } else {
            entry = credentials.entry
            complain(
                "\nWARNING! Your credentials are stored unencrypted in '\(configuration.path)'.\n"
                    + "Configure a credential helper to remove this warning. See\n"
                    + "https://docs.docker.com/go/credential-store/\n")
        }
        configuration.set(["auths", key], entry)
        try configuration.save()
    }

    /// Forgets what is kept under `key`.
    ///
    /// - Returns: whether there was anything.
    mutating func erase(_ key: String) throws(CommandFailure) -> Bool {
        var isErased = false
        if let helper = helper(key) { isErased = try helper.erase(key) }
        if configuration.document["auths"][key].isNull { return isErased }
        configuration.set(["auths", key], nil)
        try configuration.save()
        return true
    }

    // MARK: Sources

    private var defaultHelper: CredentialHelper? {
        let name = configuration.text("credsStore")
        return name.isEmpty ? nil : CredentialHelper(name)
    }

    private func helper(_ key: String) -> CredentialHelper? {
        if let name = configuration.document["credHelpers"][key].string {
            return name.isEmpty ? nil : CredentialHelper(name)
        }
        return defaultHelper
    }

    private func fromEnvironment(_ key: String) throws(CommandFailure) -> Credentials? {
        guard let text = environment("DOCKER_AUTH_CONFIG"), !text.isEmpty else { return nil }
        guard let document = try? OrderedJSON(parsing: Array(text.utf8)) else {
            throw CommandFailure("DOCKER_AUTH_CONFIG holds no JSON")
        }
        guard let auth = document["auths"][key]["auth"].string else { return nil }
        let (username, password) = try Self.decoded(auth, "DOCKER_AUTH_CONFIG")
        return Credentials(username: username, password: password, serverAddress: key)
    }

    private static func decoded(_ auth: String, _ source: String) throws(CommandFailure) -> (String, String) {
        guard let data = Data(base64Encoded: auth), let text = String(validating: data, as: UTF8.self),
            case let (username, password?) = cut(text, ":"), !username.isEmpty
        else { throw CommandFailure("\(source) holds an 'auth' that is not base64 of name:password") }
        return (username, password)
    }
}
