import EngineAPI
import OCI

/// `version`: of this program and of the daemon.
enum VersionCommand {
    private static let format = Flag.string("format", short: "f", "Format output: 'json', or a Go TEMPLATE")

    static var command: Command {
        Command(
            spellings: ["version"], summary: "Show the mycontainer version information", usage: "[OPTIONS]",
            options: [format.option], operands: .none
        ) { invocation in
            let client: [(String, OrderedJSON)] = [
                ("Platform", .object(JSONObject([("Name", .string("mycontainer"))]))),
                ("Version", .string(ProductVersion.current)),
                ("ApiVersion", .string(APIVersion.newest.description)),
                ("DefaultAPIVersion", .string(APIVersion.newest.description)), ("Os", .string("linux")),
                ("Arch", .string(architecture)), ("Context", .string("default")),
            ]
            var server = OrderedJSON.null
            var failure: CommandFailure?
            do {
                server = try invocation.engine().json(.GET, "/version")
            } catch let error as CommandFailure {
                // The client's half is shown all the same.
                failure = error
            }
            let format = invocation[format]
            let document = OrderedJSON.object(
                JSONObject([("Client", .object(JSONObject(client))), ("Server", server)]))
            if format == "json" {
                output(document.text + "\n")
            } else if !format.isEmpty {
                try output(document, template: format, name: "version")
            } else {
                output(text(client, server))
            }
            if let failure { throw failure }
            return 0
        }
    }

    private static func text(_ client: [(String, OrderedJSON)], _ server: OrderedJSON) -> String {
        func lines(_ pairs: [(String, String?)], _ indentation: String) -> String {
            pairs.compactMap { name, value in
                guard let value, !value.isEmpty else { return nil }
                let padding = String(repeating: " ", count: max(1, 18 - name.count - indentation.count + 1))
                return "\(indentation)\(name):\(padding)\(value)\n"
            }.joined()
        }
        var text = "Client: mycontainer\n"
        text += lines(
            [
                ("Version", ProductVersion.current), ("API version", APIVersion.newest.description),
                ("OS/Arch", "linux/\(architecture)"),
            ], " ")
        if server.isNull { return text }
        let platform = server["Platform"]["Name"].string ?? ""
        text += "\nServer:\(platform.isEmpty ? "" : " " + platform)\n Engine:\n"
        let minimum = server["MinAPIVersion"].string.map { " (minimum version \($0))" } ?? ""
        text += lines(
            [
                ("Version", server["Version"].string),
                ("API version", server["ApiVersion"].string.map { $0 + minimum }),
                ("Git commit", server["GitCommit"].string), ("Built", server["BuildTime"].string),
                ("OS/Arch", server["Os"].string.map { "\($0)/\(server["Arch"].string ?? "")" }),
                ("Kernel", server["KernelVersion"].string),
            ], "  ")
        for component in server["Components"].elements where component["Name"].string != "Engine" {
            text += " \(component["Name"].string ?? ""):\n"
            text += lines([("Version", component["Version"].string)], "  ")
        }
        return text
    }

    /// Docker's name of the machine this runs on.
    static var architecture: String {
        #if arch(x86_64)
            "amd64"
        #elseif arch(arm64)
            "arm64"
        #else
            "unknown"
        #endif
    }
}
