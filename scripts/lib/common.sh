# shellcheck shell=bash
# What every script needs: the top of the tree, a say, a build cache, and tools in a place of their own.

set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
TOP=$PWD
export TOP

# Where Debian has mke2fs, nft and friends, which an ordinary user's PATH leaves out.
export PATH=$PATH:/usr/sbin:/sbin

# A build cache outside the checkout is used where somebody made one; a fresh machine builds into ./target.
CACHE=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mayfly}
export CACHE
if [ -z "${CARGO_TARGET_DIR:-}" ] && [ -d "$CACHE/target" ]; then
    export CARGO_TARGET_DIR=$CACHE/target
fi
TARGET=${CARGO_TARGET_DIR:-$TOP/target}
export TARGET

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
    BOLD='' PLAIN=''
fi

# say TEXT: one line about what happens now.
say() {
    printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*" >&2
}

# die TEXT: the reason why it cannot go on.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need PROGRAM HOW-TO-GET-IT
need() {
    command -v "$1" >/dev/null || die "$1 is needed: $2"
}

# python_tool NAME: makes a private virtual environment from scripts/lib/NAME.txt, pinned by hash, and prints its path.
python_tool() {
    local requirements=$TOP/scripts/lib/$1.txt sum place lock
    sum=$(sha256sum "$requirements" | cut -c1-12)
    place=$CACHE/tools/$1-$sum
    mkdir -p "$CACHE/tools"
    # Two scripts may start at once; the second waits and finds it made.
    exec {lock}>"$place.lock"
    flock "$lock"
    if [ ! -e "$place/ready" ]; then
        say "installing $1 into $place"
        need python3 "Python 3.10 or later, with venv"
        rm -rf "$place"
        python3 -m venv "$place" >&2
        "$place/bin/pip" --quiet --disable-pip-version-check install --require-hashes --only-binary :all: -r "$requirements" >&2
        touch "$place/ready"
    fi
    exec {lock}>&-
    printf '%s\n' "$place"
}

# apt_tool PROGRAM PACKAGE: installs a Debian package where a program is missing and we may.
apt_tool() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$1 is needed: install the package $2"
    fi
    say "installing $2"
    apt-get -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$2" >/dev/null
}

# debian_mirror: the one that this host itself uses; Debian's own where the host is not a Debian.
debian_mirror() {
    local found
    # shellcheck disable=SC2016 # apt-get expands it
    found=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }')
    printf '%s\n' "${found:-http://deb.debian.org/debian}"
}

# chromium_page OPTION... FILE: a headless Chromium that has what it needs in any container and reaches nothing.
chromium_page() {
    local options=(--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions
        --disable-background-networking --allow-file-access-from-files --virtual-time-budget=5000 --enable-logging=stderr
        "--user-data-dir=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-chromium-XXXXXX")")
    local file=${*: -1}
    timeout 120 chromium "${options[@]}" "${@:1:$#-1}" "file://$file"
    rm -rf "${options[-1]#--user-data-dir=}"
}
