import Testing

@testable import Commands

@Suite struct TemplateTests {
    static let value = try! OrderedJSON(
        parsing: Array(
            #"""
            {"Name":"/web","Id":"0123","Count":3,"On":true,"Off":false,"Nothing":null,"Big":18446744073709551615,
             "State":{"Status":"running","Pid":42,"Empty":""},"Args":["a","b c"],
             "Ports":{"80/tcp":[{"HostPort":"8080"}],"443/tcp":null},"Labels":{"z":"1","a":"2"}}
            """#.utf8))

    @Test(
        arguments: [
            ("{{.Name}}", "/web"), ("{{.State.Status}} {{.State.Pid}}", "running 42"),
            ("{{json .Args}}", #"["a","b c"]"#),
            ("{{json .State}}", #"{"Status":"running","Pid":42,"Empty":""}"#), ("{{.Args}}", "[a b c]"),
            ("{{.Labels}}", "map[a:2 z:1]"), ("{{range 2}}{{.}}{{end}}", "01"),
            ("{{1.50}} {{1e3}} {{0x1F}} {{1e21}}", "1.5 1000 31 1e+21"),
            ("{{.Nothing}}", "<no value>"), ("{{.Big}}", "18446744073709551615"),
            ("{{if .On}}yes{{else}}no{{end}}", "yes"), ("{{if .Off}}yes{{else if .On}}maybe{{else}}no{{end}}", "maybe"),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            ("{{range .Args}}<{{.}}>{{end}}", "<a><b c>"),
            ("{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}", "0=a;1=b c;"),
            ("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "a2z1"),
            ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
            ("{{with .State}}{{.Pid}}{{$.Name}}{{end}}", "42/web"), ("{{with .Nothing}}x{{else}}y{{end}}", "y"),
            (#"{{index .Labels "z"}}{{index .Labels "y"}}"#, "1"),
            (#"{{(index (index .Ports "80/tcp") 0).HostPort}}"#, "8080"),
            (#"{{index .Args 1}}"#, "b c"), ("{{len .Args}}", "2"), (#"{{join .Args ", "}}"#, "a, b c"),
            (#"{{range split "a:b" ":"}}[{{.}}]{{end}}"#, "[a][b]"), ("{{upper .State.Status}}", "RUNNING"),
            ("{{.State.Status | upper | lower}}", "running"), (#"{{title "hello world"}}"#, "Hello World"),
            (
                #"{{printf "%s-%05d|%-4s|%4s|%q|%x|%t|%v" .Id .Count "a" "b" "c" 255 .On .Args}}"#,
                #"0123-00003|a   |   b|"c"|ff|true|[a b c]"#
            ),
            (#"{{printf "%.2f %d%%" 1.5 7}}"#, "1.50 7%"), (#"{{printf "%d" "x"}}"#, "%!d(string=x)"),
            ("{{println .Id .Count}}", "0123 3\n"), (#"{{truncate .Name 2}}"#, "/w"), (#"{{pad "x" 1 2}}|"#, " x  |"),
            (#"{{eq .Count 3}} {{ne .Id "x"}} {{lt .Count 4}} {{ge 2 3}}"#, "true true true false"),
            (#"{{eq .Id "a" "0123"}}"#, "true"), (#"{{and .On .Id}} {{or .Off "x"}} {{not .On}}"#, "0123 x false"),
            (#"{{if and .On (gt .Count 2)}}big{{end}}"#, "big"), ("a{{- /* comment */ -}} b", "ab"),
            ("{{/* comment */}}a {{- .Count -}} b", "a3b"), ("{{$x := .Count}}{{if .On}}{{$x = 9}}{{end}}{{$x}}", "9"),
            ("{{range .Args}}{{if eq . \"b c\"}}{{break}}{{end}}{{.}}{{end}}", "a"), ("{{`raw \\n`}}", "raw \\n"),
            (#"{{html "<a href='x'>&"}}"#, "&lt;a href=&#39;x&#39;&gt;&amp;"), (#"{{js "a\"<"}}"#, #"a\"\u003C"#),
            (#"{{urlquery "a b/c"}}"#, "a+b%2Fc"), (#"{{print 1 2 "x" "y" 3}}"#, "1 2xy3"),
            (#"{{define "t"}}<{{.}}>{{end}}{{template "t" .Count}}{{template "t" .On}}"#, "<3><true>"),
            (#"{{block "t" .State}}{{.Pid}}{{end}}"#, "42"), (#"{{printf "%T %T" .Name .On}}"#, "string bool"),
            (#"{{slice .Id 1 3}}"#, "12"), ("{{.ID}}", "0123"), (#"{{"a\tb"}}"#, "a\tb"),
            ("{{.}}", nil),
        ] as [(String, String?)])
    func evaluates(_ source: String, _ expected: String?) throws {
        let text = try Template(source).execute(Self.value)
        if let expected { #expect(text == expected) } else { #expect(text.hasPrefix("map[Args:[a b c]")) }
    }

    @Test(arguments: [
        (
            "{{slice .Id 0 -2}}",
            #"template: :1:2: executing "" at <slice .Id 0 -2>: error calling slice: index out of range: -2"#
        ),
        ("{{.Foo}}", #"template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo""#),
        ("x\n {{.State.Foo}}", #"template: :2:9: executing "" at <.State.Foo>: map has no entry for key "Foo""#),
        ("{{.Nothing.X}}", #"template: :1:10: executing "" at <.Nothing.X>: nil pointer evaluating .X"#),
        ("{{.Count.X}}", #"template: :1:8: executing "" at <.Count.X>: can't evaluate field X in type int"#),
        (
            #"{{define "t"}}{{.X}}{{end}}{{template "t" .State}}"#,
            #"template: t:1:16: executing "t" at <.X>: map has no entry for key "X""#
        ), (#"{{template "u"}}"#, #"template: :1:11: executing "" at <{{template "u"}}>: template "u" not defined"#),
        (#"{{define "t"}}{{template "t"}}{{end}}{{template "t"}}"#, "template: exceeded maximum template depth (500)"),
        ("{{nil}}", #"template: :1:2: executing "" at <nil>: nil is not a command"#),
        ("{{foo}}", #"template: :1: function "foo" not defined"#), ("{{", "template: :1: unclosed action"),
        ("{{range 9223372036854775807}}x{{end}}", "range can't iterate over 9223372036854775807"),
        ("{{if .On}}", "template: :1: unexpected EOF"), ("{{end}}", "template: :1: unexpected {{end}}"),
        (
            "{{index .Args 7}}",
            #"template: :1:2: executing "" at <index .Args 7>: error calling index: index out of range: 7"#
        ),
        ("{{join .Args}}", #"template: :1:2: executing "" at <join>: wrong number of args for join: want 2 got 1"#),
        (
            #"{{eq .Count "x"}}"#,
            #"template: :1:2: executing "" at <eq .Count "x">: error calling eq: incompatible types for comparison"#
        ), ("{{$x}}", #"undefined variable "$x""#), ("{{\"abc}}", "template: :1: unclosed action"),
        (
            #"{{padlen "a" 1000001}}"#,
            #"template: :1:2: executing "" at <padlen "a" 1000001>: error calling padlen: a width of 1000001"#
        ),
        (
            #"{{pad "a" 0 1000001}}"#,
            #"template: :1:2: executing "" at <pad "a" 0 1000001>: error calling pad: a width of 1000001"#
        ),
        ("{{.Id 1}}", #"template: :1:2: executing "" at <.Id>: can't give argument to non-function .Id"#),
    ])
    func refuses(_ source: String, _ message: String) {
        #expect(throws: TemplateError(message)) { try Template(source).execute(Self.value) }
    }
}

@Suite struct OrderedJSONTests {
    @Test(arguments: [
        #"{"b":1,"a":[],"c":{}}"#, #"[1,-2,1.50,1e400,18446744073709551615]"#, #""\"\\\b\f\n\r\t\u0001é😀/""#, "null",
        "true",
    ])
    func keepsWhatItReads(_ text: String) throws {
        #expect(try OrderedJSON(parsing: Array(text.utf8)).text == text)
    }

    @Test func readsEscapes() throws {
        let value = try OrderedJSON(parsing: Array(#"" \u00e9 \ud83d\ude00 \ud800 \/""#.utf8))
        #expect(value.string == " é 😀 \u{FFFD} /")
    }

    @Test func indentsAsGo() throws {
        let value = try OrderedJSON(parsing: Array(#"[{"a":[],"b":{"c":1}}]"#.utf8))
        #expect(
            value.text(indentation: "    ") == """
                [
                    {
                        "a": [],
                        "b": {
                            "c": 1
                        }
                    }
                ]
                """)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\"}", "nul", "\"a", "01x", "1 2", "\"\u{1}\"", "[\"\\x\"]",
        String(repeating: "[", count: 600),
    ])
    func refuses(_ text: String) {
        #expect(throws: JSONSyntaxError.self) { try OrderedJSON(parsing: Array(text.utf8)) }
    }
}
