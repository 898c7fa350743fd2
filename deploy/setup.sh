#!/usr/bin/env bash
# Checks for the system packages that the build needs, installs what is missing where it may,
# and says exactly what to install where it may not. Usage: setup.sh PACKAGE...
set -euo pipefail

if ! command -v cargo >/dev/null; then
    echo "Rust is missing: install it from https://rustup.rs, then run this again." >&2
    exit 1
fi

missing=()
if command -v dpkg-query >/dev/null; then
    for package in "$@"; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [[ $status == "install ok installed" ]] || missing+=("$package")
    done
else
    # Not Debian: look for what the packages bring.
    command -v cc >/dev/null || missing+=("a C compiler")
    command -v pkg-config >/dev/null || missing+=("pkg-config")
    pkg-config --exists openssl 2>/dev/null || missing+=("OpenSSL development files")
    if [[ " $* " == *" cvc5 "* ]]; then
        command -v "${CVC5:-cvc5}" >/dev/null || missing+=("the solver cvc5")
    fi
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

if command -v apt-get >/dev/null; then
    if [[ $EUID -eq 0 ]]; then
        run=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        run=(sudo)
    else
        echo "Missing system packages. Install them, then run this again:" >&2
        echo "    sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing: ${missing[*]}"
    "${run[@]}" apt-get update -q
    "${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
else
    printf 'Missing: %s\n' "${missing[@]}" >&2
    exit 1
fi
