# shellcheck shell=bash
# What test-instance and machine share: is QEMU here, the programs, the disks, and a place that is cleared away at the end.

# instance_missing: says why no machine can run here, and fails if one can. Installs what it may.
instance_missing() {
    local pair
    if [ "$(uname -m)" != x86_64 ]; then
        echo "this is $(uname -m), and the machines are x86_64"
        return
    fi
    for pair in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mke2fs:e2fsprogs setpriv:util-linux; do
        if ! (apt_tool "${pair%%:*}" "${pair#*:}") >/dev/null 2>&1; then
            echo "${pair%%:*} is not here and cannot be installed: install the package ${pair#*:}"
            return
        fi
    done
    if [ "$(id -u)" != 0 ] && ! unshare --map-root-user --map-auto true 2>/dev/null; then
        echo "this user cannot make a user namespace with subordinate ids: see /etc/subuid, or run it as root"
        return
    fi
    return 1
}

# instance_emulator: Debian 12's QEMU emulates several processors unsafely, and then the tests emulate one at a time
# (tests/instance/src/accelerator.rs); and it is slower by a fifth than Debian's own backport, which is used where it can be had:
# unpacked into the cache, the host stays as it is. Prints a directory for PATH, or nothing.
instance_emulator() {
    local place=$CACHE/tools/qemu-bookworm-backports lock options package said
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] || return 0
    mkdir -p "$CACHE/tools"
    exec {lock}>"$place.lock"
    flock "$lock"
    if [ ! -e "$place/ready" ]; then
        say "fetching a newer QEMU from bookworm-backports into $place"
        rm -rf "$place"
        mkdir -p "$place/apt/lists/partial" "$place/apt/archives/partial" "$place/bin"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) bookworm-backports main" >"$place/apt/sources.list"
        options=(-qq -o Dir::Etc::SourceList="$place/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
            -o Dir::State::Lists="$place/apt/lists" -o Dir::Cache="$place/apt" -o APT::Sandbox::User="$(id -un)")
        # Told only if it fails: an image's own hooks of apt complain where an ordinary user runs them. The libraries are the host's.
        if ! said=$({ apt-get "${options[@]}" update && cd "$place/apt" &&
            apt-get "${options[@]}" --target-release bookworm-backports download qemu-system-x86 qemu-system-common qemu-system-data seabios &&
            for package in *.deb; do dpkg --extract "$package" "$place/root" || exit; done &&
            "$place/root/usr/bin/qemu-system-x86_64" --version; } 2>&1); then
            say "no newer QEMU is to be had, and the one of this host is slower: ${said##*$'\n'}"
            return 0
        fi
        rm -r "$place/apt"
        cat >"$place/bin/qemu-system-x86_64" <<END
#!/bin/sh
exec '$place/root/usr/bin/qemu-system-x86_64' -L '$place/root/usr/share/qemu' -L '$place/root/usr/share/seabios' "\$@"
END
        chmod 755 "$place/bin/qemu-system-x86_64"
        touch "$place/ready"
    fi
    exec {lock}>&-
    printf '%s\n' "$place/bin"
}

# instance_wait PID: waits for a job of this script; a signal ends the wait and the job.
instance_wait() {
    local status=0
    INSTANCE_JOB=$1
    wait "$1" || status=$?
    INSTANCE_JOB=''
    [ "$status" = 0 ] || exit "$status"
}

# What a killed test leaves is in one directory, and every machine ends with its test.
instance_clear() {
    [ -z "${INSTANCE_JOB:-}" ] || { kill "$INSTANCE_JOB" 2>/dev/null && wait "$INSTANCE_JOB" 2>/dev/null; } || true
    rm -rf "$INSTANCE_TMP"
}

# instance_prepare NAME...: programs, doubles and disks, told to the tests by environment variables.
instance_prepare() {
    local name variable disk newer arguments=()
    INSTANCE_TMP=$(mktemp -d)
    # Without root, mmdebstrap works below it as a subordinate user.
    chmod a+x "$INSTANCE_TMP"
    export TMPDIR=$INSTANCE_TMP
    trap instance_clear EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    need cargo "install Rust, for example with rustup"
    MAYFLY_MOTO_VENV=$(python_tool moto)
    export MAYFLY_MOTO_VENV MAYFLY_MACHINE_BIN=$TARGET/debug/mayfly-machine FAKE_RUNNER_BIN=$TARGET/debug/fake-runner
    newer=$(instance_emulator)
    PATH=${newer:+$newer:}$PATH
    say "building"
    cargo build --locked --quiet --workspace --bins --tests
    "$MAYFLY_MACHINE_BIN" runner "$INSTANCE_TMP/runner"
    arguments=(--runner "$INSTANCE_TMP/runner")
    if [ -n "${MAYFLY_DEB:-}" ]; then
        MAYFLY_DEB=$(cd "$CALLED_FROM" && realpath -e "$MAYFLY_DEB")
        say "package under test: $MAYFLY_DEB"
        arguments+=(--package "$MAYFLY_DEB")
    else
        say "MAYFLY_DEB names no package: the machines are without Mayfly"
    fi
    for name in "$@"; do
        disk=$("$TOP/tests/instance/build-root" "${arguments[@]}" "$name")
        variable=${name^^}
        export "MAYFLY_INSTANCE_${variable//-/_}=$disk"
    done
}
