# shellcheck shell=bash
# A host's Docker engine. Inside the host's namespaces everything is at Debian's
# usual paths, so the engine needs no option that a plain host would not have.

# Which suite's engine a host runs: `mixed` gives each host another one.
engine_suite() { # HOST
    local suites=(native trixie forky)
    if [ "$ENGINE" = mixed ]; then
        echo "${suites[$(((${1#h} - 1) % 3))]}"
    else
        echo "$ENGINE"
    fi
}

engine_suites() { for h in $(hosts); do engine_suite "$h"; done | sort -u; }

make_engine_config() { # HOST
    local dir=$LAB/$1/disk/etc-docker
    mkdir -p "$dir"
    # cgroupfs and a parent of our own: works with and without systemd, and what
    # a killed engine leaves can be found.
    cat >"$dir/daemon.json" <<EOF
{
  "live-restore": true,
  "insecure-registries": ["$REGISTRY", "$PRIVATE"],
  "log-driver": "json-file",
  "log-opts": {"max-size": "5m", "max-file": "2"},
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "cgroup-parent": "$(cgroup_of "$1")"
}
EOF
}

# In place of this shell, so that who kills `hack/lab docker …` kills the CLI.
exec_docker_on() { # HOST ARGUMENT…
    local host=$1
    shift
    DOCKER_HOST=unix://$LAB/$host/run/docker.sock DOCKER_CONFIG=$LAB/docker-config exec "$DOCKER" "$@"
}

docker_on() { (exec_docker_on "$@"); }

# The CLI of the lab logs in to private.lan; the engines do not by themselves.
make_docker_config() {
    mkdir -p "$LAB/docker-config"
    registry_auth >"$LAB/docker-config/config.json"
}

engine_start() { # HOST
    [ -z "$(pids_on "$1" dockerd)" ] || return 0
    # As the firewall unit does on a plain host: before the engine, at every boot.
    enter "$1" "$TOP/charts/host/evenkeel-firewall" >>"$LAB/$1/log/firewall.log" 2>&1 ||
        warn "$1: the firewall script failed (see $LAB/$1/log/firewall.log)"
    rm -f "$LAB/$1/run/docker.pid"
    spawn_in "$1" dockerd.log env PATH="$(suite_path engine "$(engine_suite "$1")")$PATH" \
        dockerd --log-level warn
}

engine_answers() { # HOST
    [ "$(curl -s --max-time 2 --unix-socket "$LAB/$1/run/docker.sock" http://engine/_ping)" = OK ]
}

engine_wait() { # HOST
    local end=$((SECONDS + 60))
    until engine_answers "$1"; do
        if [ "$SECONDS" -ge "$end" ] || ! engine_process "$1"; then
            die_with_log "$LAB/$1/log/dockerd.log" "the engine of $1 did not start"
        fi
        sleep 0.1
    done
}

engine_stop() { # HOST
    signal_on "$1" dockerd CONT
    signal_on "$1" dockerd TERM
    wait_for 60 "end of the engine of $1" none_on "$1" dockerd
}

verb_engine() {
    need_host "${1:-}"
    holder_of "$1" >/dev/null
    case ${2:-} in
    start)
        engine_start "$1"
        # The process comes a moment after the spawn.
        wait_for 5 "dockerd on $1" engine_process "$1"
        engine_wait "$1"
        ;;
    stop) engine_stop "$1" ;;
    hang) signal_on "$1" dockerd STOP ;;
    resume) signal_on "$1" dockerd CONT ;;
    *) die "engine HOST stop|start|hang|resume, not '${2:-}'" ;;
    esac
}

engine_process() { [ -n "$(pids_on "$1" dockerd)" ]; }
