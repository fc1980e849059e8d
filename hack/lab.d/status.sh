# shellcheck shell=bash
# status: what a person wants to see at a glance.

verb_status() {
    local machine
    load_settings
    echo "lab $NAME: engine $ENGINE, etcd $ETCD with $MEMBERS member(s), controllers $CONTROLLERS (separate: $SEPARATE), cgroups $CGROUPS"
    for machine in $(hosts) infra lan; do status_line "$machine"; done
    for machine in $(etcd_machines); do
        if is_on "$machine" && etcd_healthy "$machine"; then
            echo "etcd on $machine: healthy $(enter_net infra curl -s --max-time 2 "http://$(address_of "$machine"):2379/version")"
        else
            echo "etcd on $machine: not healthy"
        fi
    done
}

status_line() { # MACHINE
    local engine=
    if ! is_on "$1"; then
        echo "$1 $(address_of "$1"): off"
        return
    fi
    if is_host "$1"; then
        if [ -z "$(pids_on "$1" dockerd)" ]; then
            engine=", engine stopped"
        elif engine_answers "$1"; then
            engine=", engine $(docker_on "$1" version -f '{{.Server.Version}} (API {{.Server.APIVersion}})')"
            engine+=", $(docker_on "$1" ps -q | wc -l) containers"
        else
            engine=", engine does not answer"
        fi
    fi
    echo "$1 $(address_of "$1"): on, link $(link_state "$1")$(! is_host "$1" || cuts_of "$1")$engine"
}
