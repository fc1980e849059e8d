# shellcheck shell=bash
# Packages of other Debian suites: downloaded, unpacked into the cache, never
# installed. The engines and etcd that the lab can choose between come from here,
# and the files of the images.

# The mirror is the machine's own; only the suite is changed.
own_mirror() {
    # shellcheck disable=SC2016 # apt's own variable
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
        grep -v -e security | head -n 1
}

# apt_of SUITE: fills APT with the options that make apt see that suite alone.
apt_of() {
    local dir=$CACHE/suites/$1
    APT=(-q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
        -o Dir::State::status=/dev/null -o APT::Sandbox::User=root
        -o APT::Get::AllowUnauthenticated=false -o Debug::NoLocking=true)
    [ -e "$dir/ready" ] || with_lock "suite-$1" read_lists "$1"
}

read_lists() { # SUITE
    local dir=$CACHE/suites/$1 mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -e "$dir/ready" ] || return 0
    mirror=$(own_mirror) || true
    [ -n "$mirror" ] ||
        cannot "suite $1: this machine's apt knows no Debian mirror (run 'apt-get update', look at /etc/apt)"
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    [ -e "$key" ] || key=
    echo "deb ${key:+[signed-by=$key]} $mirror $1 main" >"$dir/sources.list"
    apt-get "${APT[@]}" update >"$dir/update.log" 2>&1 && ! grep -q '^[EW]: .*\(Failed\|404\)' "$dir/update.log" ||
        cannot "suite $1 cannot be had from this machine's mirror (see $dir/update.log)"
    touch "$dir/ready"
}

# unpack SUITE DIR PACKAGE…: their files under DIR, where /bin, /lib… may be
# links into /usr as on an installed system.
unpack() {
    local suite=$1 dir=$2 debs deb
    shift 2
    apt_of "$suite"
    debs=$CACHE/suites/$suite/debs
    mkdir -p "$debs" "$dir"
    local urls missing=()
    # File names from apt itself: they hold the version, so that an old download
    # is not taken for a new one.
    urls=$(apt-get "${APT[@]}" download --print-uris "$@" 2>/dev/null) ||
        cannot "suite $suite does not have all of: $*"
    while read -r deb; do
        [ -s "$debs/$deb" ] || missing+=("$deb")
    done < <(awk '{ print $2 }' <<<"$urls")
    if [ ${#missing[@]} -gt 0 ]; then
        (
            mkdir -p "$debs/partial.$BASHPID"
            cd "$debs/partial.$BASHPID"
            local names=("${missing[@]%%_*}")
            apt-get "${APT[@]}" download "${names[@]}" >download.log 2>&1 ||
                cannot "suite $suite: download failed (see $PWD/download.log)"
            rm download.log
            mv ./*.deb "$debs/"
            rmdir "$PWD"
        )
    fi
    while read -r deb; do
        dpkg-deb --fsys-tarfile "$debs/$deb" | tar -x --keep-directory-symlink -C "$dir"
    done < <(awk '{ print $2 }' <<<"$urls")
}

# What a package needs, from nothing; without what only maintainer scripts want.
closure() { # SUITE PACKAGE…
    local suite=$1
    shift
    apt_of "$suite"
    apt-get "${APT[@]}" -s install --no-install-recommends -y "$@" 2>/dev/null |
        awk '/^Inst/ { print $2 }' | grep -vxE "$NOT_IN_IMAGES" ||
        cannot "suite $suite does not have all of: $*"
}

# The directory that goes first in PATH to get that suite's engine or etcd;
# nothing for the machine's own.
suite_path() { # engine|etcd SUITE
    [ "$2" = native ] || echo "$CACHE/$1-$2/usr/sbin:$CACHE/$1-$2/usr/bin:"
}

have_from_suite() { # engine|etcd SUITE
    local dir=$CACHE/$1-$2
    [ "$2" != native ] && [ ! -e "$dir" ] || return 0
    with_lock "$1-$2" get_from_suite "$1" "$2"
}

get_from_suite() { # engine|etcd SUITE
    local dir=$CACHE/$1-$2 packages=(etcd-server)
    [ ! -e "$dir" ] || return 0
    # Without runc: theirs wants a newer C library than Debian 12 has, and
    # Debian 12's works with all of them.
    [ "$1" != engine ] || packages=(docker.io containerd)
    say "fetching $1 of $2"
    rm -rf "$dir.part"
    unpack "$2" "$dir.part" "${packages[@]}"
    mv "$dir.part" "$dir"
}

# native engine or etcd must be installed; said with the remedy, not as «not found».
need_native() {
    local program
    for program in "$@"; do
        [ -n "$(PATH=/usr/sbin:/usr/bin:$PATH command -v "$program")" ] ||
            die "$program is not installed: run hack/install"
    done
}
