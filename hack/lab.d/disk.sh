# shellcheck shell=bash
# A host's disk has an end, as real ones have: what its engine and its controllers keep lies in an image
# file of its own. It is mounted by the machine itself, in its own namespace, so that it goes with it, and
# the kernel frees the loop device then. Without loop devices these are plain folders.

DISK_SIZE=4G

loop_devices_work() { [ -e /dev/loop-control ] && losetup -f >/dev/null 2>&1; }

make_image() { # HOST
    if loop_devices_work; then
        # Without a journal: a machine that loses its power here still unmounts it.
        truncate -s "$DISK_SIZE" "$LAB/$1/disk.img"
        mkfs.ext4 -q -F -m 0 -O ^has_journal -E nodiscard "$LAB/$1/disk.img"
    else
        warn "NOTE: no loop devices here: the disk of $1 has no limit, and 'disk $1 fill' will not work"
    fi
}

# Mounted twice it would be lost; after a power cut the kernel may take a moment.
image_is_free() { [ ! -e "$LAB/$1/disk.img" ] || [ -z "$(losetup -j "$LAB/$1/disk.img")" ]; } # HOST

verb_disk() {
    need_host "${1:-}"
    [ -e "$LAB/$1/disk.img" ] || cannot "the disk of $1 has no limit: there were no loop devices when lab $NAME came up"
    case ${2:-} in
    fill)
        # First all at once; then what is left here and there, until there is no room.
        enter "$1" sh -c 'cd /var/lib/docker && fallocate -l "$(df --output=avail -B 1 . | tail -n 1)" lab-filler 2>/dev/null
            dd if=/dev/zero of=lab-filler-rest bs=4k conv=fsync 2>/dev/null; [ "$(df --output=avail . | tail -n 1)" -eq 0 ]' ||
            die "the disk of $1 did not become full"
        ;;
    free) enter "$1" rm -f /var/lib/docker/lab-filler /var/lib/docker/lab-filler-rest ;;
    *) die "disk HOST fill|free, not '${2:-}'" ;;
    esac
}
