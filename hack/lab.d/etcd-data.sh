# shellcheck shell=bash
# What happens to etcd's data: full, as it was, or gone.

# Outside of evenkeel's keys: it must not care what else lives in its etcd.
FILLER=/lab/filler/

etcdctl_here() { (run_etcdctl "$@"); }

etcd_fill() {
    local part said parts=()
    # Just below the largest value; four at a time, as it is the CLI that takes the time.
    head -c 1400000 /dev/zero | tr '\0' x >"$LAB/filler"
    for part in 1 2 3 4; do
        fill_part "$part" >"$LAB/filler.$part" &
        parts+=($!)
    done
    wait "${parts[@]}"
    said=$(cat "$LAB"/filler.[1-4])
    rm -f "$LAB"/filler*
    [[ $said == *"database space exceeded"* ]] || die "etcd was not filled: $said"
    etcdctl_here alarm list
}

fill_part() { # PART: until etcd refuses; what it said then
    local n said
    for n in $(seq 100); do
        if ! said=$(etcdctl_here put "$FILLER$1/$n" <"$LAB/filler" 2>&1); then
            echo "$said"
            return 0
        fi
    done
}

# In the order that works: what was written goes, its history goes, the room is given back, and only then
# the alarm may go.
etcd_drain() {
    local revision machine
    etcdctl_here del --prefix "$FILLER" >/dev/null
    revision=$(etcdctl_here get "$FILLER" -w json | sed -n 's/.*"revision":\([0-9]*\).*/\1/p')
    [ -n "$revision" ] || die "etcd does not say its revision"
    # Compacted there already: nothing to do.
    etcdctl_here compact --physical "$revision" >/dev/null 2>&1 || true
    for machine in $(etcd_machines); do
        ETCD_ONLY=$machine etcdctl_here defrag --command-timeout=60s >/dev/null
    done
    etcdctl_here alarm disarm >/dev/null
    [ -z "$(etcdctl_here alarm list)" ] || die "etcd raises its alarm again: $(etcdctl_here alarm list)"
}

etcd_snapshot() { # [MEMBER]
    local machines
    [ -z "$1" ] || need_member "$1"
    machines=$(etcd_machines)
    rm -f "$LAB/etcd.snapshot" "$LAB/etcd.snapshot.part"
    ETCD_ONLY=${1:-${machines%% *}} etcdctl_here snapshot save "$LAB/etcd.snapshot" >/dev/null 2>"$LAB/etcd.snapshot.log" ||
        die_with_log "$LAB/etcd.snapshot.log" "etcd gave no snapshot"
}

# The tool of the etcd that will run on it: a newer one's snapshot holds what an older tool would drop.
restore_tool() {
    local path
    path=$(suite_path etcd "$ETCD")
    PATH=$path$PATH command -v etcdutl || PATH=$path$PATH command -v etcdctl
}

etcd_restore() { # [--bump]
    local machine tool bump=() cluster
    [ -f "$LAB/etcd.snapshot" ] || die "there is no snapshot: 'hack/lab --name $NAME etcd snapshot' first"
    tool=$(restore_tool)
    case $1 in
    "") ;;
    --bump)
        ETCDCTL_API=3 "$tool" snapshot restore --help 2>&1 | grep -q -e --bump-revision ||
            cannot "etcd $ETCD cannot raise the revision of a snapshot (3.5 and newer can)"
        bump=(--bump-revision 1000000 --mark-compacted)
        ;;
    *) die "etcd restore [--bump], not '$1'" ;;
    esac
    cluster=$(etcd_cluster)
    etcd_end
    for machine in $(etcd_machines); do
        rm -rf "${LAB:?}/$machine/disk/etcd"
        ETCDCTL_API=3 "$tool" snapshot restore "$LAB/etcd.snapshot" --data-dir "$LAB/$machine/disk/etcd" \
            --name "$machine" --initial-cluster "$cluster" --initial-cluster-token "$ETCD_TOKEN" \
            --initial-advertise-peer-urls "http://$(address_of "$machine"):2380" \
            ${bump[@]+"${bump[@]}"} >"$LAB/etcd.restore.log" 2>&1 ||
            die_with_log "$LAB/etcd.restore.log" "the snapshot cannot be restored for $machine"
    done
    etcd_power start
}

etcd_wipe() {
    local machine
    etcd_end
    for machine in $(etcd_machines); do rm -rf "${LAB:?}/$machine/disk/etcd"; done
    etcd_power start
}

# All members, whatever state they are in.
etcd_end() {
    etcd_power resume
    etcd_power kill
}
