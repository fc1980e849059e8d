# shellcheck shell=bash
# down: everything that carries this lab's name goes, whatever `up` came to.
# Nothing is looked up in the lab's own notes: they may be half written.

# Processes that run for this lab in the root namespaces: an `up` that is under
# way and what it started. It marks itself (see hack/lab) in its environment.
marked_pids() {
    local file pid
    for file in /proc/[0-9]*/environ; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        [ "$pid" != $$ ] && [ "$pid" != "$PPID" ] || continue
        grep -qzxF "EVENKEEL_LAB_OWNER=$LAB" "$file" 2>/dev/null && echo "$pid"
    done || true
}

lab_namespaces() {
    local file
    for file in /run/netns/"$(ns '')"*; do [ ! -e "$file" ] || echo "${file##*/}"; done
}

pids_in_namespaces() {
    local namespace
    for namespace in $(lab_namespaces); do ip netns pids "$namespace" 2>/dev/null || true; done
}

# The machines' PID 1s: with one of them all its machine runs ends, containers too.
machine_pids() {
    local pid
    for pid in $(pids_in_namespaces); do
        [[ $(awk '/^NSpid:/ { print NF - 1, $NF }' "/proc/$pid/status" 2>/dev/null) != "2 1" ]] || echo "$pid"
    done
}

kill_all() {
    local pids tries
    for tries in $(seq 50); do
        # First the machines alone: those who started their daemons from outside
        # then still live, and collect them.
        if [ "$tries" = 1 ]; then
            pids=$(machine_pids)
        else
            pids=$(
                marked_pids
                pids_in_namespaces
            )
            [ -n "$pids" ] || return 0
        fi
        # shellcheck disable=SC2086 # a list
        kill -KILL $pids 2>/dev/null || true
        sleep 0.1
    done
    die "these processes of lab $NAME do not end after $tries tries: $(tr '\n' ' ' <<<"$pids")"
}

verb_down() {
    local namespace
    kill_all
    for namespace in $(lab_namespaces); do ip netns del "$namespace"; done
    # Overlays and mounts went with the namespaces; the kernel may take a moment.
    local tries=0
    until rm -rf --one-file-system "$LAB" 2>/dev/null; do
        [ $((tries += 1)) -lt 50 ] || die "$LAB could not be removed (is something mounted there? see findmnt)"
        sleep 0.1
    done
    remove_cgroups ""
}

# Labs that were brought up for a process which has ended: killed before it could take them down, or by a reboot.
verb_sweep() {
    local settings name owner state
    for settings in "$LAB_ROOT"/*/settings; do
        [ -e "$settings" ] || continue
        name=$(basename "$(dirname "$settings")")
        owner=$(sed -n 's/^FOR=//p' "$settings")
        [[ $owner =~ ^[0-9]+$ ]] || continue
        # A zombie has ended, too: nobody asked yet what became of it.
        state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$owner/status" 2>/dev/null || true)
        [[ $state == Z || -z $state ]] || continue
        warn "taking down lab $name: process $owner, for which it was up, has ended"
        "$TOP/hack/lab" --name "$name" down
    done
}
