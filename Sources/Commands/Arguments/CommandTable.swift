/// A family of verbs, for example `container`.
struct CommandGroup: Sendable {
    let name: String
    let summary: String
}

/// Every verb. An entry makes its option table only when it is asked for, so that `run` costs nothing for the others.
enum CommandTable {
    struct Entry: Sendable {
        /// The first one is what the verb is listed under.
        let spellings: [String]
        let make: @Sendable () -> Command

        init(_ spellings: String..., make: @autoclosure @escaping @Sendable () -> Command) {
            self.spellings = spellings
            self.make = make
        }
    }

    static let groups = [
        CommandGroup(name: "container", summary: "Manage containers"),
        CommandGroup(name: "context", summary: "Manage contexts"),
        CommandGroup(name: "image", summary: "Manage images"),
        CommandGroup(name: "network", summary: "Manage networks"),
        CommandGroup(name: "system", summary: "Manage mycontainer"),
        CommandGroup(name: "volume", summary: "Manage volumes"),
    ]

    static let entries: [Entry] = [
        Entry("run", "container run", make: RunCommand.command),
        Entry("exec", "container exec", make: ExecCommand.command),
        Entry("ps", "container ls", "container ps", "container list", make: PsCommand.command),
        Entry("attach", "container attach", make: AttachCommand.command),
        Entry("commit", "container commit", make: CommitCommand.command),
        Entry("cp", "container cp", make: CopyCommand.command),
        Entry("create", "container create", make: CreateCommand.command),
        Entry("diff", "container diff", make: DiffCommand.command),
        Entry("export", "container export", make: ExportCommand.command),
        Entry("kill", "container kill", make: LifecycleCommands.kill),
        Entry("logs", "container logs", make: LogsCommand.command),
        Entry("pause", "container pause", make: LifecycleCommands.pause),
        Entry("port", "container port", make: PortCommand.command),
        Entry("port add", "container port add", make: PortChangeCommands.add),
        Entry("port rm", "container port rm", make: PortChangeCommands.remove),
        Entry("rename", "container rename", make: LifecycleCommands.rename),
        Entry("restart", "container restart", make: LifecycleCommands.restart),
        Entry("rm", "container rm", "container remove", make: LifecycleCommands.remove),
        Entry("start", "container start", make: StartCommand.command),
        Entry("stats", "container stats", make: StatsCommand.command),
        Entry("stop", "container stop", make: LifecycleCommands.stop),
        Entry("top", "container top", make: TopCommand.command),
        Entry("unpause", "container unpause", make: LifecycleCommands.unpause),
        Entry("update", "container update", make: UpdateCommand.command),
        Entry("wait", "container wait", make: LifecycleCommands.wait),
        Entry("inspect", make: InspectCommand.any),
        Entry("container inspect", make: InspectCommand.container),
        Entry("container prune", make: PruneCommands.containers),

        Entry("images", "image ls", "image list", make: ImagesCommand.command),
        Entry("pull", "image pull", make: PullCommand.command),
        Entry("push", "image push", make: PushCommand.command),
        Entry("search", make: SearchCommand.command),
        Entry("rmi", "image rm", "image remove", make: RemoveImageCommand.command),
        Entry("tag", "image tag", make: TagCommand.command),
        Entry("history", "image history", make: HistoryCommand.command),
        Entry("save", "image save", make: SaveCommand.command),
        Entry("load", "image load", make: LoadCommand.command),
        Entry("import", "image import", make: ImportCommand.command),
        Entry("image inspect", make: InspectCommand.image),
        Entry("image prune", make: PruneCommands.images),

        Entry("context create", make: ContextCommands.create),
        Entry("context export", make: ContextCommands.export),
        Entry("context import", make: ContextCommands.importing),
        Entry("context inspect", make: ContextCommands.inspect),
        Entry("context ls", "context list", make: ContextCommands.list),
        Entry("context rm", "context remove", make: ContextCommands.remove),
        Entry("context show", make: ContextCommands.show),
        Entry("context update", make: ContextCommands.update),
        Entry("context use", make: ContextCommands.use),
        Entry("login", make: LoginCommands.login),
        Entry("logout", make: LoginCommands.logout),

        Entry("network connect", make: NetworkCommands.connect),
        Entry("network create", make: NetworkCommands.create),
        Entry("network disconnect", make: NetworkCommands.disconnect),
        Entry("network inspect", make: InspectCommand.network),
        Entry("network ls", "network list", make: NetworkCommands.list),
        Entry("network prune", make: PruneCommands.networks),
        Entry("network rm", "network remove", make: NetworkCommands.remove),

        Entry("volume create", make: VolumeCommands.create),
        Entry("volume inspect", make: InspectCommand.volume),
        Entry("volume ls", "volume list", make: VolumeCommands.list),
        Entry("volume prune", make: PruneCommands.volumes),
        Entry("volume rm", "volume remove", make: VolumeCommands.remove),

        Entry("events", "system events", make: EventsCommand.command),
        Entry("info", "system info", make: InfoCommand.command),
        Entry("system df", make: DiskUsageCommand.command),
        Entry("system prune", make: PruneCommands.system),
        Entry("version", make: VersionCommand.command),
        Entry("help", make: HelpCommand.command),
        Entry("completion", make: CompletionCommands.completion),
        Entry("__complete", make: CompletionCommands.complete),
        Entry("__man", make: ManCommand.command),
    ]

    static func isVerb(_ spelling: String) -> Bool { entries.contains { $0.spellings.contains(spelling) } }

    /// The command that is written so, nil where there is none.
    static func command(_ spelling: String) -> Command? {
        entries.first { $0.spellings.contains(spelling) }?.make()
    }
}
