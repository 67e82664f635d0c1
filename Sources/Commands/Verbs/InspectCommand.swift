/// `inspect`: everything about containers, images, volumes and networks, as JSON or through a template.
enum InspectCommand {
    private static let format = Flag.string(
        "format", short: "f", "Format output: 'json', or a Go TEMPLATE")
    private static let size = Flag.toggle("size", short: "s", "Display total file sizes if the type is container")
    // Of swarm services, which there are none of.
    private static let verbose = Flag.toggle("verbose", short: "v", "Verbose output for diagnostics")
    private static let type = Flag.string("type", "Only inspect objects of the given type")
        .completed(by: .words(["container", "image", "network", "volume"]))

    private struct Kind {
        let name: String
        let path: (String) -> String
    }

    private static let kinds: @Sendable () -> [Kind] = {
        [
            Kind(name: "container") { "/containers/\($0)/json" },
            Kind(name: "image") { "/images/\($0)/json" },
            Kind(name: "network") { "/networks/\($0)" },
            Kind(name: "volume") { "/volumes/\($0)" },
        ]
    }

    static var any: Command {
        Command(
            spellings: ["inspect"], summary: "Return low-level information on containers, images and volumes",
            usage: "[OPTIONS] NAME|ID [NAME|ID...]", options: [format.option, size.option, type.option],
            operands: .atLeast(1), completion: .containers
        ) { invocation in
            let wanted = invocation[type]
            let kinds = kinds().filter { wanted.isEmpty || $0.name == wanted }
            if kinds.isEmpty {
                throw CommandFailure(
                    "unknown type: \(quoted(wanted)): must be one of \"container\", \"image\", \"network\", \"volume\"")
            }
            return try inspect(invocation, kinds, size: invocation[size])
        }
    }

    static var container: Command {
        Command(
            spellings: ["container inspect"], summary: "Display detailed information on one or more containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: [format.option, size.option], operands: .atLeast(1),
            completion: .containers
        ) { try inspect($0, kinds().filter { $0.name == "container" }, size: $0[size]) }
    }

    static var image: Command {
        Command(
            spellings: ["image inspect"], summary: "Display detailed information on one or more images",
            usage: "[OPTIONS] IMAGE [IMAGE...]", options: [format.option, ContainerCreation.platform.option],
            operands: .atLeast(1), completion: .images
        ) { try inspect($0, kinds().filter { $0.name == "image" }, size: false) }
    }

    static var network: Command {
        Command(
            spellings: ["network inspect"], summary: "Display detailed information on one or more networks",
            usage: "[OPTIONS] NETWORK [NETWORK...]", options: [format.option, verbose.option], operands: .atLeast(1),
            completion: .networks
        ) { try inspect($0, kinds().filter { $0.name == "network" }, size: false) }
    }

    static var volume: Command {
        Command(
            spellings: ["volume inspect"], summary: "Display detailed information on one or more volumes",
            usage: "[OPTIONS] VOLUME [VOLUME...]", options: [format.option], operands: .atLeast(1),
            completion: .volumes
        ) { try inspect($0, kinds().filter { $0.name == "volume" }, size: false) }
    }

    private static func inspect(_ invocation: Invocation, _ kinds: [Kind], size: Bool) throws -> Int32 {
        let engine = try invocation.engine()
        let platform = try HistoryCommand.platformDocuments([invocation[ContainerCreation.platform]]).first
        return try show(invocation.operands, format: invocation[format]) { name in
            try object(name, kinds, ["size": size ? "1" : nil, "platform": platform], engine)
        }
    }

    /// Shows what `fetch` finds under each name, then says what was not found.
    static func show(_ names: [String], format: String, _ fetch: (String) throws -> OrderedJSON) throws -> Int32 {
        let template: Template?
        do {
            template = format.isEmpty || format == "json" ? nil : try Template(format)
        } catch {
            throw CommandFailure("template parsing error: \(error.message)", exitCode: 64)
        }
        var found: [OrderedJSON] = []
        var failures: [String] = []
        for name in names {
            do {
                found.append(try fetch(name))
            } catch let error as DaemonError {
                failures.append("\(error)")
            } catch let error as CommandFailure where error.isAboutObject {
                failures.append(error.message ?? "")
            }
        }
        if let template {
            // docker ends the line that it has not begun.
            if found.isEmpty { output("\n") }
            for object in found {
                do {
                    output(try template.execute(object) + "\n")
                } catch {
                    output("\n")
                    failures.append("template parsing error: \(error.message)")
                    break
                }
            }
        } else if format == "json" {
            output(OrderedJSON.array(found).text + "\n")
        } else {
            output(OrderedJSON.array(found).text(indentation: "    ") + "\n")
        }
        return try LifecycleCommands.finish(failures)
    }

    /// The first kind of object that has this name.
    private static func object(_ name: String, _ kinds: [Kind], _ query: EngineClient.Query, _ engine: EngineClient)
        throws -> OrderedJSON
    {
        for kind in kinds {
            do {
                return try engine.json(
                    .GET, kind.path(pathPart(name)), kind.name == "container" || kind.name == "image" ? query : [:])
            } catch let error as DaemonError {
                if kinds.count > 1 && error.isNotFound { continue }
                throw error
            }
        }
        throw CommandFailure("Error: No such object: \(name)", isAboutObject: true)
    }
}
