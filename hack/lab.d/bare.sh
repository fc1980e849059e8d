# shellcheck shell=bash
# Bare hosts, as a shop rents them: Debian, root over ssh, and nothing that runs.
# What makes them a cluster is `evenkeel init` and `evenkeel host add`, by hand or
# by a test.

# One key for all: whoever is on one of them reaches the others.
make_bare() { # HOST
    local home=$LAB/$1/disk/root/.ssh key=$LAB/ssh/id_ed25519
    mkdir -p "$LAB/ssh" "$home"
    [ -e "$key" ] || ssh-keygen -q -t ed25519 -N '' -C "lab $NAME" -f "$key"
    cp "$key" "$home/"
    cp "$key.pub" "$home/authorized_keys"
    ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$home/host"
    chmod -R go= "$LAB/$1/disk/root"
    # The lab's kernel is one for all, and so is its boot id.
    mkdir -p "$LAB/$1/disk/etc-evenkeel"
    echo EVENKEEL_BOOT_ID_FILE=/etc/evenkeel/boot-id >"$LAB/$1/disk/etc-evenkeel/host.env"
    [ "$1" != h1 ] || install -D -m 755 "$(binary)" "$LAB/$1/disk/usr-local/bin/evenkeel"
}

boot_bare() { # HOST
    enter "$1" mkdir -p /run/sshd
    spawn_in "$1" sshd.log /usr/sbin/sshd -D -e -f /dev/null -o UsePAM=no -o StrictModes=no \
        -o HostKey=/root/.ssh/host -o PidFile=none -o Subsystem='sftp internal-sftp' -o PermitRootLogin=yes \
        -o AuthorizedKeysFile=/root/.ssh/authorized_keys
    wait_for 10 "sshd on $1 (log: $LAB/$1/log/sshd.log)" sshd_answers "$1"
    # A host that was set up before: what its system would start at boot.
    [ ! -e "$LAB/$1/disk/etc-evenkeel/cluster.env" ] || enter "$1" /usr/local/sbin/evenkeel-setup
}

sshd_answers() { # HOST
    enter_net "$1" bash -c 'exec 3<>"/dev/tcp/$1/22" && head -c 4 <&3' - "$(address_of "$1")" | grep -q SSH-
}

# The image etcd:3.5.30 in the lab's registry, as charts/host/etcd.Dockerfile makes it: what it copies comes from Debian's
# etcd of the lab, and what it builds on is the C library that those programs want. The tag is that of docs/first-hour.md, whatever
# version the lab has.
write_etcd_image() {
    local root folder words to program
    root=$(mktemp -d "$CACHE/etcd-image.XXXXXX")
    folder=$(dirname "$(PATH="$(suite_path etcd "$ETCD")$PATH" command -v etcd)")
    while read -ra words; do
        case ${words[0]:-} in
        COPY)
            to=$root/files${words[-1]}
            mkdir -p "$to"
            for program in "${words[@]:1:${#words[@]}-2}"; do
                # etcdutl is there since 3.5: with an older etcd of --etcd, `evenkeel init` says what is missing.
                [ ! -e "$folder/$program" ] || install -m 755 "$folder/$program" "$to"
            done
            ;;
        '' | '#' | FROM | CMD) ;;
        *) die "hack/lab.d/bare.sh does not know ${words[0]}, of charts/host/etcd.Dockerfile" ;;
        esac
    done <"$TOP/charts/host/etcd.Dockerfile"
    "$LAB_D/registry-image" layer "$root/files" "$root/layer"
    "$LAB_D/registry-image" image "$LAB/registry" etcd 3.5.30 '{"Env":["PATH=/usr/local/bin:/usr/bin"],"Cmd":["etcd"]}' \
        "$(images_dir)/layers/glibc" "$root/layer" >/dev/null
    rm -rf "$root"
    echo etcd:3.5.30 >>"$LAB/image-names"
}
