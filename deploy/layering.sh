#!/usr/bin/env bash
# The crates model, policies and audit are pure: no runtime, no network, no clock, no
# environment. A decision that reads anything else could not be replayed.
set -euo pipefail
cd "$(dirname "$0")/.."

fail=0
for crate in model policies audit; do
    # Inverting the tree on an absent package is an error: that error is what we want.
    for forbidden in tokio tonic hyper mio rustls openssl sled reqwest; do
        if cargo tree --locked -e normal -i "$forbidden" -p "passerelle-$crate" 2>/dev/null \
            | grep -q "passerelle-$crate"; then
            echo "passerelle-$crate depends on $forbidden" >&2
            fail=1
        fi
    done
    if grep -rnE 'SystemTime|Instant::now|std::env::|std::fs|std::net|std::process|thread_rng' \
        "$crate/src" --include='*.rs' --exclude-dir=bin --exclude='*tests.rs'; then
        echo "passerelle-$crate looks at the outside world" >&2
        fail=1
    fi
done

# Dependencies point down only.
declare -A below=(
    [model]="" [policies]="model" [audit]="model" [proto]="model"
    [journal]="audit model" [broker]="audit journal model policies proto"
    [agent]="audit journal model policies proto"
)
for crate in "${!below[@]}"; do
    used=$(cargo tree --locked -e normal --depth 1 --prefix none -p "passerelle-$crate" \
        | sed -nE 's/^passerelle-([a-z]+).*/\1/p' | sed "/^${crate}$/d" | sort -u)
    for dependency in $used; do
        if [[ " ${below[$crate]} " != *" $dependency "* ]]; then
            echo "passerelle-$crate must not depend on passerelle-$dependency" >&2
            fail=1
        fi
    done
done

[[ $fail -eq 0 ]] && echo "layering holds"
exit "$fail"
