#!/usr/bin/env bash
# Prints the path of a Go that is new enough for tests/interop, or says exactly what to install.
# An older one than go.mod asks for will do from 1.21 on: it fetches the one it needs itself.
set -euo pipefail
cd "$(dirname "$0")/.."

MINOR=21

find_go() {
    local candidate version
    for candidate in "${GO:-}" "$(command -v go || true)" /usr/local/go/bin/go \
        /usr/lib/go-*/bin/go "$HOME/go/bin/go" "$HOME/sdk/go"*/bin/go; do
        [[ -n $candidate && -x $candidate ]] || continue
        # The version of this very program, not of the one that it would fetch.
        version=$(GOTOOLCHAIN=local "$candidate" version 2>/dev/null || true)
        if [[ $version =~ go1\.([0-9]+) ]] && (( BASH_REMATCH[1] >= MINOR )); then
            echo "$candidate"
            return
        fi
    done
    return 1
}

find_go && exit
# What the system offers, where it may be installed.
if command -v apt-cache >/dev/null; then
    offered=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/ *Candidate: *//p')
    if [[ $offered =~ 1\.([0-9]+) ]] && (( BASH_REMATCH[1] >= MINOR )); then
        deploy/setup.sh golang-go >&2
        find_go && exit
    fi
fi
cat >&2 <<END
Go 1.$MINOR or newer is missing; the interoperation tests need it. Install one of:
    Debian 13 and newer:  sudo apt-get install golang-go
    Debian 12:            sudo apt-get install -t bookworm-backports golang-go
    any other:            https://go.dev/doc/install
If it is somewhere else, say where: GO=/path/to/go make interop
END
exit 1
