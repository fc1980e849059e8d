# shellcheck shell=bash
# What all parts of the lab share: names, places, messages, waiting.
# Sourced by hack/lab; NAME (the lab's) and TOP (the checkout) are set there.

LAB_ROOT=${EVENKEEL_LAB_DIR:-/var/tmp/evenkeel-lab}
CACHE=$LAB_ROOT/cache
LAB=$LAB_ROOT/$NAME

# Debian's CLI by its full path: another `docker` may come first in PATH, and
# one that is too new refuses to talk to an engine of bookworm.
DOCKER=/usr/bin/docker

INFRA_ADDRESS=10.0.0.2
REGISTRY=registry.lan:5000
PRIVATE=private.lan:5001
PRIVATE_USER=shop
PRIVATE_PASSWORD=keel-lab

say() { echo "lab $NAME: $*"; }
warn() { echo "lab $NAME: $*" >&2; }
die() {
    echo "hack/lab: $*" >&2
    exit 1
}
# Exit code 3 tells a caller «this cannot be tried here», so that it can skip.
cannot() {
    echo "hack/lab: $*" >&2
    exit 3
}

# The dot keeps the namespaces of a lab `a` apart from those of a lab `a-b`.
ns() { echo "ekl.$NAME.$1"; }

address_of() {
    case $1 in
    infra) echo "$INFRA_ADDRESS" ;;
    lan) echo 10.0.0.5 ;;
    h[1-9] | h[1-9][0-9]) echo "10.0.0.$((10 + ${1#h}))" ;;
    *) die "no machine '$1': it is h1…h${HOSTS:-N}, infra or lan" ;;
    esac
}

hosts() { seq -f 'h%g' 1 "$HOSTS"; }
is_host() { [[ $1 =~ ^h[1-9][0-9]?$ ]] && [ "${1#h}" -le "$HOSTS" ]; }
need_host() { is_host "${1:-}" || die "'${1:-}' is no host of lab $NAME (h1…h$HOSTS)"; }

# Settings of a lab that is up, written once by `up`.
load_settings() {
    [ -f "$LAB/settings" ] ||
        die "there is no lab '$NAME' (looked in $LAB): bring it up with 'hack/lab --name $NAME up'"
    # shellcheck source=/dev/null
    . "$LAB/settings"
}

# wait_for SECONDS WHAT COMMAND…: polls, since none of the daemons can tell us.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "$what: not there in time"
        sleep 0.1
    done
}

# The tail of a log belongs into the message of what failed, not into a hunt.
die_with_log() { # LOG MESSAGE
    tail -n 8 "$1" 2>/dev/null | sed 's/^/    /' >&2
    die "$2 (whole log: $1)"
}

# Runs COMMAND with the lock of a shared thing held: two labs that come up
# together must not both build the same cache entry.
with_lock() { # LOCKNAME COMMAND…
    local lock=$CACHE/.$1.lock
    shift
    mkdir -p "$CACHE"
    (
        flock 8
        "$@" 8>&-
    ) 8>"$lock"
}
