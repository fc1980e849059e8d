#!/bin/bash
# PID 1 of a lab machine. Started in fresh mount, PID, UTS and IPC namespaces and
# in the machine's network namespace; makes the file system look like a host of
# its own and then holds the namespaces. When it dies, the kernel ends all that
# runs on the machine at once: that is the lab's power switch.
#
#   machine-init.sh DIR HOSTNAME      DIR/disk is kept over a power cut, DIR/run is not
set -euo pipefail
dir=$1 name=$2
disk=$dir/disk

mount -t proc proc /proc

# A sysfs of this network namespace, else the engine sees the root's interfaces;
# the cgroup tree must survive it, else the engine finds no cgroups.
mkdir -p "$dir/cgroup"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$dir/cgroup" /sys/fs/cgroup
umount --lazy "$dir/cgroup"

# Own /etc and /var/lib over the machine's: what the host writes stays in its disk
# folder, and no mount point has to be made on the real machine.
overlay() { # NAME PATH
    mkdir -p "$disk/$1" "$disk/$1.work"
    mount -t overlay -o "lowerdir=$2,upperdir=$disk/$1,workdir=$disk/$1.work" overlay "$2"
}
overlay etc /etc
overlay var-lib /var/lib

# These are plain folders: an engine cannot keep its layers on an overlay, and
# tests look into the others from outside.
plain() { # NAME PATH
    mkdir -p "$disk/$1" "$2"
    mount --bind "$disk/$1" "$2"
}
plain docker /var/lib/docker
plain evenkeel /var/lib/evenkeel
plain etc-docker /etc/docker
plain etc-evenkeel /etc/evenkeel

mkdir -p "$dir/run/lock"
mount --bind "$dir/run" /run

hostname "$name"
touch /run/ready

# Orphans become our children here; bash reaps them while it waits.
while :; do
    sleep 86400 &
    wait $! || true
done
