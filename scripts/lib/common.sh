# shellcheck shell=bash
# What the scripts share. Sourced, never run.

# Where downloads and unpacked helpers are kept between runs; never inside the repository.
# shellcheck disable=SC2034 # used by those that source this file
cache=${MYCONTAINER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mycontainer-dev}

# The repository's root.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export repository

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints the address of the first Debian mirror in apt's configuration, whichever form it is written in.
debian_mirror() {
    local found
    found=$(apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 ~ /\/debian\/?$/ { print $2; exit }')
    [ -n "$found" ] || die "no Debian mirror is configured in apt's sources"
    printf '%s\n' "${found%/}"
}

# need_root WHAT: refuses politely when not root.
need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root: run it as root or with sudo"
}
