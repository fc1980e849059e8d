# shellcheck shell=bash
# The LAN: a bridge in a namespace of its own, one veth pair a machine. Nothing
# of it is in the root namespace, so labs do not see each other.

SWITCH=switch

make_switch() {
    ip netns add "$(ns $SWITCH)"
    ip -n "$(ns $SWITCH)" link set lo up
    ip -n "$(ns $SWITCH)" link add lan type bridge
    ip -n "$(ns $SWITCH)" link set lan up
    # Only a switch: its frames need not pass through the firewall hooks.
    nsenter --net="/run/netns/$(ns $SWITCH)" sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
}

port_of() { echo "to-$1"; }

# A machine's namespace with its cable plugged in.
make_net() { # MACHINE
    local ns port
    ns=$(ns "$1") port=$(port_of "$1")
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip -n "$(ns $SWITCH)" link add "$port" type veth peer name eth0 netns "$ns"
    ip -n "$(ns $SWITCH)" link set "$port" master lan up
    ip -n "$ns" addr add "$(address_of "$1")/24" dev eth0
    ip -n "$ns" link set eth0 up
    # A default route as every real host has one; infra forwards nothing.
    [ "$1" = infra ] || ip -n "$ns" route add default via "$INFRA_ADDRESS"
}

remove_net() { # MACHINE
    # The cable first: a namespace goes away only when its last user has.
    ip -n "$(ns $SWITCH)" link del "$(port_of "$1")" 2>/dev/null || true
    [ ! -e "/run/netns/$(ns "$1")" ] || ip netns del "$(ns "$1")"
}

set_link() { # MACHINE up|down
    address_of "$1" >/dev/null
    ip -n "$(ns $SWITCH)" link set "$(port_of "$1")" "$2" 2>/dev/null ||
        die "$1 has no cable: is it powered off? ('hack/lab --name $NAME status')"
}

# At the switch, where the host itself sees nothing of it, frames of one kind are lost. By the port's name,
# so that a power cut does not mend it.
cut_from() { # HOST etcd|peers
    local port rules ports='{ 2379, 2380 }'
    port=$(port_of "$1")
    case $2 in
    etcd)
        rules="iifname $port tcp dport $ports drop
            iifname $port tcp sport $ports drop
            oifname $port tcp dport $ports drop
            oifname $port tcp sport $ports drop"
        ;;
    peers)
        rules="iifname $port oifname \"to-h*\" tcp dport $ports accept
            iifname $port oifname \"to-h*\" tcp sport $ports accept
            oifname $port iifname \"to-h*\" tcp dport $ports accept
            oifname $port iifname \"to-h*\" tcp sport $ports accept
            iifname $port oifname \"to-h*\" ether type ip drop
            oifname $port iifname \"to-h*\" ether type ip drop"
        ;;
    esac
    on_switch nft -f - <<EOF || die "the switch cannot cut $1 from $2 (this kernel has no nft for bridges?)"
table bridge cut-$1-$2
delete table bridge cut-$1-$2
table bridge cut-$1-$2 {
    chain forward {
        type filter hook forward priority 0; policy accept;
        $rules
    }
}
EOF
}

heal_from() { # HOST etcd|peers
    on_switch nft delete table bridge "cut-$1-$2" 2>/dev/null || true
}

on_switch() { nsenter --net="/run/netns/$(ns $SWITCH)" -- "$@"; }

verb_cut() {
    read_from "cut" "$@"
    if [ -z "$FROM" ]; then
        set_link "$1" down
    else
        cut_from "$1" "$FROM"
    fi
}

# Without --from everything that was cut.
verb_heal() {
    read_from "heal" "$@"
    if [ -z "$FROM" ]; then
        ! is_host "$1" || for FROM in etcd peers; do heal_from "$1" "$FROM"; done
        set_link "$1" up
    else
        heal_from "$1" "$FROM"
    fi
}

read_from() { # VERB MACHINE [--from etcd|peers] -> FROM
    FROM=
    address_of "${2:-}" >/dev/null
    [ $# -gt 2 ] || return 0
    need_host "$2"
    [ "$3" = --from ] && [[ ${4:-} =~ ^(etcd|peers)$ ]] || die "$1 HOST [--from etcd|peers], not '${*:3}'"
    FROM=$4
}

# What a host is cut from, for people.
cuts_of() { # HOST
    local from
    for from in etcd peers; do
        ! on_switch nft list table bridge "cut-$1-$from" >/dev/null 2>&1 || printf ', cut from %s' "$from"
    done
}

link_state() { # MACHINE -> up|cut|none
    local line
    line=$(ip -n "$(ns $SWITCH)" -o link show dev "$(port_of "$1")" 2>/dev/null) || {
        echo none
        return
    }
    case $line in *[\<,]UP[,\>]*) echo up ;; *) echo cut ;; esac
}
