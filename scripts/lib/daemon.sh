# shellcheck shell=bash
# A daemon of a script's own: private roots, socket and network namespace. Sourced after common.sh.
#
#   daemon_create            makes $daemon_directory and removes it, with all that ran in it, when the script ends
#   daemon_start [FLAG...]   starts it and returns when it answers; its pid is $daemon_pid
#   daemon_kill | daemon_stop
#   our ARGUMENT...          our CLI on that daemon
#   inside COMMAND...        a command in the daemon's network namespace

programs=${MYCONTAINER_BIN:-$repository/bin}
registry=${MYCONTAINER_REGISTRY:-$repository/images/registry}
daemon_pid=

daemon_create() {
    need_root "a daemon"
    [ -x "$programs/mycontainerd" ] || die "no programs in $programs: run 'make build' first"
    # Short, since a socket's path has 108 bytes, and not on /tmp, which may be a tmpfs.
    daemon_directory=$(mktemp -d "${1:-/var/tmp}/mycontainer-test-XXXXXX")
    daemon_socket=$daemon_directory/sock
    export MYCONTAINER_HOST=unix://$daemon_socket
    trap daemon_destroy EXIT
    # A network namespace that outlives a daemon that is killed, as a host's does, with its bridges and rules.
    daemon_network=$(dirname "$daemon_directory")/netns-$(basename "$daemon_directory")
    touch "$daemon_network"
    unshare --net="$daemon_network" -- ip link set lo up
}

# inside COMMAND...: runs it in the daemon's network namespace, which is what containers see of a host.
inside() { nsenter --net="$daemon_network" -- "$@"; }

daemon_launch() {
    local flags=("$@")
    nsenter --net="$daemon_network" -- "$programs/mycontainerd" \
        --data-root "$daemon_directory/data" --exec-root "$daemon_directory/exec" -H "unix://$daemon_socket" \
        --registry "$registry" --pidfile "$daemon_directory/pid" "${flags[@]}" >>"$daemon_directory/log" 2>&1 </dev/null &
    daemon_pid=$!
}

daemon_start() {
    daemon_launch "$@"
    local tries=0
    until [ "$(curl --silent --max-time 5 --unix-socket "$daemon_socket" http://localhost/_ping)" = OK ]; do
        tries=$((tries + 1))
        if ! kill -0 "$daemon_pid" 2>/dev/null || [ $tries -gt 1000 ]; then
            tail -n 20 "$daemon_directory/log" >&2
            die "the daemon did not start"
        fi
        sleep 0.02
    done
}

daemon_kill() {
    if [ -n "$daemon_pid" ]; then
        kill -KILL "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" 2>/dev/null || true
        daemon_pid=
    fi
}

# Ends the daemon as systemd would. Its exit status.
daemon_stop() {
    local status=0
    if [ -n "$daemon_pid" ]; then
        kill -TERM "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" || status=$?
        daemon_pid=
    fi
    return $status
}

daemon_instance() { printf %s "$(realpath "$daemon_directory/data")" | sha256sum | cut -c1-8; }

# Everything that is the daemon's, on this machine: one line an item. Empty when nothing is left.
daemon_leftovers() {
    awk -v d="$daemon_directory" 'index($5, d) == 1 { print "mount " $5 }' /proc/self/mountinfo
    find /sys/fs/cgroup -type d -path "*mycontainer-$(daemon_instance)*" -printf 'cgroup %p\n' 2>/dev/null
    local directory line
    for directory in /proc/[0-9]*; do
        # A process may end between the listing and the look.
        line=$({ tr '\0' ' ' <"$directory/cmdline"; } 2>/dev/null) || continue
        if [[ $line == *mycontainer*"$daemon_directory"* ]]; then echo "process ${directory##*/} $line"; fi
    done
    return 0
}

# The same, waiting up to 30 seconds for what is going.
daemon_settled_leftovers() {
    local found
    for _ in $(seq 300); do
        found=$(daemon_leftovers)
        if [ -z "$found" ]; then return 0; fi
        sleep 0.1
    done
    printf '%s\n' "$found"
}

# Undoes everything by force; fit for a trap.
daemon_destroy() {
    local cgroup mount pid
    if [ -z "${daemon_directory:-}" ] || [ ! -d "$daemon_directory" ]; then return 0; fi
    daemon_kill
    find /sys/fs/cgroup -depth -type d -path "*mycontainer-$(daemon_instance)*" 2>/dev/null | while read -r cgroup; do
        while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$cgroup/cgroup.procs" || true
    done
    daemon_leftovers | awk '$1 == "process" { print $2 }' | while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done
    find /sys/fs/cgroup -depth -type d -path "*mycontainer-$(daemon_instance)*" 2>/dev/null | while read -r cgroup; do
        for _ in $(seq 50); do if rmdir "$cgroup" 2>/dev/null; then break; fi; sleep 0.05; done
    done
    awk -v d="$daemon_directory" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r mount; do umount --lazy "$mount" 2>/dev/null || true; done
    umount --lazy "$daemon_network" 2>/dev/null || true
    rm -rf --one-file-system "$daemon_network" "$daemon_directory"
}

our() { "$programs/mycontainer" "$@"; }
