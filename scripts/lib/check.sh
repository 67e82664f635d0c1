# shellcheck shell=bash
# Checks for shell-driven tests: each prints one line, and totals closes with the counts. Sourced.

checks_passed=0 checks_failed=0
# Seconds after which a check's command counts as stuck: the state of our processes is printed and it is killed.
check_limit=${CHECK_LIMIT:-240}
# A descriptor that says nothing: waiting for it is a sleep without a process of its own. (Not `<(:)`, which needs
# /dev/fd.)
check_pipe=$(mktemp -u)
mkfifo "$check_pipe"
exec {check_report}>&1 {check_silence}<>"$check_pipe"
rm "$check_pipe"

# bounded COMMAND...: runs it, no longer than that.
bounded() {
    "$@" &
    local command=$! watchdog status=0
    {
        read -r -t "$check_limit" -u "$check_silence"
        echo "stuck for $check_limit s: $*"
        stuck_processes
        kill "$command"
    } >&"$check_report" 2>&1 </dev/null &
    watchdog=$!
    wait "$command" || status=$?
    kill "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    return "$status"
}

# Where each thread of each of our processes is, as the kernel sees it.
stuck_processes() {
    local process task
    for process in /proc/[0-9]*; do
        if ! grep -q mycontainer "$process/cmdline" "$process/comm" 2>/dev/null; then continue; fi
        echo "-- ${process#/proc/} $(cat "$process/comm") ($(tr '\0' ' ' <"$process/cmdline"))"
        for task in "$process"/task/*; do
            echo "   thread ${task##*/}: $(cat "$task/syscall")"
            sed 's/^/     /' "$task/stack"
        done
        find "$process/fd" -type l -printf '   %f %l\n'
    done 2>/dev/null
}

# ok NAME COMMAND...: COMMAND must succeed. Its output is shown when it does not.
ok() {
    local name=$1 output status=0
    shift
    output=$(bounded "$@" 2>&1 </dev/null) || status=$?
    if [ "$status" = 0 ]; then
        checks_passed=$((checks_passed + 1))
        echo "ok: $name"
    else
        checks_failed=$((checks_failed + 1))
        printf 'not ok: %s\n  command: %s\n  status:  %s\n  output:  %s\n' "$name" "$*" "$status" "$output"
    fi
}

# is NAME EXPECTED COMMAND...: COMMAND's standard output must match the bash pattern EXPECTED, whatever its status.
is() {
    local name=$1 expected=$2 output error
    shift 2
    error=$(mktemp)
    output=$(bounded "$@" 2>"$error" </dev/null) || true
    # shellcheck disable=SC2053 # a pattern on purpose
    if [[ $output == $expected ]]; then
        checks_passed=$((checks_passed + 1))
        echo "ok: $name"
    else
        checks_failed=$((checks_failed + 1))
        printf 'not ok: %s\n  command:  %s\n  output:   %s\n  expected: %s\n  errors:   %s\n' \
            "$name" "$*" "$output" "$expected" "$(cat "$error")"
    fi
    rm -f "$error"
}

# ends NAME STATUS COMMAND...: COMMAND must end with STATUS.
ends() {
    local name=$1 expected=$2 output status=0
    shift 2
    output=$(bounded "$@" 2>&1 </dev/null) || status=$?
    if [ "$status" = "$expected" ]; then
        checks_passed=$((checks_passed + 1))
        echo "ok: $name"
    else
        checks_failed=$((checks_failed + 1))
        printf 'not ok: %s\n  command:  %s\n  status:   %s, expected %s\n  output:   %s\n' \
            "$name" "$*" "$status" "$expected" "$output"
    fi
}

# eventually SECONDS COMMAND...: asks until COMMAND succeeds; fails when it has not by then.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then return 1; fi
        sleep 0.1
    done
}

totals() {
    echo "$checks_passed passed, $checks_failed failed"
    [ "$checks_failed" -eq 0 ]
}
