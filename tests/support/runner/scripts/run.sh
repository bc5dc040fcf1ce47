#!/bin/bash
# Double of the runner's run.sh: the same loop and the same loss of exit codes.
# Upstream passes its arguments unquoted; so does its double.
# shellcheck disable=SC2048,SC2086,SC2015
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

start_helper() {
    cp -f "$root/run-helper.sh.template" "$root/run-helper.sh"
    "$root/run-helper.sh" $*
}

# Only code 2 of the helper means "again"; all but 0 and 7 are lost.
loop() {
    while :; do
        start_helper $*
        code=$?
        [ "$code" -eq 2 ] || break
        echo "Restarting runner..."
    done
    echo "Exiting runner..."
    if [ "$ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE" = 1 ] && [ "$code" -eq 7 ]; then
        exit 7
    fi
    exit 0
}

# The helper becomes leader of its own process group, and a stop request
# reaches everything in it, job steps included.
trapping_loop() {
    set -m
    stopped=0
    trap 'stopped=143; kill -INT -- -$helper' TERM
    trap 'stopped=130; kill -INT -- -$helper' INT
    while :; do
        start_helper $* &
        helper=$!
        wait "$helper"
        code=$?
        [ "$stopped" -eq 0 ] && [ "$code" -eq 2 ] || break
        echo "Restarting runner..."
    done
    echo "Exiting runner..."
    exit "$stopped"
}

if [ -n "$RUNNER_MANUALLY_TRAP_SIG" ]; then
    trapping_loop $*
else
    loop $*
fi
