/// `completion SHELL` prints a script for a shell; the script asks `__complete`, which knows the option tables and, from
/// the daemon, the live names.
enum CompletionCommands {
    static var completion: Command {
        Command(
            spellings: ["completion"], summary: "Generate the completion script for the specified shell",
            usage: "bash|zsh|fish", operands: .exactly(1), completion: .words(["bash", "zsh", "fish"])
        ) { invocation in
            guard let script = scripts[invocation.operands[0]] else {
                throw CommandFailure(
                    "no completion for the shell \(quoted(invocation.operands[0])): it is one of bash, zsh, fish")
            }
            output(script)
            return 0
        }
    }

    /// `__complete WORD…`: what may stand in place of the last word, one a line; `:files` or `:directories` alone lets
    /// the shell complete names of files.
    static var complete: Command {
        Command(
            spellings: ["__complete"], summary: "Complete the last word", usage: "[WORD...]", operands: .any,
            interspersed: false, isHidden: true
        ) { invocation in
            output(Completer(invocation.global, invocation.operands).candidates().map { $0 + "\n" }.joined())
            return 0
        }
    }

    private static let scripts = [
        "bash": """
        # bash completion for mycontainer
        _mycontainer() {
            local words=("${COMP_WORDS[@]:1:COMP_CWORD}") current candidates
            # bash splits at = and : too; both are parts of our words.
            local line="${COMP_LINE:0:COMP_POINT}"
            read -r -a words <<<"$line"
            [[ "$line" == *[[:space:]] ]] && words+=("")
            words=("${words[@]:1}")
            current="${words[-1]}"
            candidates="$("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null)"
            case "$candidates" in
                :files) compopt -o default 2>/dev/null; COMPREPLY=(); return ;;
                :directories) compopt -o dirnames 2>/dev/null; COMPREPLY=(); return ;;
            esac
            local prefix="${current%"${current##*[=:]}"}" candidate
            COMPREPLY=()
            while IFS= read -r candidate; do
                [[ -n "$candidate" && "$candidate" == "$current"* ]] && COMPREPLY+=("${candidate#"$prefix"}")
            done <<<"$candidates"
            [[ "${#COMPREPLY[@]}" == 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
        }
        complete -F _mycontainer mycontainer

        """,
        "zsh": """
        #compdef mycontainer
        _mycontainer() {
            local -a candidates
            candidates=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
            case "${candidates[1]}" in
                :files) _files; return ;;
                :directories) _files -/; return ;;
            esac
            candidates=("${(@)candidates:#}")
            (( ${#candidates} )) && compadd -- "${candidates[@]}"
        }
        if [ "$funcstack[1]" = "_mycontainer" ]; then
            _mycontainer "$@"
        else
            compdef _mycontainer mycontainer
        fi

        """,
        "fish": """
        # fish completion for mycontainer
        function __mycontainer_complete
            set -l words (commandline -opc) (commandline -ct)
            set -l candidates ($words[1] __complete -- $words[2..-1] 2>/dev/null)
            switch "$candidates[1]"
                case :files
                    __fish_complete_path (commandline -ct)
                case :directories
                    __fish_complete_directories (commandline -ct)
                case '*'
                    printf '%s\\n' $candidates
            end
        end
        complete -c mycontainer -f -a '(__mycontainer_complete)'

        """,
    ]
}

/// Works out what may stand in place of the last of the words that have been typed.
struct Completer {
    private let global: GlobalOptions
    private let words: [String]
    private let current: String
    /// The option before the verb whose value is being typed.
    private var pending: Option?

    init(_ global: GlobalOptions, _ words: [String]) {
        var before = words.dropLast()
        func parsed() -> ParsedArguments? {
            try? ParsedArguments(before, options: GlobalOptions.options, interspersed: false)
        }
        if let last = before.last, let option = Completer.option(last, GlobalOptions.options), option.takesValue {
            let whole = before
            before = before.dropLast()
            if parsed()?.operands.isEmpty == true { pending = option } else { before = whole }
        }
        // The user's own -H decides whom live names are asked from.
        let typed = parsed()
        self.global = typed.map(GlobalOptions.init) ?? global
        self.words = typed?.operands ?? []
        current = words.last ?? ""
    }

    func candidates() -> [String] {
        if let pending { return values(pending.completion) }
        if words.isEmpty {
            if let found = assigned(GlobalOptions.options) { return found }
            return current.hasPrefix("-") ? optionNames(GlobalOptions.options) : matching(verbs)
        }
        var spelling = words[0]
        var rest = words.dropFirst()
        if let group = CommandTable.groups.first(where: { $0.name == spelling }) {
            guard let verb = rest.popFirst() else { return matching(Help.members(of: group).map(\.verb)) }
            spelling += " " + verb
        }
        guard let command = CommandTable.command(spelling) else { return [] }
        if let last = rest.last, let option = Completer.option(last, command.options), option.takesValue,
            !last.contains("=")
        {
            return values(option.completion)
        }
        if let found = assigned(command.options) { return found }
        let operands =
            (try? ParsedArguments(rest, options: command.options, interspersed: command.interspersed))?.operands ?? []
        if !command.interspersed && !operands.isEmpty {
            // From here on it is the container's own command line.
            return []
        }
        if current.hasPrefix("-") { return optionNames(command.options) }
        return values(command.completion).filter { !operands.contains($0) }
    }

    private var verbs: [String] {
        CommandTable.entries.compactMap {
            $0.spellings[0].contains(" ") || $0.spellings[0].hasPrefix("_") ? nil : $0.spellings[0]
        }
            + CommandTable.groups.map(\.name)
    }

    /// The values of `--name=val`; nil where something else is being typed.
    private func assigned(_ options: [Option]) -> [String]? {
        guard current.hasPrefix("--"), case let (name, value?) = cut(current, "=") else { return nil }
        guard let option = Completer.option(name, options) else { return [] }
        let found = values(option.completion, typed: value)
        return found.first?.hasPrefix(":") == true ? found : found.map { "\(name)=\($0)" }
    }

    private static func option(_ word: String, _ options: [Option]) -> Option? {
        if !word.hasPrefix("-") { return nil }
        if word.hasPrefix("--") { return options.first { "--\($0.name)" == word } }
        return options.first { $0.short == word.last }
    }

    private func optionNames(_ options: [Option]) -> [String] {
        matching(options.filter { !$0.isHidden }.map { "--\($0.name)" } + ["--help"]).sorted()
    }

    private func engine() throws -> EngineClient {
        EngineClient(host: try global.host(try? global.configuration()), debug: false)
    }

    private func matching(_ words: [String]) -> [String] { words.filter { $0.hasPrefix(current) } }

    private func values(_ completion: Completion, typed: String? = nil) -> [String] {
        let prefix = typed ?? current
        func named(_ query: EngineClient.Query) -> [String] {
            let list = try? engine().json(.GET, "/containers/json", query)
            return (list?.elements ?? []).flatMap { container in
                container["Names"].elements.compactMap { $0.string.map { String($0.drop { $0 == "/" }) } }
            }.filter { !$0.contains("/") }
        }
        let found: [String]
        switch completion {
        case .none: found = []
        case .files: return [":files"]
        case .directories: return [":directories"]
        case .words(let words): found = words
        case .containers: found = named(["all": "1"])
        case .runningContainers: found = named([:])
        case .stoppedContainers:
            found = named(["all": "1", "filters": #"{"status":{"created":true,"exited":true}}"#])
        case .pausedContainers: found = named(["filters": #"{"status":{"paused":true}}"#])
        case .images:
            let list = try? engine().json(.GET, "/images/json")
            found = (list?.elements ?? []).flatMap { $0["RepoTags"].elements.compactMap(\.string) }
        case .volumes:
            let list = try? engine().json(.GET, "/volumes")
            found = (list?["Volumes"].elements ?? []).compactMap { $0["Name"].string }
        case .networks:
            let list = try? engine().json(.GET, "/networks")
            found = (list?.elements ?? []).compactMap { $0["Name"].string }
        case .contexts:
            found = ((try? global.contexts(global.configuration()).all()) ?? []).map(\.name)
        case .commands: found = verbs
        }
        return found.filter { $0.hasPrefix(prefix) }
    }
}
