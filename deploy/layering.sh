#!/usr/bin/env bash
# The crates model, policies and audit are pure: no runtime, no network, no clock, no
# environment. A decision that reads anything else could not be replayed.
set -euo pipefail
cd "$(dirname "$0")/.."

fail=0
say() {
    echo "$1" >&2
    fail=1
}

for crate in model policies audit; do
    # Listed once and searched: asking cargo for what is not there is an error, and an error must
    # not pass for an absence.
    dependencies=$(cargo tree --locked -e normal --prefix none -p "passerelle-$crate" \
        | cut -d' ' -f1 | sort -u)
    [[ $dependencies == *passerelle-$crate* ]] || say "cannot list what $crate depends on"
    for forbidden in tokio tonic hyper mio rustls openssl redb reqwest cedar-policy-symcc; do
        if grep -qx "$forbidden" <<<"$dependencies"; then
            say "passerelle-$crate depends on $forbidden"
        fi
    done
    if grep -rnE 'SystemTime|Instant::now|std::env::|std::fs|std::net|std::process|thread_rng' \
        "$crate/src" --include='*.rs' --exclude-dir=bin --exclude-dir=tests --exclude='*tests.rs'; then
        say "passerelle-$crate looks at the outside world"
    fi
done

# Dependencies point down only.
declare -A below=(
    [model]="" [policies]="model" [audit]="model" [proto]="model"
    [journal]="audit model" [tiles]="audit model"
    [broker]="audit journal model policies proto tiles"
    [agent]="audit journal model policies proto tiles" [prove]="model policies"
)
for crate in "${!below[@]}"; do
    used=$(cargo tree --locked -e normal --depth 1 --prefix none -p "passerelle-$crate" \
        | sed -nE 's/^passerelle-([a-z]+).*/\1/p' | sort -u)
    [[ -n $used ]] || say "cannot list what $crate uses"
    for dependency in $used; do
        [[ $dependency == "$crate" || " ${below[$crate]} " == *" $dependency "* ]] \
            || say "passerelle-$crate must not depend on passerelle-$dependency"
    done
done

[[ $fail -eq 0 ]] && echo "layering holds"
exit "$fail"
