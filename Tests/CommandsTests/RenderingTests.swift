import Testing

@testable import Commands

@Suite struct ListTests {
    static let now: Nanoseconds = 1_700_000_000 * second
    static let containers = try! OrderedJSON(
        parsing: Array(
            #"""
            [{"Id":"4c01db0b339c0000000000000000000000000000000000000000000000000000","Names":["/webapp"],
              "Image":"ubuntu:22.04","ImageID":"sha256:aa","Command":"bash","Created":1699999984,
              "Ports":[{"PrivatePort":3300,"Type":"tcp"},{"PrivatePort":3301,"Type":"tcp"},
                       {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                       {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],
              "Labels":{"b":"2","a":"1"},"State":"running","Status":"Up 16 seconds","SizeRw":12288,"SizeRootFs":1200000,
              "NetworkSettings":{"Networks":{"bridge":{}}},
              "Mounts":[{"Name":"a-very-long-volume-name","Driver":"local"},{"Source":"/host"}]},
             {"Id":"d7886598dbe20000000000000000000000000000000000000000000000000000","Names":["/redis","/webapp/db"],
              "Image":"crosbymichael/redis:latest","Command":"/redis-server --dir /var/lib","Created":1699998000,
              "Ports":[],"Labels":{},"State":"exited","Status":"Exited (0) 2 minutes ago"}]
            """#.utf8))

    private func render(_ format: String, quiet: Bool = false, truncates: Bool = true, size: Bool = false) throws
        -> String
    {
        let rows = Self.containers.elements.map { ContainerRows.row($0, truncates: truncates, now: Self.now) }
        return try ContainerRows.kind.render(rows, format: format, quiet: quiet, extraColumns: size ? ["Size"] : [])
    }

    /// The table of Docker's documentation, column for column.
    @Test func table() throws {
        #expect(
            try render("") == """
                CONTAINER ID   IMAGE                        COMMAND                  CREATED          STATUS                     PORTS                                                    NAMES
                4c01db0b339c   ubuntu:22.04                 "bash"                   16 seconds ago   Up 16 seconds              0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 3300-3301/tcp   webapp
                d7886598dbe2   crosbymichael/redis:latest   "/redis-server --dir…"   33 minutes ago   Exited (0) 2 minutes ago                                                            redis

                """)
    }

    @Test func otherForms() throws {
        #expect(try render("", quiet: true) == "4c01db0b339c\nd7886598dbe2\n")
        #expect(try render("", quiet: true, truncates: false).hasPrefix("4c01db0b339c0000"))
        #expect(try render("{{.ID}}: {{.Names}} {{.Label \"a\"}}") == "4c01db0b339c: webapp 1\nd7886598dbe2: redis \n")
        #expect(
            try render("table {{.Names}}\\t{{.State}}") == "NAMES     STATE\nwebapp    running\nredis     exited\n")
        #expect(try render("table {{.Label \"com.example.b\"}}").hasPrefix("b\n"))
        #expect(try render("{{.Size}}") == "12.3kB (virtual 1.2MB)\n0B\n")
        #expect(
            try render("{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.Labels}}\n").hasPrefix(
                "a-very-long-vo…,/host|1|bridge|a=1,b=2"))
        #expect(try render("", truncates: false).contains("redis,webapp/db"))
        let line = try render("json").split(separator: "\n")[1]
        let object = try OrderedJSON(parsing: Array(line.utf8))
        #expect(object.members.map(\.key) == object.members.map(\.key).sorted())
        #expect(object["Command"].string == #""/redis-server --dir…""#)
    }

    @Test func refusesBadTemplates() {
        #expect(throws: CommandFailure.self) { try render("{{.Nope}}") }
        #expect(throws: CommandFailure.self) { try render("{{.ID") }
    }

    /// A whole row in JSON is written as for a page, also within a template; parts of it are not.
    @Test func rowsInTemplates() throws {
        let row = ListRow(["Tag": "<none>"])
        let kind = ListKind(headers: ["Tag": "TAG"], columns: ["Tag"], quietField: "Tag")
        #expect(
            try kind.render([row], format: "x {{json .}} {{json .Tag}}", quiet: false)
                == #"x {"Tag":"\u003cnone\u003e"} "<none>""# + "\n")
    }

    @Test func emptyTableHasItsHeader() throws {
        #expect(
            try ContainerRows.kind.render([], format: "", quiet: false)
                == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n")
        #expect(try VolumeCommands.kind.render([], format: "", quiet: false) == "DRIVER    VOLUME NAME\n")
    }

    @Test func images() throws {
        let image = try OrderedJSON(
            parsing: Array(
                #"""
                {"Id":"sha256:77af4d6b9913e693e8d0b4b294fa62ade6054e6b2f1ffb617ac955dd63fb0182","Created":1698099400,
                 "RepoTags":["committ:latest","example.com/x:v1"],"RepoDigests":[],"Size":1089000000,"SharedSize":-1,
                 "Containers":-1}
                """#.utf8))
        let dangling = try OrderedJSON(parsing: Array(#"{"Id":"sha256:00","Created":0,"Size":5,"RepoTags":[]}"#.utf8))
        let rows = [image, dangling].flatMap {
            ImageRows.rows($0, truncates: true, showsDigests: false, now: Self.now)
        }
        #expect(
            try ImageRows.kind(showsDigests: false).render(rows, format: "", quiet: false) == """
                REPOSITORY      TAG       IMAGE ID       CREATED       SIZE
                committ         latest    77af4d6b9913   3 weeks ago   1.09GB
                example.com/x   v1        77af4d6b9913   3 weeks ago   1.09GB
                <none>          <none>    00             N/A           5B

                """)
    }

    @Test func statistics() throws {
        let sample = try OrderedJSON(
            parsing: Array(
                #"""
                {"name":"/redis1","id":"40de8e3e7b9c00","pids_stats":{"current":2},
                 "cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":2},
                 "precpu_stats":{"cpu_usage":{"total_usage":200},"system_cpu_usage":1000},
                 "memory_stats":{"usage":800000,"stats":{"inactive_file":4608},"limit":67108864},
                 "networks":{"eth0":{"rx_bytes":788,"tx_bytes":648}},
                 "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":3568000},{"op":"write","value":512000}]}}
                """#.utf8))
        let row = StatsRow.row(sample, asked: "redis1", truncates: true)
        #expect(
            try StatsRow.kind.render([row], format: "", quiet: false) == """
                CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O        PIDS
                40de8e3e7b9c   redis1    20.00%    776.8KiB / 64MiB    1.19%     788B / 648B   3.57MB / 512kB   2

                """)
        #expect(StatsRow.extraColumns([row]).isEmpty)
    }

    @Test func rates() throws {
        let sample = try OrderedJSON(parsing: Array(#"{"networks":{"eth0":{"rx_rate_limit":1500000000}}}"#.utf8))
        let row = StatsRow.row(sample, asked: "box", truncates: true)
        #expect(StatsRow.extraColumns([row]) == ["NetLimit"])
        #expect(try StatsRow.kind.render([row], format: "{{.NetLimit}}", quiet: false) == "1.5Gbit / --\n")
    }

    /// What a container writes may be sparse, and sizes then as large as numbers get.
    @Test func sizesThatNoDiskHasAreAddedUp() throws {
        let huge = Int64.max - 1
        let usage = try OrderedJSON(
            parsing: Array(
                #"""
                {"LayersSize":1,"Images":[{"Size":\#(huge),"Containers":1},{"Size":\#(huge),"Containers":1}],
                 "Containers":[{"SizeRw":\#(huge),"State":"exited"},{"SizeRw":\#(huge),"State":"running"}],
                 "Volumes":[{"UsageData":{"Size":\#(huge),"RefCount":0}},{"UsageData":{"Size":\#(huge),"RefCount":1}}]}
                """#.utf8))
        let sizes = DiskUsageCommand.rows(usage).map { $0.fields["Size"]?.string }
        #expect(sizes == ["1B", "9.223EB", "9.223EB", "0B"])
        #expect(significant(.infinity, digits: 3) == "inf")
        // Nor does what a daemon says of itself end the program.
        let ports = [#"{"PrivatePort":9223372036854775807,"Type":"tcp"}"#, #"{"PrivatePort":1,"Type":"tcp"}"#]
        #expect(
            ContainerRows.ports(try ports.map { try OrderedJSON(parsing: Array($0.utf8)) })
                == "1/tcp, 9223372036854775807/tcp")
        let image = try OrderedJSON(parsing: Array(#"{"Size":-9223372036854775808,"SharedSize":1}"#.utf8))
        #expect(ImageRows.rows(image, truncates: true, showsDigests: false, now: Self.now).count == 1)
    }

    @Test func events() throws {
        let event = try OrderedJSON(
            parsing: Array(
                #"""
                {"Type":"container","Action":"start","time":1700000000,"timeNano":1700000000000000005,
                 "Actor":{"ID":"abc","Attributes":{"name":"x","image":"busybox"}}}
                """#.utf8))
        let line = EventsCommand.line(event)
        #expect(line.hasSuffix(" container start abc (image=busybox, name=x)\n"))
        #expect(line.contains(".000000005"))
    }
}

@Suite struct ParserTests {
    static let name = Flag.string("name", "")
    static let remove = Flag.toggle("rm", short: "r", "")
    static let interactive = Flag.toggle("interactive", short: "i", "")
    static let memory = Flag.bytes("memory", short: "m", "")
    static let list = Flag.list("env", short: "e", "").alsoSpelled("environment")
    static let options = [name.option, remove.option, interactive.option, memory.option, list.option]

    private func parse(_ words: String..., interspersed: Bool = true) throws -> ParsedArguments {
        try ParsedArguments(words, options: Self.options, interspersed: interspersed)
    }

    @Test func forms() throws {
        let parsed = try parse(
            "-ri", "--name=a=b", "-m", "1k", "-m2k", "-e=1", "--environment", "2", "x", "-e3", "--", "-y")
        #expect(parsed[Self.remove] && parsed[Self.interactive] && parsed[Self.name] == "a=b")
        #expect(parsed[Self.memory] == 2048 && parsed[Self.list] == ["1", "2", "3"])
        #expect(parsed.operands == ["x", "-y"])
        #expect(try parse("--rm=false")[Self.remove] == false)
        #expect(try parse("image", "-r", "--foo", interspersed: false).operands == ["image", "-r", "--foo"])
        #expect(try parse("-", "x").operands == ["-", "x"])
        #expect(try parse("-h").asksForHelp && parse("--help").asksForHelp)
    }

    /// As Go reads what programmers write.
    @Test(
        arguments: [
            ("12", 12), ("-12", -12), ("+7", 7), ("0x1F", 31), ("-0x10", -16), ("017", 15), ("0o17", 15), ("0b101", 5),
            ("0", 0), ("0x7f_ff", 0x7fff), ("0X10", 16), ("1_000", 1000), ("0x_1", 1), ("0_7", 7),
        ] as [(String, Int64)])
    func numbers(_ word: String, _ value: Int64) throws {
        #expect(try parseInteger(word, anyBase: true) == value)
    }

    @Test(arguments: ["", "-", "--1", "_1", "1_", "0x-1", "08", "0x", "0x_", "0b2", "1.5", "x", "0x1__0"])
    func noNumbers(_ word: String) {
        #expect(throws: InvalidValue.self) { try parseInteger(word, anyBase: true) }
    }

    @Test(arguments: [
        (["--foo"], "unknown flag: --foo"), (["-zi"], "unknown shorthand flag: 'z' in -zi"),
        (["--name"], "flag needs an argument: --name"), (["-im"], "flag needs an argument: 'm' in -im"),
        (["-m", "x"], #"invalid argument "x" for "-m, --memory" flag: invalid size: 'x'"#),
        (
            ["--rm=maybe"],
            #"invalid argument "maybe" for "-r, --rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#
        ),
        (["---x"], "bad flag syntax: ---x"),
    ])
    func refuses(_ words: [String], _ message: String) {
        #expect(throws: UsageError(message)) {
            try ParsedArguments(words, options: Self.options, interspersed: true)
        }
    }

    /// No two options of a verb share a name or a letter, and every verb has its help, completion and manual page.
    @Test func tablesAreConsistent() {
        var spellings: Set<String> = []
        for entry in CommandTable.entries {
            let command = entry.make()
            #expect(command.spellings == entry.spellings, "\(entry.spellings)")
            for spelling in entry.spellings { #expect(spellings.insert(spelling).inserted, "\(spelling) twice") }
            let names = command.options.flatMap { [$0.name] + $0.hiddenSpellings }
            #expect(Set(names).count == names.count, "\(command.name): \(names)")
            let letters = command.options.compactMap(\.short)
            #expect(Set(letters).count == letters.count, "\(command.name): \(letters)")
            #expect(
                Help.text(command, spelling: entry.spellings[0]).hasPrefix("Usage:  mycontainer \(entry.spellings[0])"))
        }
        #expect(ManCommand.pages().count == CommandTable.entries.count { !$0.make().isHidden } + 1)
    }
}
