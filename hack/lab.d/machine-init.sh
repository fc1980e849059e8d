#!/bin/bash
# PID 1 of a lab machine. Started in fresh mount, PID, UTS and IPC namespaces and
# in the machine's network namespace; makes the file system look like a host of
# its own and then holds the namespaces. When it dies, the kernel ends all that
# runs on the machine at once: that is the lab's power switch.
#
#   machine-init.sh DIR HOSTNAME CGROUPS
#
# DIR/disk and DIR/disk.img are kept over a power cut; CGROUPS is the tree that the host sees as its own.
set -euo pipefail
dir=$1 name=$2 cgroups=$3
disk=$dir/disk

mount -t proc proc /proc

# A sysfs of this network namespace, else the engine sees the root's interfaces;
# the cgroup tree must survive it, else the engine finds no cgroups.
mkdir -p "$dir/cgroup"
mount --rbind "$cgroups" "$dir/cgroup"
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

# A disk of limited size where there is one (see disk.sh).
big=$disk
if [ -e "$dir/disk.img" ]; then
    big=$dir/big
    mkdir -p "$big"
    mount -o loop "$dir/disk.img" "$big"
fi

# Never an overlay: an engine cannot keep its layers on one, and tests look into
# the others from outside.
plain() { # FOLDER PATH
    mkdir -p "$1" "$2"
    mount --bind "$1" "$2"
}
plain "$big/docker" /var/lib/docker
plain "$big/evenkeel" /var/lib/evenkeel
# What people put on a host: nothing at first.
plain "$disk/root" /root
plain "$disk/usr-local" /usr/local
chmod 700 /root
mkdir -p /usr/local/bin /usr/local/sbin
plain "$disk/etc-docker" /etc/docker
plain "$disk/etc-evenkeel" /etc/evenkeel

mkdir -p "$dir/run/lock"
mount --bind "$dir/run" /run

hostname "$name"
touch /run/ready

# Orphans become our children here; bash reaps them while it waits.
while :; do
    sleep 86400 &
    wait $! || true
done
