# shellcheck shell=bash
# The etcd that the lab runs on: one member on infra, or three on h1…h3.

# Small enough to be filled in seconds, and enough for hours of tests.
ETCD_QUOTA=$((256 * 1024 * 1024))

# With bare hosts none: whoever makes a cluster there brings etcd along.
etcd_machines() {
    case $MEMBERS in
    3) echo h1 h2 h3 ;;
    1) echo infra ;;
    esac
}

# The client URLs; with a host given, its own member first, as on a real host.
etcd_endpoints() { # [HOST]
    local machine list=()
    for machine in $(etcd_machines); do
        if [ "$machine" = "${1:-}" ]; then
            list=("http://$(address_of "$machine"):2379" ${list[@]+"${list[@]}"})
        else
            list+=("http://$(address_of "$machine"):2379")
        fi
    done
    (IFS=, && echo "${list[*]}")
}

# What makes a cluster the same one to etcd: names, peer URLs and token.
ETCD_TOKEN=evenkeel-lab-$NAME

etcd_cluster() {
    local machine list=()
    for machine in $(etcd_machines); do list+=("$machine=http://$(address_of "$machine"):2380"); done
    (IFS=, && echo "${list[*]}")
}

etcd_start() { # MACHINE
    local machine=$1 address
    [ -z "$(pids_on "$machine" etcd)" ] || return 0
    address=$(address_of "$machine")
    mkdir -p "$LAB/$machine/disk/etcd"
    chmod 700 "$LAB/$machine/disk/etcd"
    # Half the usual election time: on a LAN it halves how long writes are refused
    # when the leader dies.
    spawn_in "$machine" etcd.log env -i PATH="$(suite_path etcd "$ETCD")$PATH" etcd \
        --name "$machine" --data-dir "$LAB/$machine/disk/etcd" \
        --listen-client-urls "http://$address:2379,http://127.0.0.1:2379" \
        --advertise-client-urls "http://$address:2379" \
        --listen-peer-urls "http://$address:2380" \
        --initial-advertise-peer-urls "http://$address:2380" \
        --initial-cluster "$(etcd_cluster)" \
        --initial-cluster-token "$ETCD_TOKEN" \
        --heartbeat-interval 100 --election-timeout 500 \
        --quota-backend-bytes "$ETCD_QUOTA" \
        --auto-compaction-mode periodic --auto-compaction-retention 1h \
        --logger zap --log-level warn
}

# It answers a linearizable read. Its /health says no more than that, and no also to an alarm.
etcd_healthy() { # MACHINE
    enter_net infra curl -sf --max-time 2 -o /dev/null -d '{"key":"Lw=="}' "http://$(address_of "$1"):2379/v3/kv/range"
}

etcd_wait() {
    local machine
    for machine in "$@"; do
        wait_for 30 "etcd on $machine (log: $LAB/$machine/log/etcd.log)" etcd_healthy "$machine"
    done
}

# From infra, so that no host's cut cable takes the person's view away. ETCD_ONLY: one member.
run_etcdctl() {
    local endpoints
    endpoints=$(etcd_endpoints)
    [ -z "${ETCD_ONLY:-}" ] || endpoints=http://$(address_of "$ETCD_ONLY"):2379
    ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$endpoints exec nsenter --net="/run/netns/$(ns infra)" -- etcdctl "$@"
}

verb_etcd() {
    local action=${1:-}
    case $action in
    start | stop | kill | pause | resume) etcd_power "$@" ;;
    fill) etcd_fill ;;
    drain) etcd_drain ;;
    snapshot) etcd_snapshot "${2:-}" ;;
    restore) etcd_restore "${2:-}" ;;
    wipe) etcd_wipe ;;
    *) die "etcd stop|start|kill|pause|resume|snapshot [MEMBER], or fill|drain|restore [--bump]|wipe, not '$action'" ;;
    esac
}

need_member() {
    [[ " $(etcd_machines) " == *" $1 "* ]] || die "'$1' carries no etcd member; these do: $(etcd_machines | xargs)"
}

etcd_power() { # start|stop|kill|pause|resume [MEMBER]
    local machines machine
    local -A signals=([stop]=TERM [kill]=KILL [pause]=STOP [resume]=CONT)
    machines=${2:-$(etcd_machines)}
    for machine in $machines; do need_member "$machine"; done
    for machine in $machines; do
        if [ "$1" = start ]; then etcd_start "$machine"; else signal_on "$machine" etcd "${signals[$1]}"; fi
    done
    for machine in $machines; do
        case $1 in
        stop | kill) wait_for 30 "end of etcd on $machine" none_on "$machine" etcd ;;
        start) [ -n "${2:-}" ] || etcd_wait "$machine" ;;
        esac
    done
}
