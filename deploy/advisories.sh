#!/usr/bin/env bash
# Called when the advisory check failed: tells a known vulnerability from an unreachable database.
# Without the database nothing can be said, which is no reason to fail a build on a closed network.
set -euo pipefail
if [[ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]] \
    && find "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" -name '*.md' -print -quit | grep -q .; then
    echo "advisories: see above" >&2
    exit 1
fi
echo "advisories: the database can't be reached from here; not checked" >&2
