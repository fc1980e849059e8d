# shellcheck shell=bash
# A lab machine: namespaces that one process holds, a disk that outlives it, and
# its power switch. Hosts, infra and lan are all of this kind.

is_on() { # MACHINE
    local pid
    pid=$(cat "$LAB/$1/holder" 2>/dev/null) && [ -n "$pid" ] &&
        [ "/proc/$pid/ns/net" -ef "/run/netns/$(ns "$1")" ]
}

holder_of() { # MACHINE
    address_of "$1" >/dev/null
    is_on "$1" || die "$1 is powered off (or lab $NAME is not up): 'hack/lab --name $NAME poweron $1'"
    cat "$LAB/$1/holder"
}

# enter MACHINE COMMAND…: inside all of that machine's namespaces.
enter() {
    local holder
    holder=$(holder_of "$1")
    shift
    nsenter -t "$holder" -m -u -i -n -p -- "$@"
}

# As `enter` for people and tests: keeps the folder, and when the caller is
# killed the command dies too (it sits in another PID namespace, so the death
# of nsenter alone would leave it running).
enter_interactively() {
    local holder
    holder=$(holder_of "$1")
    shift
    exec nsenter -t "$holder" -m -u -i -n -p --wdns="$PWD" -- setpriv --pdeathsig KILL -- "$@"
}

# enter_net MACHINE COMMAND…: only its network; files are the caller's.
enter_net() {
    local machine=$1
    shift
    [ -e "/run/netns/$(ns "$machine")" ] || die "there is no $machine in lab $NAME now"
    nsenter --net="/run/netns/$(ns "$machine")" -- "$@"
}

# A daemon on a machine: nothing of it may hold our terminal or our locks.
spawn_in() { # MACHINE LOG COMMAND…
    local holder log
    holder=$(holder_of "$1") log=$LAB/$1/log/$2
    shift 2
    setsid nsenter -t "$holder" -m -u -i -n -p --wdns=/ -- "$@" >>"$log" 2>&1 </dev/null 8>&- 9>&- &
    disown
}

# Process ids, as seen from here, of the processes of that name on the machine
# itself (those in its containers have PID namespaces of their own).
pids_on() { # MACHINE NAME
    pgrep --ns "$(holder_of "$1")" --nslist pid -x "$2" || true
}

signal_on() { # MACHINE NAME SIGNAL
    local pids
    pids=$(pids_on "$1" "$2")
    [ -n "$pids" ] || return 0
    # nsenter, their parent, stops itself with them; left so, it would never collect them.
    # shellcheck disable=SC2086 # a list
    [ "$3" != CONT ] || kill -CONT $(ps -o ppid= -p "$(xargs <<<"$pids")") 2>/dev/null || true
    # shellcheck disable=SC2086 # a list
    kill "-$3" $pids 2>/dev/null || true
}

none_on() { [ -z "$(pids_on "$1" "$2")" ]; }

# The machine's files before its first boot.
make_disk() { # MACHINE
    local etc=$LAB/$1/disk/etc
    mkdir -p "$etc" "$LAB/$1/log" "$LAB/$1/disk/etc-evenkeel"
    echo "$1" >"$etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" >"$etc/hosts"
    printf 'nameserver %s\noptions timeout:1 attempts:2\n' "$INFRA_ADDRESS" >"$etc/resolv.conf"
    ! is_host "$1" || make_image "$1"
}

power_on() { # MACHINE
    local dir=$LAB/$1 parent
    ! is_on "$1" || return 0
    [ -d "$dir/disk" ] || die "there is no machine '$1' in lab $NAME"
    wait_for 20 "release of the disk of $1" image_is_free "$1"
    remove_net "$1"
    make_net "$1"
    rm -rf "$dir/run"
    mkdir -p "$dir/run"
    # One kernel, so one boot id for all: each machine gets one of its own here.
    cat /proc/sys/kernel/random/uuid >"$dir/disk/etc-evenkeel/boot-id"
    setsid nsenter --net="/run/netns/$(ns "$1")" -- \
        unshare --mount --propagation private --pid --fork --uts --ipc -- \
        /bin/bash "$LAB_D/machine-init.sh" "$dir" "$1" "$(cgroup_tree)" >"$dir/log/init.log" 2>&1 </dev/null 8>&- 9>&- &
    parent=$!
    disown
    local tries=0
    until [ -e "$dir/run/ready" ]; do
        kill -0 "$parent" 2>/dev/null && [ $((tries += 1)) -lt 200 ] ||
            die_with_log "$dir/log/init.log" "machine $1 did not come up"
        sleep 0.05
    done
    pgrep -P "$parent" >"$dir/holder"
    ! is_host "$1" || enter_net "$1" sysctl -qw net.ipv4.ip_forward=1
}

# As if the plug were pulled: nothing gets a signal that it could handle.
power_off() { # MACHINE
    local holder
    if is_on "$1"; then
        holder=$(cat "$LAB/$1/holder")
        # The cable first, as its peers would notice both at once.
        ip -n "$(ns $SWITCH)" link set "$(port_of "$1")" down 2>/dev/null || true
        # What stands still outside of it would not collect what ends inside.
        signal_on "$1" etcd CONT
        signal_on "$1" dockerd CONT
        kill -KILL "$holder" 2>/dev/null || true
        wait_for 20 "end of $1's processes" not_running "$holder"
    fi
    remove_net "$1"
    rm -f "$LAB/$1/holder"
    remove_cgroups "$1"
}

# What the machines see as their cgroups. Version 2 may be mounted beside version 1, without resource controllers:
# enough for an engine to hold and end what is in them.
cgroup_tree() { if [ "$CGROUPS" = v2 ]; then v2_tree; else echo /sys/fs/cgroup; fi; }

v2_tree() {
    local tree
    for tree in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        [ ! -e "$tree/cgroup.controllers" ] || {
            echo "$tree"
            return
        }
    done
}

not_running() { ! kill -0 "$1" 2>/dev/null; }

# The engine's containers are put below this cgroup, so that what an engine that
# was killed leaves behind can be found.
cgroup_of() { echo "/evenkeel-lab/$NAME/$1"; }

remove_cgroups() { # MACHINE, or "" for the whole lab
    local tree
    for tree in /sys/fs/cgroup"$(cgroup_of "$1")" /sys/fs/cgroup/*"$(cgroup_of "$1")"; do
        [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    # Their parent, unless another lab has its own below it.
    rmdir /sys/fs/cgroup/evenkeel-lab /sys/fs/cgroup/*/evenkeel-lab 2>/dev/null || true
}
