#!/bin/sh
# On the machine that becomes the image, as root: puts what Packer uploaded in its place and runs the steps.
set -eu

install -d -m 0755 /usr/share/mayfly/image.d
for own in "$PLACE"/image.d/*; do
    [ -f "$own" ] || continue
    # Packer keeps no modes.
    install -m 0755 "$own" "/usr/share/mayfly/image.d/${own##*/}"
done
# shellcheck disable=SC2086 # references of images, which have no blanks
printf '%s\n' $IMAGES >"$PLACE/images"
if [ -n "$ARCHIVE" ]; then
    # Fetched already, by whoever builds: the step looks at its checksum as at any other.
    install -D -m 0600 "$PLACE/$ARCHIVE" /var/cache/mayfly/actions-runner.tar.gz
fi
MAYFLY_SOURCE_IMAGE=$(cat "$PLACE/source-image" 2>/dev/null || :)
export MAYFLY_SOURCE_IMAGE
set -- --deb "$PLACE/$DEB" --level "$LEVEL" --runner-lock "$PLACE/$LOCK"
[ ! -s "$PLACE/images" ] || [ -z "$IMAGES" ] || set -- "$@" --images "$PLACE/images"
[ -z "$AHEAD" ] || set -- "$@" --read-ahead "$PLACE/$AHEAD"
sh "$PLACE/provision" "$@"
