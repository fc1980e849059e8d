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

link_state() { # MACHINE -> up|cut|none
    local line
    line=$(ip -n "$(ns $SWITCH)" -o link show dev "$(port_of "$1")" 2>/dev/null) || {
        echo none
        return
    }
    case $line in *[\<,]UP[,\>]*) echo up ;; *) echo cut ;; esac
}
