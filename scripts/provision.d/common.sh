# shellcheck shell=sh
# What every step of provision starts with. Sourced; the driver sets STEP, LEVEL, RUNNER, LOCK, IMAGES, AHEAD and STEPS.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin

# say TEXT: what this step changed or found.
say() {
    echo "provision: ${STEP:-provision}: $*"
}

# die TEXT: why this step cannot go on, and what to do.
die() {
    echo "error: ${STEP:-provision}: $*" >&2
    exit 1
}

# put MODE FILE: the standard input becomes FILE, at once or not at all. A person's own file of that name is kept as .orig.
put() {
    umask 077
    cat >"$2.new"
    chmod "$1" "$2.new"
    if ! cmp -s "$2.new" "$2"; then
        if [ -e "$2" ] && ! grep -q 'Mayfly' "$2"; then
            cp -p "$2" "$2.orig"
        fi
        mv "$2.new" "$2"
        say "wrote $2"
    else
        rm "$2.new"
    fi
    umask 022
}

# release: the distribution as the table of packages names it, such as debian-13 or ubuntu-24.04.
release() {
    # shellcheck disable=SC1091 # the machine's own
    (. /etc/os-release && echo "$ID-${VERSION_ID:-}")
}

# packages COLUMN: the names of this release in the table of packages. Fails where the release is not in it.
packages() {
    sed 's/#.*//' "$STEPS/packages" | awk -v release="$(release)" -v column="$1" '
        $1 == release && $2 == column { for (i = 3; i <= NF; i++) print $i; found = 1 }
        END { exit !found }'
}

# missing NAME...: those packages that are not installed.
missing() {
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

# locked KEY [TABLE]: a value of runner.lock.
locked() {
    awk -v key="$1" -v wanted="${2:-}" '
        /^[[:space:]]*(#|$)/ { next }
        /^\[.*\][[:space:]]*$/ { table = $0; gsub(/[][[:space:]]/, "", table); next }
        {
            at = index($0, "=")
            name = substr($0, 1, at - 1); value = substr($0, at + 1)
            gsub(/[[:space:]]/, "", name)
            gsub(/^[[:space:]]*"|"[[:space:]]*(#.*)?$/, "", value)
            if (table == wanted && name == key) { print value; found = 1; exit }
        }
        END { exit !found }' "$LOCK"
}

# architecture: as GitHub names it.
architecture() {
    case $(dpkg --print-architecture) in
    amd64) echo x64 ;;
    arm64) echo arm64 ;;
    *) die "GitHub has no runner for $(dpkg --print-architecture): x86-64 and arm64 only" ;;
    esac
}

# installed_version: of the runner that is unpacked, without starting it.
installed_version() {
    [ -x "$RUNNER/bin/Runner.Listener" ] || return 1
    grep -o '"Runner\.Listener/[^"]*"' "$RUNNER/bin/Runner.Listener.deps.json" 2>/dev/null | head -n 1 | sed 's|.*/||; s|"||'
}
