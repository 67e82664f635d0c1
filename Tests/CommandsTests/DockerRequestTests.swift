import Glibc
import Testing

@testable import Commands

/// The same words given to Docker's own command line and to ours must lead to the same requests. Needs the `docker` program
/// (only the client; no daemon) that the other comparisons use, whatever else is installed, and is skipped without it.
@Suite(
    .serialized,
    .enabled(
        if: DockerClient.path != nil,
        "docker's command line is not unpacked: scripts/test unit does that, or name it in the variable DOCKER"))
struct DockerRequestTests {
    static let containerLines = [
        "create busybox",
        "create --name x --hostname h --domainname d -e A=1 -e B= -l a=b --label c busybox echo a b",
        "create -it --entrypoint /bin/sh -w /w -u 1:2 --group-add 5 --group-add wheel busybox -c x",
        "create --entrypoint= busybox",
        "create -m 64m --memory-swap -1 --memory-reservation 32m --memory-swappiness 10 --cpus 0.5 busybox",
        "create --cpu-quota 5000 --cpu-period 100000 --cpu-shares 512 --cpuset-cpus 0-1 --cpuset-mems 0 busybox",
        "create --cpu-rt-period 1000 --cpu-rt-runtime 900 --pids-limit 100 --oom-kill-disable --oom-score-adj 5 busybox",
        "create --blkio-weight 100 --blkio-weight-device /dev/sda:200 --device-read-bps /dev/sda:1mb busybox",
        "create --device-write-bps /dev/sda:2kb --device-read-iops /dev/sda:7 --device-write-iops /dev/sda:8 busybox",
        "create --ulimit nofile=10:20 --ulimit core=0 --ulimit nproc=-1 --sysctl net.ipv4.ip_forward=1 busybox",
        "create --cap-add NET_ADMIN --cap-drop ALL --privileged --security-opt no-new-privileges busybox",
        "create --security-opt seccomp=unconfined --security-opt apparmor=x --security-opt label:disable busybox",
        "create --security-opt systempaths=unconfined busybox",
        "create --device /dev/null --device /dev/zero:/dev/z --device /dev/full:/dev/f:rw --device /dev/tty:r busybox",
        "create --gpus all busybox",
        "create --gpus device=0 busybox",
        "create --device vendor.com/class=one busybox",
        "create -v /a:/b -v data:/data:ro -v /anon --tmpfs /t --tmpfs /u:size=1m --volumes-from o:ro busybox",
        "create --volume-driver local --storage-opt size=1G --shm-size 1g --read-only busybox",
        "create --mount type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave,bind-recursive=disabled busybox",
        "create --mount type=volume,source=v,target=/v,volume-nocopy,volume-label=a=b,volume-opt=o=p busybox",
        "create --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 --mount dst=/anon busybox",
        "create --mount type=volume,src=v,dst=/v,volume-driver=local,volume-subpath=s busybox",
        "create --network none busybox", "create --net host busybox", "create --network container:x busybox",
        "create --network foo --ip 1.2.3.4 --ip6 fe80::1 --network-alias a --mac-address 92:d0:c6:0a:29:33 busybox",
        "create --network name=foo,alias=a,alias=b,ip=1.2.3.4,driver-opt=k=v,gw-priority=3 busybox",
        "create --network foo --network bar --link-local-ip 169.254.1.1 busybox",
        "create --link a:b --network bridge busybox", "create --link a --network foo busybox",
        "create -p 80 -p 8080:80 -p 127.0.0.1:53:53/udp -p 9000-9001:90-91 -p 7000-7005:70 -p [::1]:1:2 busybox",
        "create -p published=80,target=81,protocol=udp --expose 99 --expose 100-102/udp -P busybox",
        "create --add-host a:1.2.3.4 --add-host b=[::1] --add-host c:host-gateway --dns 8.8.8.8 busybox",
        "create --dns 2001:0db8:0::1 --dns-search example.com --dns-search . --dns-option ndots:2 --dns-opt x busybox",
        "create --pid host --ipc shareable --uts host --userns host --cgroupns private busybox",
        "create --pid container:x --ipc container:y --cgroup-parent p --runtime r --isolation default busybox",
        "create --init busybox", "create --init=false busybox",
        "create --stop-signal HUP --stop-timeout 0 --restart on-failure:3 busybox",
        "create --restart always busybox", "create --restart unless-stopped --rm=false busybox", "create --rm busybox",
        "create --log-driver local --log-opt max-size=1m --log-opt max-file=2 busybox",
        "create --health-cmd true --health-interval 5s --health-timeout 1m30s --health-retries 3 busybox",
        "create --health-start-period 1s --health-start-interval 500ms busybox", "create --no-healthcheck busybox",
        "create --annotation a=b --annotation c busybox", "create -a stdin -a STDOUT busybox",
        "create --platform linux/amd64 busybox", "create --pull never -q busybox",
        "create -h x -lfoo=bar -eA=1 -itm32m -c7 busybox",
        "run --network none busybox true", "run --rm --network none busybox true", "run -d busybox sleep 1",
        "run -d -it --sig-proxy=false busybox", "run -a stdout busybox", "run -i busybox cat",
        "run --detach-keys ctrl-a,x busybox",
    ]

    static let otherLines = [
        "exec c ls", "exec -d c ls -l", "exec -i -u 1 -w /x -e A=1 --privileged c sh -c true",
        "exec --detach-keys ctrl-x c ls",
        "ps", "ps -a", "ps -q --no-trunc", "ps -n 3", "ps -l", "ps -s", "ps -f name=x -f status=exited -f name=y",
        "container ls -a", "container list", "container ps",
        "stop x", "stop -t 3 x y", "stop -s HUP x", "stop --time 4 x", "restart x", "restart -t 1 -s USR1 x",
        "kill x", "kill -s HUP x", "pause x", "unpause x", "rm x", "rm -f -v x", "container rm -l a", "rename a b",
        "wait x", "start x", "start -a x", "attach --no-stdin x", "top x", "top x aux", "top x -o pid,cmd",
        "logs x", "logs -f -t -n 5 --details x", "logs --since 1700000000 --until 2030-01-01T00:00:00Z x",
        "port x", "diff x", "update -m 3m --restart no x", "update --pids-limit -1 --cpus 2 x y",
        "inspect x", "inspect --type image x", "container inspect -s x", "image inspect a:b", "volume inspect v",
        "images", "images -a", "images --filter dangling=true", "images busybox", "image ls -q",
        "pull -q busybox", "pull -q a.b/c:d", "pull -aq busybox", "image pull -q --platform linux/amd64 x/y:z",
        "tag a b:c", "tag a example.com/x/y", "rmi x", "rmi -f --no-prune x y", "history x", "image rm x",
        "volume create", "volume create foo -o a=b --label x=y -d local", "volume ls", "volume ls -f dangling=true",
        "volume rm v", "volume rm -f v w", "volume prune -f", "volume prune -af",
        "network create foo", "network create --internal --attachable --label a=b -o k=v foo",
        "network create --subnet 10.1.0.0/16 --ip-range 10.1.2.0/24 --gateway 10.1.0.9 --aux-address r=10.1.0.8 foo",
        "network create --ipv6 --ipv4=false --subnet fd00:1::/64 -d macvlan -o parent=eth0 foo",
        "network create --gateway 10.1.0.1 foo", "network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 foo",
        "network connect foo c", "network connect --ip 10.1.0.5 --ip6 fd00::5 --alias a,b --alias d foo c",
        "network connect --link x:y --driver-opt k=v --gw-priority -3 --link-local-ip 169.254.1.1 foo c",
        "network connect --ip nope foo c", "network disconnect foo c", "network disconnect -f foo c",
        "network ls", "network ls -q --filter driver=bridge --no-trunc", "network inspect foo bar",
        "network prune -f", "network prune -f --filter until=1h",
        "system df", "system prune -f", "system prune -af --volumes", "container prune -f --filter until=1h",
        "image prune -f", "image prune -af",
        "events --since 1700000000 --until 1700000001 --filter type=container",
        "commit x", "commit -a me -m msg -c CMD=a -p=false x y:z", "export x", "save a b",
    ]

    @Test func countsItsDifferences() {
        print("\(Self.differences.count) differences from docker's requests are meant:")
        for difference in Self.differences { print("  \(difference.verb): \(difference.reason)") }
        // May only fall.
        #expect(Self.differences.count <= 7)
    }

    @Test(arguments: containerLines + otherLines)
    func sendsWhatDockerSends(_ line: String) throws {
        let daemon = try RecordingDaemon()
        defer { daemon.stop() }
        let words = line.split(separator: " ").map(String.init)
        let theirCode = try DockerClient.run(words, socket: daemon.socketPath)
        let theirs = daemon.takeRequests()
        let ourCode = CommandLineProgram.main(
            ["--config", DockerClient.home, "-H", "unix://\(daemon.socketPath)"] + words)
        let ours = daemon.takeRequests()
        #expect(ourCode == theirCode)
        #expect(compared(ours, line) == compared(theirs, line))
    }

    /// A difference that is meant, and why.
    private struct Difference: Sendable {
        let verb: String
        let reason: String
        let apply: @Sendable (inout [RecordedRequest]) -> Void
    }

    private static let differences = [
        Difference(verb: "run -d", reason: "nobody waits for a container that runs in the background") { requests in
            requests.removeAll { $0.path.hasSuffix("/wait") }
        },
        Difference(verb: "exec", reason: "the answer to the exec itself says whether there is such a container") {
            requests in
            requests.removeAll { $0.method == "GET" && $0.path.hasPrefix("/containers/") }
        },
        Difference(verb: "attach", reason: "looked at once, and then named by its id, which nobody can rename") {
            requests in
            requests.removeAll { $0.method == "GET" }
            for index in requests.indices {
                requests[index].path = requests[index].path.split(separator: "/").last.map(String.init) ?? ""
                // The default.
                requests[index].query["condition"] = nil
            }
        },
        Difference(verb: "system prune", reason: "this daemon has no builds yet") { requests in
            requests.removeAll { $0.path == "/build/prune" }
        },
        Difference(verb: "stop", reason: "docker asks for several at once, in any order") { requests in
            requests.sort { $0.path < $1.path }
        },
        Difference(verb: "create --cap-add", reason: "the daemon spells capabilities out; docker 29 leaves it to it") {
            requests in
            for index in requests.indices { requests[index].body = Self.withLongCapabilities(requests[index].body) }
        },
        Difference(verb: "create -v", reason: "docker ranges over a map to find the binds") { requests in
            for index in requests.indices {
                requests[index].body = Self.changed(requests[index].body, "Binds") {
                    .array($0.elements.sorted { $0.text < $1.text })
                }
            }
        },
    ]

    private func compared(_ requests: [RecordedRequest], _ line: String) -> [RecordedRequest] {
        var requests = requests
        for difference in Self.differences where line.hasPrefix(difference.verb) { difference.apply(&requests) }
        // Ours are under way at once, before the start.
        if let attach = requests.firstIndex(where: { $0.path.hasSuffix("/attach") }), attach > 0,
            requests[attach - 1].path.hasSuffix("/wait")
        {
            requests.swapAt(attach - 1, attach)
        }
        // docker's own order changes from one call to the next.
        for index in requests.indices { requests[index].body = Self.withSortedEnvironment(requests[index].body) }
        return requests
    }

    private static func withSortedEnvironment(_ body: OrderedJSON) -> OrderedJSON {
        guard !body.members.isEmpty else { return body }
        return .object(
            JSONObject(
                body.members.map { member in
                    guard member.key == "Env" else { return (member.key, member.value) }
                    let sorted = member.value.elements.sorted { ($0.string ?? "") < ($1.string ?? "") }
                    return (member.key, member.value.elements.isEmpty ? member.value : .array(sorted))
                }))
    }

    private static func withLongCapabilities(_ body: OrderedJSON) -> OrderedJSON {
        ["CapAdd", "CapDrop"].reduce(body) { body, key in
            changed(body, key) { names in
                .array(
                    names.elements.compactMap(\.string).map {
                        .string($0 == "ALL" || $0.hasPrefix("CAP_") ? $0 : "CAP_\($0)")
                    })
            }
        }
    }

    /// The document with one member of its HostConfig changed.
    private static func changed(_ body: OrderedJSON, _ key: String, _ change: (OrderedJSON) -> OrderedJSON)
        -> OrderedJSON
    {
        func members(_ value: OrderedJSON, _ name: String, _ change: (OrderedJSON) -> OrderedJSON) -> OrderedJSON {
            .object(JSONObject(value.members.map { ($0.key, $0.key == name ? change($0.value) : $0.value) }))
        }
        return members(body, "HostConfig") { members($0, key, change) }
    }
}

/// Docker's own command line.
enum DockerClient {
    static let path: String? = {
        let home = "\(environment("HOME") ?? "/root")/.cache"
        let cache =
            environment("MYCONTAINER_CACHE") ?? "\(environment("XDG_CACHE_HOME") ?? home)/mycontainer-dev"
        let path = environment("DOCKER") ?? "\(cache)/docker-cli/usr/bin/docker"
        return access(path, X_OK) == 0 ? path : nil
    }()

    /// A folder that is not there: no user's settings, for either program.
    static let home = "/tmp/mycontainer-test-no-config"

    /// Runs it against a socket, its output thrown away.
    static func run(_ words: [String], socket: String) throws -> Int32 {
        guard let path else { throw CommandFailure("the docker command line is not installed here") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor: Int32 in 0...2 {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        let all: [String] = [path, "--config", home, "-H", "unix://\(socket)"] + words
        let arguments = all.map { (word: String) -> UnsafeMutablePointer<CChar>? in strdup(word) }
        let variables = ["HOME=\(home)", "PATH=/usr/bin:/bin"].map { (word: String) -> UnsafeMutablePointer<CChar>? in
            strdup(word)
        }
        defer { (arguments + variables).forEach { free($0) } }
        var child = pid_t()
        let result = posix_spawn(&child, path, &actions, nil, arguments + [nil], variables + [nil])
        guard result == 0 else { throw CommandFailure("cannot run \(path): \(goReason(result))") }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 {
            guard errno == EINTR else { throw CommandFailure("cannot wait for \(path): \(goReason(errno))") }
        }
        return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
    }
}
