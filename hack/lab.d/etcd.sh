# shellcheck shell=bash
# The etcd that the lab runs on: one member on infra, or three on h1…h3.

etcd_machines() { if [ "$MEMBERS" = 3 ]; then echo h1 h2 h3; else echo infra; fi; }

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

etcd_start() { # MACHINE
    local machine=$1 address cluster=() m
    [ -z "$(pids_on "$machine" etcd)" ] || return 0
    address=$(address_of "$machine")
    for m in $(etcd_machines); do cluster+=("$m=http://$(address_of "$m"):2380"); done
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
        --initial-cluster "$(IFS=, && echo "${cluster[*]}")" \
        --initial-cluster-token "evenkeel-lab-$NAME" \
        --heartbeat-interval 100 --election-timeout 500 \
        --quota-backend-bytes 2147483648 \
        --auto-compaction-mode periodic --auto-compaction-retention 1h \
        --logger zap --log-level warn
}

etcd_healthy() { # MACHINE
    enter_net infra curl -sf --max-time 2 "http://$(address_of "$1"):2379/health" | grep -q '"true"'
}

etcd_wait() {
    local machine
    for machine in "$@"; do
        wait_for 30 "etcd on $machine (log: $LAB/$machine/log/etcd.log)" etcd_healthy "$machine"
    done
}

# From infra, so that no host's cut cable takes the person's view away.
run_etcdctl() {
    local endpoints
    endpoints=$(etcd_endpoints)
    ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$endpoints exec nsenter --net="/run/netns/$(ns infra)" -- etcdctl "$@"
}

verb_etcd() {
    local action=${1:-} machines machine
    machines=${2:-$(etcd_machines)}
    for machine in $machines; do
        [[ " $(etcd_machines) " == *" $machine "* ]] ||
            die "'$machine' carries no etcd member; these do: $(etcd_machines)"
    done
    for machine in $machines; do
        case $action in
        start) etcd_start "$machine" ;;
        stop) signal_on "$machine" etcd TERM ;;
        kill) signal_on "$machine" etcd KILL ;;
        hang) signal_on "$machine" etcd STOP ;;
        resume) signal_on "$machine" etcd CONT ;;
        *) die "etcd stop|start|kill|hang|resume [MEMBER], not '$action'" ;;
        esac
    done
    for machine in $machines; do
        case $action in
        stop | kill) wait_for 30 "end of etcd on $machine" none_on "$machine" etcd ;;
        start) [ -n "${2:-}" ] || etcd_wait "$machine" ;;
        esac
    done
}
