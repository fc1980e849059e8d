# shellcheck shell=bash
# The project's binary, and the image of the controllers around it.

# Static, so that the image needs no C library of a certain age; one profile and
# one target folder, so that a second build only compiles what changed.
RUST_TARGET=x86_64-unknown-linux-gnu
BUILT=${CARGO_TARGET_DIR:-$TOP/target}/$RUST_TARGET/lab/evenkeel

# EVENKEEL_BIN names a ready-made binary instead (as CI's, or an older release).
binary() { echo "${EVENKEEL_BIN:-$BUILT}"; }

build_binary() {
    local cargo=cargo
    if [ -n "${EVENKEEL_BIN:-}" ]; then
        [ -x "$EVENKEEL_BIN" ] || die "EVENKEEL_BIN=$EVENKEEL_BIN is no program"
        return 0
    fi
    command -v cargo >/dev/null || cargo=${CARGO_HOME:-$HOME/.cargo}/bin/cargo
    (
        cd "$TOP"
        RUSTFLAGS="-C target-feature=+crt-static" CARGO_TERM_QUIET=${CARGO_TERM_QUIET:-true} \
            "$cargo" build --profile lab --target "$RUST_TARGET" -p evenkeel --bin evenkeel 8>&- 9>&-
    ) || die "the build failed; 'up --no-controllers' brings the lab up without it"
}

# The image evenkeel:dev in a lab's registry: the layer under the binary comes
# from the cache, so a changed binary costs one compression.
write_controller_image() { # [BINARY [TAG]]
    local bin=${1:-$(binary)} digest layer root
    digest=$(sha256sum "$bin" | cut -c 1-16)
    layer=$CACHE/binary/$digest
    if [ ! -e "$layer/layer.json" ]; then
        root=$(mktemp -d "$CACHE/binary.XXXXXX")
        mkdir -p "$root/files/usr/local/bin" "$CACHE/binary"
        install -m 755 "$bin" "$root/files/usr/local/bin/evenkeel"
        "$LAB_D/registry-image" layer "$root/files" "$root/layer"
        # The last few only; running labs have links of their own.
        find "$CACHE/binary" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +
        mv -T "$root/layer" "$layer" 2>/dev/null || true
        rm -rf "$root"
    fi
    "$LAB_D/registry-image" image "$LAB/registry" evenkeel "${2:-dev}" \
        '{"Env":["PATH=/usr/local/bin:/usr/sbin:/usr/bin"],"Entrypoint":["evenkeel"]}' \
        "$(images_dir)/layers/controller" "$layer" >/dev/null
}

verb_image() { # [BINARY [TAG]]
    [ -x "${1:-$(binary)}" ] || die "image [BINARY [TAG]]: '${1:-$(binary)}' is no program"
    write_controller_image "$@"
}

verb_build() {
    have_images
    build_binary
    say "built $(binary)"
    if [ -f "$LAB/settings" ]; then
        write_controller_image
        say "evenkeel:dev is in the running lab's registry; 'controllers HOST upgrade' takes it"
    fi
}
