#!/usr/bin/env bash
# Fuzzes the parsers: `deploy/fuzz.sh [seconds for each target] [targets...]`, by default every
# target of tests/fuzz for 60 seconds, two at a time. Needs stable Rust and a C++ compiler.
# Starts from the corpora in git; what is found goes to target/fuzz-corpus, crashes to
# target/fuzz-crashes. With FUZZ_BUILT=1 the binaries of the last build are run. Ends with a
# table, and with an error if a target failed.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.13.1
AT_ONCE=${FUZZ_AT_ONCE:-2}
SECONDS_EACH=${1:-60}
if ! [[ $SECONDS_EACH =~ ^[1-9][0-9]*$ ]]; then
    echo "seconds for each target expected, not \`$SECONDS_EACH\`" >&2
    exit 2
fi
shift $(( $# > 0 ? 1 : 0 ))
CARGO=${CARGO:-cargo}
TOOL=target/tools/bin/cargo-fuzz
CORPUS=target/fuzz-corpus
CRASHES=target/fuzz-crashes
LOGS=target/fuzz-logs
HOST=$(rustc -vV | sed -n 's/^host: //p')
BINARIES=target/fuzz/$HOST/release

ALL=$(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' tests/fuzz/Cargo.toml | sort)
TARGETS=${*:-$ALL}
for target in $TARGETS; do
    grep -qx "$target" <<<"$ALL" || { echo "no target \`$target\`; there are:" $ALL >&2; exit 2; }
done

if ! "$TOOL" --version 2>/dev/null | grep -q " $VERSION$"; then
    $CARGO install cargo-fuzz --version $VERSION --locked --root target/tools
fi
# Without a sanitizer, stable Rust does: our crates hold no unsafe code that one would watch. No
# `cfg(fuzzing)` either: under it some libraries weaken what is tested here.
build=(--fuzz-dir tests/fuzz -s none --no-cfg-fuzzing --target-dir target/fuzz --codegen-units 8)
# One target alone is built alone; of several, all.
if [[ -z ${FUZZ_BUILT:-} ]]; then
    if [[ $(wc -w <<<"$TARGETS") == 1 ]]; then build+=("$TARGETS"); fi
    "$TOOL" fuzz build "${build[@]}"
fi

# Longest input in bytes: the size of what comes from outside where it is small, else what keeps
# the runs quick.
longest() {
    case $1 in
        text|keys|tiles|oprf) echo 1024 ;;
        journal|sealed) echo 2048 ;;
        canonical|config|csv|mapping|note|checkpoint|certificate|proof|tlog_policy) echo 4096 ;;
        *) echo 16384 ;;
    esac
}

run() {
    local target=$1
    mkdir -p "$CORPUS/$target" "$CRASHES/$target"
    local sources=("$CORPUS/$target" "tests/fuzz/corpus/$target")
    [[ -d tests/fuzz/regressions/$target ]] && sources+=("tests/fuzz/regressions/$target")
    if nice "$BINARIES/$target" -max_total_time="$SECONDS_EACH" -rss_limit_mb=1024 \
        -timeout=10 -max_len="$(longest "$target")" -print_final_stats=1 \
        -artifact_prefix="$CRASHES/$target/" \
        "${sources[@]}" >"$LOGS/$target" 2>&1; then
        echo ok >"$LOGS/$target.verdict"
    else
        echo FAILED >"$LOGS/$target.verdict"
    fi
}

mkdir -p "$LOGS"
for target in $TARGETS; do
    rm -f "$LOGS/$target.verdict"
    while (( $(jobs -rp | wc -l) >= AT_ONCE )); do wait -n; done
    run "$target" &
done
wait

failed=0
printf '%-12s %8s %12s %9s %9s %8s %9s  %s\n' \
    target seconds executions per_s edges files rss_mb verdict
for target in $TARGETS; do
    log=$LOGS/$target
    verdict=$(cat "$log.verdict")
    [[ $verdict == ok ]] || failed=1
    figure() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
    last=$(grep -E '^#[0-9]+' "$log" | grep ' cov: ' | tail -1 || true)
    printf '%-12s %8s %12s %9s %9s %8s %9s  %s\n' "$target" "$SECONDS_EACH" \
        "$(figure number_of_executed_units)" "$(figure average_exec_per_sec)" \
        "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' <<<"$last")" \
        "$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' <<<"$last")" "$(figure peak_rss_mb)" "$verdict"
done
for target in $TARGETS; do
    [[ $(cat "$LOGS/$target.verdict") == ok ]] && continue
    echo
    echo "$target failed:"
    grep -E "panicked at|ERROR: libFuzzer|SUMMARY" -A 2 "$LOGS/$target" | head -12
    artifact=$(sed -n "s|.*Test unit written to ||p" "$LOGS/$target" | tail -1)
    echo "again:   $BINARIES/$target ${artifact:-FILE}"
    echo "smaller: $BINARIES/$target -minimize_crash=1 -runs=100000 ${artifact:-FILE}"
    echo "then keep it in tests/fuzz/regressions/$target:"
    echo "\`cargo test -p passerelle-fuzz-targets\` replays it"
done
exit $failed
