# shellcheck shell=bash
# up: everything in the order in which it needs each other.

HOSTS=3 ENGINE=native ETCD= MEMBERS=1 SEPARATE=false CONTROLLERS=true CGROUPS=native BARE=false FOR=

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --hosts) HOSTS=${2:-} && shift ;;
        --engine) ENGINE=${2:-} && shift ;;
        --etcd) ETCD=${2:-} && shift ;;
        --members) MEMBERS=${2:-} && shift ;;
        --separate) SEPARATE=true ;;
        --cgroups) CGROUPS=${2:-} && shift ;;
        --for) FOR=${2:-} && shift ;;
        --no-controllers) CONTROLLERS=false ;;
        --bare) BARE=true MEMBERS=0 ;;
        *) die "up: unknown option '$1' (see --help)" ;;
        esac
        shift || die "up: the last option needs a value"
    done
    [[ $HOSTS =~ ^[1-9][0-9]?$ ]] || die "up: --hosts takes a number from 1 to 99, not '$HOSTS'"
    [[ $ENGINE =~ ^(native|trixie|forky|mixed)$ ]] || die "up: --engine is native, trixie, forky or mixed, not '$ENGINE'"
    [[ $ETCD =~ ^(native|trixie|forky|)$ ]] || die "up: --etcd is native, trixie or forky, not '$ETCD'"
    [ "$BARE" = true ] || [[ $MEMBERS =~ ^[13]$ ]] || die "up: --members is 1 or 3, not '$MEMBERS'"
    [[ $CGROUPS =~ ^(native|v2)$ ]] || die "up: --cgroups is native or v2, not '$CGROUPS'"
    [[ $FOR =~ ^[0-9]*$ ]] || die "up: --for takes the number of a process, not '$FOR'"
    [ "$MEMBERS" != 3 ] || [ "$HOSTS" -ge 3 ] || die "up: three members need three hosts"
}

# 3.4 of Debian 12 has known faults; a lab without wishes gets a newer one.
choose_etcd() {
    local code
    # Not as a condition: bash would go on after errors inside.
    set +e
    (set -e && have_from_suite etcd trixie)
    code=$?
    set -e
    ETCD=trixie
    if [ $code != 0 ]; then
        ETCD=native
        warn "NOTE: etcd of trixie cannot be had here, using the installed one: $(etcd --version | head -n 1)"
    fi
}

# All that may have to be fetched or built, before anything of the lab exists.
prepare() {
    need_native dockerd containerd runc etcdctl docker-registry dnsmasq htpasswd busybox \
        nft iptables dig nsenter setpriv pgrep curl
    [ "$BARE" = false ] || need_native sshd ssh ssh-keygen
    [ -x "$DOCKER" ] || die "$DOCKER is not installed: run hack/install"
    if [ -z "$ETCD" ]; then choose_etcd; fi
    [ "$ETCD" != native ] || need_native etcd
    have_from_suite etcd "$ETCD"
    [ "$CGROUPS" = native ] || [ -n "$(v2_tree)" ] || cannot "no cgroups of version 2 are mounted below /sys/fs/cgroup"
    local suite
    for suite in $(engine_suites); do have_from_suite engine "$suite"; done
    have_images
    if [ "$CONTROLLERS" = true ]; then build_binary; fi
}

save_settings() {
    mkdir -p "$LAB"
    local v
    for v in HOSTS ENGINE ETCD MEMBERS SEPARATE CONTROLLERS CGROUPS BARE FOR; do
        printf '%s=%q\n' "$v" "${!v}"
    done >"$LAB/settings.new"
    mv "$LAB/settings.new" "$LAB/settings"
}

# A host from power-on to a working engine; at the first boot and all later ones.
boot_host() { # HOST
    power_on "$1"
    if [ "$BARE" = true ]; then
        boot_bare "$1"
        return
    fi
    if [[ " $(etcd_machines) " == *" $1 "* ]]; then etcd_start "$1"; fi
    engine_start "$1"
    wait_for 10 "dockerd on $1 (log: $LAB/$1/log/dockerd.log)" engine_process "$1"
    engine_wait "$1"
}

# each FUNCTION: for all hosts at once; a failure of one is a failure.
each() {
    local host pids=() pid failed=0
    for host in $(hosts); do
        "$1" "$host" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    [ $failed = 0 ] || die "lab $NAME is not whole: 'hack/lab --name $NAME down' removes what is there"
}

start_controllers() {
    evenkeel_host "$1" start
    # A program that ends at once is restarted for ever, and runs at most moments.
    sleep 1
    evenkeel_host "$1" status >"$LAB/$1/log/controllers.log" || true
    ! grep -qv 'running.* restarts 0$' "$LAB/$1/log/controllers.log" ||
        warn "WARNING: controllers of $1 end (see 'hack/lab --name $NAME docker $1 logs CONTAINER'): $(paste -sd ';' "$LAB/$1/log/controllers.log")"
}

verb_up() {
    local machine
    read_options "$@"
    if [ -e "$LAB" ] || [ -n "$(lab_namespaces)" ]; then
        die "lab '$NAME' is there already, whole or in part: 'hack/lab --name $NAME down' first"
    fi
    prepare
    save_settings
    make_docker_config
    fill_registries
    if [ "$CONTROLLERS" = true ]; then write_controller_image; fi
    if [ "$BARE" = true ]; then
        # Under the name that docs/first-hour.md has for it.
        if [ "$CONTROLLERS" = true ]; then write_controller_image "" 1; fi
        write_etcd_image
    fi

    make_switch
    for machine in infra lan $(hosts); do make_disk "$machine"; done
    for machine in infra lan; do power_on "$machine"; done
    infra_start
    if [ "$MEMBERS" = 1 ]; then etcd_start infra; fi
    for machine in $(hosts); do
        make_engine_config "$machine"
        if [ "$BARE" = true ]; then make_bare "$machine"; else make_controller_settings "$machine"; fi
        # Networks one after the other: `ip netns` sets its folder up on first use.
        power_on "$machine"
    done
    each boot_host
    # shellcheck disable=SC2046 # a list
    etcd_wait $(etcd_machines)
    wait_for 15 "the services on infra (logs: $LAB/infra/log)" infra_answers
    if [ "$CONTROLLERS" = true ] && [ "$BARE" = false ]; then each start_controllers; fi
    verb_status
}
