#!/usr/bin/env bash
# Installs what the tests need and runs all of them: format, lints, tests, documentation.
# The only set-up is this script; on a bare machine it wants Rust, Python 3 and apt.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/icecore"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"

step() { printf '\n== %s\n' "$*" >&2; }

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v strace >/dev/null || missing+=(strace)
command -v redis-cli >/dev/null || missing+=(redis-tools)
# Debian keeps the server's programs off the path; the tests find them there, and run them as the
# user that comes with them where they are run by root.
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null ||
    missing+=(postgresql)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    step "packages: ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi

# One environment for each set of requirements, made whole or not at all.
requirements=$(sha256sum tests/python/requirements.txt | cut -c1-12)
venv="$cache/python-$requirements"
if [ ! -e "$venv/complete" ]; then
    step "Python readers"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/python/requirements.txt
    # Only its data is wanted, not the numerical libraries that it would bring.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps lifetimes==0.11.3
    touch "$venv/complete"
fi
export ICECORE_TEST_PYTHON="$venv/bin/python"
# What is installed above must be there: a test that would be skipped without it fails.
export ICECORE_REQUIRE_SERVICES=1

step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "tests"
# The black-box tests run the binary that is built here.
cargo build --workspace --bins --locked
cargo test --workspace --locked "$@"
step "planted bugs"
cargo test --workspace --locked --features icecore-testkit/planted-bugs --test planted
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
step "all passed"
