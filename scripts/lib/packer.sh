# shellcheck shell=bash
# Packer and its two plugins, as ami/tools pins them, built once into the cache. 1.9.4 is the last release under the MPL.

PACKER_TOOLS=(
    packer:github.com/hashicorp/packer:1.9.4
    plugin-amazon:github.com/hashicorp/packer-plugin-amazon:1.3.2
    plugin-qemu:github.com/hashicorp/packer-plugin-qemu:1.0.9
)

# packer_tools: builds what is not there, sets PACKER and what Packer finds its plugins by. 5 minutes the first time.
packer_tools() {
    local tool name module version place lock began=$SECONDS file
    need go "Packer is built from source here: install Go 1.20 or later"
    place=$CACHE/tools/packer-$(cat "$TOP"/ami/tools/*/go.sum "$TOP/scripts/lib/packer.sh" | sha256sum | cut -c1-12)
    mkdir -p "$CACHE/tools"
    exec {lock}>"$place.lock"
    flock "$lock"
    if [ ! -e "$place/ready" ]; then
        say "building Packer and its plugins into $place (5 minutes, once)"
        rm -rf "$place"
        mkdir -p "$place/bin"
        for tool in "${PACKER_TOOLS[@]}"; do
            IFS=: read -r name module version <<<"$tool"
            say "    $name $version"
            # As a release is built: a plugin calls itself a development version otherwise, which Packer does not load by number.
            (cd "$TOP/ami/tools/$name" &&
                go build -trimpath -mod=readonly -ldflags "-s -w -X $module/version.VersionPrerelease=" -o "$place/bin/$name" "$module")
        done
        for name in amazon qemu; do
            version=$(printf '%s\n' "${PACKER_TOOLS[@]}" | sed -n "s|^plugin-$name:.*:||p")
            # Where "packer init" would put it, and as it would name it.
            file=$place/plugins/github.com/hashicorp/$name/packer-plugin-${name}_v${version}_x5.0_$(go env GOOS)_$(go env GOARCH)
            install -D "$place/bin/plugin-$name" "$file"
            sha256sum <"$file" | cut -d' ' -f1 | tr -d '\n' >"${file}_SHA256SUM"
        done
        touch "$place/ready"
        say "built in $((SECONDS - began)) s"
    fi
    exec {lock}>&-
    PACKER=$place/bin/packer
    export PACKER PACKER_PLUGIN_PATH=$place/plugins PACKER_CONFIG_DIR=$place/config CHECKPOINT_DISABLE=1
}
