# shellcheck shell=bash
# The controllers on the lab's hosts: run by the very script that a plain host
# uses (charts/host/evenkeel-host), inside the host's namespaces.

make_controller_settings() { # HOST
    local dir=$LAB/$1/disk/etc-evenkeel lead=true any_etcd=false
    # Debian 12's is 3.4.23, whose reads may be stale after a pause: good enough to
    # test all the rest on, and said so.
    [ "$ETCD" != native ] || any_etcd=true
    # Where etcd is, controllers may lead; with etcd on infra that is everywhere.
    [ "$MEMBERS" = 1 ] || [[ " $(etcd_machines) " == *" $1 "* ]] || lead=false
    cat >"$dir/host.env" <<EOF
EVENKEEL_ENDPOINTS=$(etcd_endpoints "$1")
EVENKEEL_IMAGE=$REGISTRY/evenkeel:dev
EVENKEEL_HOST=$1
EVENKEEL_ADDRESS=$(address_of "$1")
EVENKEEL_LEAD=$lead
EVENKEEL_SEPARATE=$SEPARATE
EVENKEEL_BOOT_ID_FILE=/etc/evenkeel/boot-id
EVENKEEL_DOCKER_CLI=$DOCKER
EVENKEEL_EXCLUSIVE_ANY_ETCD=$any_etcd
EVENKEEL_LOG=${EVENKEEL_LOG:-info}
EOF
    registry_auth >"$dir/registry.json"
    chmod 600 "$dir/registry.json"
}

# The files of the bundle are read from the checkout, as the lab has no /usr/local
# of its own.
evenkeel_host() { # HOST VERB
    enter "$1" "$TOP/charts/host/evenkeel-host" "$2"
}

controller_container() { # CONTROLLER
    if [ "$SEPARATE" = true ]; then echo "evenkeel-$1"; else echo evenkeel; fi
}

need_controller() {
    case ${1:-} in
    host | network | service | healthcheck | instance | dns | watchdog) ;;
    *) die "'${1:-}' is no controller: host network service healthcheck instance dns watchdog" ;;
    esac
}

# The worker that runs CONTROLLER on HOST, never its parent, which holds the name server's sockets. Looked for
# inside the host's PID namespace: only its processes match.
signal_worker() { # HOST CONTROLLER SIGNAL
    local pids flag=--worker
    # It has a process of its own, also all in one.
    [ "$2" != watchdog ] || flag=--watchdog
    pids=$(enter "$1" pgrep -f "controller $flag( .*)? ($2|all)( |\$)") ||
        die "no worker runs $2 on $1 (see 'hack/lab --name $NAME logs $1 $2')"
    # shellcheck disable=SC2086 # a list
    enter "$1" kill "-$3" $pids
}

verb_controllers() {
    local host=${1:-} verb=${2:-}
    need_host "$host"
    case $verb in
    start | stop | restart | upgrade | status) evenkeel_host "$host" "$verb" ;;
    kill | pause | resume)
        local -A signals=([kill]=KILL [pause]=STOP [resume]=CONT)
        need_controller "${3:-}"
        signal_worker "$host" "$3" "${signals[$verb]}"
        ;;
    *) die "controllers HOST start|stop|restart|upgrade|status, or kill|pause|resume NAME, not '$verb'" ;;
    esac
}

verb_logs() {
    need_host "${1:-}"
    need_controller "${2:-}"
    exec_docker_on "$1" logs "$(controller_container "$2")" "${@:3}"
}

# The CLI, on infra's network: it reaches etcd whichever host is cut off.
run_keel() {
    local endpoints
    if [ "$BARE" = true ]; then enter_interactively h1 /usr/local/bin/evenkeel "$@"; fi
    [ -x "$(binary)" ] || die "there is no binary yet: hack/lab build"
    endpoints=$(etcd_endpoints)
    EVENKEEL_ENDPOINTS=$endpoints EVENKEEL_PREFIX=/evenkeel/v1 \
        EVENKEEL_SSH=$LAB_D/ssh EVENKEEL_SSH_LAB=$NAME \
        exec nsenter --net="/run/netns/$(ns infra)" -- "$(binary)" "$@"
}

# dig [@HOST] NAME [TYPE]: asks the name server on the host's first gateway address, also while etcd is away.
verb_dig() {
    local host=h1 gateway
    if [[ ${1:-} == @* ]]; then
        host=${1#@}
        shift
    fi
    need_host "$host"
    [ $# -ge 1 ] || die "dig [@HOST] NAME [TYPE]"
    gateway=$(enter "$host" ip -4 -o addr show | awk '$2 ~ /^ek-/ { sub("/.*", "", $4); print $4; exit }')
    [ -n "$gateway" ] || die "$host carries no Network yet (it has no bridge ek-NETWORK)"
    enter "$host" dig +short +time=1 +tries=1 "@$gateway" "$@"
}
