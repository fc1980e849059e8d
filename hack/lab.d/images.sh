# shellcheck shell=bash
# The images that documents in the lab can name. Their files are Debian 12's;
# they are written straight into a registry's folder in the cache, once.

IMAGES_D=$TOP/hack/images

# Only maintainer scripts want these, or, as LLVM, they are large and not needed.
NOT_IN_IMAGES='perl.*|libperl.*|debconf|cdebconf|dpkg|ucf|adduser|passwd|libllvm.*|systemd.*|init-system-helpers|lsb-base|sysvinit-utils|ssl-cert|openssl|iproute2|netbase|tar|sensible-utils|media-types|debianutils|procps|logrotate|locales|postgresql-common|postgresql-client-common|python3-pkg-resources|libgdbm.*|mailcap|mime-support|libdb5.3|libbpf.*|libelf1|dmsetup|libsystemd-shared|tzdata'

# Part of every cache key: a change here or in hack/images builds them anew.
images_key() {
    find "$IMAGES_D" "$LAB_D/images.sh" "$LAB_D/registry-image" -type f -print0 |
        sort -z | xargs -0 cat | sha256sum | cut -c 1-12
}

images_dir() { echo "$CACHE/images-$(images_key)"; }

# A merged /usr as all Debian systems have: package files fall into place.
skeleton() { # DIR
    local link
    mkdir -p "$1"/usr/{bin,sbin,lib,lib64} "$1"/{etc,root,var/lib,run} "$1/tmp"
    chmod 1777 "$1/tmp"
    for link in bin sbin lib lib64; do ln -sfn "usr/$link" "$1/$link"; done
}

# Files that no program in a container reads.
prune() { # DIR
    rm -rf "$1"/usr/share/{doc,man,locale,lintian,bug,info,bash-completion,perl5,python3,apport,readline,doc-base,gdb,pixmaps,applications,binfmts} \
        "$1"/usr/lib/{systemd,tmpfiles.d,sysusers.d,init,python3.11/{test,ensurepip,idlelib,pydoc_data,lib2to3,turtledemo}} \
        "$1"/etc/{init.d,logrotate.d,systemd,default,cron.*,ufw,apparmor.d,bash_completion.d} \
        "$1"/usr/lib/x86_64-linux-gnu/{gconv,perl*,audit,sasl2} \
        "$1"/var/cache "$1"/usr/lib/postgresql/15/lib/{bitcode,llvmjit*} "$1"/usr/share/postgresql/15/man
}

# files NAME PACKAGE…: $WORK/NAME holds those packages with all they need.
files() {
    local name=$1 packages
    shift
    skeleton "$WORK/$name"
    packages=$(closure bookworm "$@")
    # shellcheck disable=SC2086 # a list
    unpack bookworm "$WORK/$name" $packages
    prune "$WORK/$name"
}

layer() { # NAME: $WORK/NAME becomes the layer of that name
    "$LAB_D/registry-image" layer "$WORK/$1" "$PART/layers/$1"
    rm -rf "${WORK:?}/$1"
}

# image NAME:TAG CONFIG LAYER…
image() {
    local name=${1%:*} tag=${1#*:} config=$2 layers=()
    shift 2
    for l in "$@"; do layers+=("$PART/layers/$l"); done
    "$LAB_D/registry-image" image "$PART/registry" "$name" "$tag" "$config" "${layers[@]}" >/dev/null
    echo "$name:$tag" >>"$PART/names"
}

have_images() {
    [ -e "$(images_dir)" ] || with_lock images build_images
}

build_images() {
    local dir old
    dir=$(images_dir)
    [ ! -e "$dir" ] || return 0
    need_native musl-gcc busybox
    PART=$dir.part WORK=$dir.part/work
    rm -rf "$PART"
    mkdir -p "$WORK" "$PART/layers"
    say "building the images (once; into $dir)"
    base_images
    database_images
    resolver_images
    web_images
    edge_images
    controller_base
    rm -rf "$WORK"
    # Older ones go; a running lab has files of its own (hard links).
    for old in "$CACHE"/images-*; do [ "$old" = "$PART" ] || rm -rf "$old"; done
    mv "$PART" "$dir"
}

PATH_ENV='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'

base_images() {
    local applet root=$WORK/busybox
    skeleton "$root"
    unpack bookworm "$root" busybox-static
    prune "$root"
    for applet in $("$root/usr/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/usr/bin/$applet"
    done
    cp -r "$IMAGES_D/base/." "$root/"
    mkdir -p "$root/www"
    layer busybox
    image busybox:1 "{$PATH_ENV,\"Cmd\":[\"sh\"]}" busybox

    files python3 python3-minimal libpython3.11-stdlib python3-redis python3-psycopg2
    layer python3
    image python3:3.11 "{$PATH_ENV,\"Cmd\":[\"python3\"]}" busybox python3

    files nginx nginx
    mkdir -p "$WORK/nginx"/{var/lib/nginx,usr/share/nginx/html,etc/nginx/conf.d}
    rm -rf "$WORK/nginx"/etc/nginx/{sites-*,modules-*,snippets} "$WORK/nginx/usr/lib/nginx"
    cp -r "$IMAGES_D/nginx/." "$WORK/nginx/"
    layer nginx
    image nginx:1.22 "{$PATH_ENV,\"Cmd\":[\"nginx\",\"-g\",\"daemon off;\"],\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\"}" busybox nginx
}

database_images() {
    files redis redis-server
    mkdir -p "$WORK/redis/data" "$WORK/redis/usr/local/bin"
    cp "$IMAGES_D/redis/entrypoint" "$WORK/redis/usr/local/bin/redis-entrypoint"
    layer redis
    image redis:7 "{$PATH_ENV,\"Entrypoint\":[\"redis-entrypoint\"],\"Cmd\":[\"redis-server\"],\"WorkingDir\":\"/data\",\"Volumes\":{\"/data\":{}},\"ExposedPorts\":{\"6379/tcp\":{}}}" busybox redis

    files postgres postgresql-15 postgresql-client-15
    mkdir -p "$WORK/postgres/usr/local/bin" "$WORK/postgres/var/lib/postgresql/data"
    cp "$IMAGES_D/postgres/entrypoint" "$WORK/postgres/usr/local/bin/postgres-entrypoint"
    mkdir "$WORK/setpriv"
    # To become another user and stay the same process; busybox's cannot.
    unpack bookworm "$WORK/setpriv" util-linux
    cp "$WORK/setpriv/usr/bin/setpriv" "$WORK/postgres/usr/local/bin/"
    rm -rf "$WORK/setpriv"
    # The user `postgres` of images/base/etc/passwd.
    chown -R 70:70 "$WORK/postgres/var/lib/postgresql"
    layer postgres
    image postgres:15 '{"Env":["PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin","PGDATA=/var/lib/postgresql/data"],"Entrypoint":["postgres-entrypoint"],"Cmd":["postgres"],"Volumes":{"/var/lib/postgresql/data":{}},"ExposedPorts":{"5432/tcp":{}},"StopSignal":"SIGINT"}' busybox postgres
}

# Name look-ups by the two C libraries that containers mostly have.
resolver_images() {
    files glibc bash libc-bin curl bind9-dnsutils python3-minimal
    layer glibc
    image glibc:1 "{$PATH_ENV,\"Cmd\":[\"bash\"]}" busybox glibc

    skeleton "$WORK/musl"
    mkdir -p "$WORK/musl/usr/local/bin"
    musl-gcc -static -Os -Wall -Wextra -Werror -o "$WORK/musl/usr/local/bin/getaddr" "$IMAGES_D/musl/getaddr.c"
    layer musl
    image musl:1 "{$PATH_ENV,\"Cmd\":[\"sh\"]}" busybox musl
}

web_images() {
    local version
    mkdir -p "$WORK/web/usr/local/bin"
    cp "$IMAGES_D/web/server.py" "$WORK/web/usr/local/bin/web"
    chmod 755 "$WORK/web/usr/local/bin/web"
    layer web
    for version in 1 2; do
        image "web:$version" "{\"Env\":[\"PATH=/usr/local/bin:/usr/bin\",\"VERSION=$version\",\"PORT=8080\"],\"Cmd\":[\"web\"],\"ExposedPorts\":{\"8080/tcp\":{}}}" busybox python3 web
    done
    image web:bad "{$PATH_ENV,\"Cmd\":[\"sh\",\"-c\",\"echo web: this version cannot start >&2; exit 1\"]}" busybox
}

# Proxies that end HTTPS (charts/edge). HAProxy is told to stop as its own project's image is: it finishes what it has begun.
edge_images() {
    files haproxy haproxy
    layer haproxy
    image haproxy:2.6 "{$PATH_ENV,\"Cmd\":[\"haproxy\",\"-f\",\"/etc/haproxy/haproxy.cfg\"],\"StopSignal\":\"SIGUSR1\"}" busybox haproxy

    # The program alone: the rest of its package's needs is for desktops' stores of certificates.
    skeleton "$WORK/caddy"
    unpack bookworm "$WORK/caddy" caddy libc6 libzstd1
    prune "$WORK/caddy"
    layer caddy
    image caddy:2.6 "{$PATH_ENV,\"Cmd\":[\"caddy\",\"run\",\"--config\",\"/etc/caddy/Caddyfile\"]}" busybox caddy
}

# What the controllers' image has besides the binary (build.sh adds that).
controller_base() {
    files controller nftables iptables
    cp "$IMAGES_D"/base/etc/* "$WORK/controller/etc/"
    layer controller
}

# A registry folder of a lab's own: blobs never change and can be shared, the
# small link files are rewritten in place by pushes and cannot.
fill_registries() {
    local dir part registry
    dir=$(images_dir)/registry/docker/registry/v2
    for registry in registry private; do
        part=$LAB/$registry/docker/registry/v2
        mkdir -p "$part/repositories"
        cp -al "$dir/blobs" "$part/"
    done
    cp "$(images_dir)/names" "$LAB/image-names"
    cp -a "$dir/repositories" "$LAB/registry/docker/registry/v2/"
    for registry in busybox python3 web; do
        cp -a "$dir/repositories/$registry" "$LAB/private/docker/registry/v2/repositories/"
    done
}

# Of the lab if it is up, else what the next one will have.
verb_registry() {
    local names=$LAB/image-names
    if [ ! -e "$names" ]; then
        have_images
        names=$(images_dir)/names
    fi
    sed "s|^|$REGISTRY/|" "$names"
    sed -nE "s#^(busybox|python3|web):#$PRIVATE/&#p" "$names"
}
