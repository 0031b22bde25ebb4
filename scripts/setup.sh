#!/usr/bin/env bash
# Installs what a build or the tests need and is missing; quick when nothing is.
# Usage: scripts/setup.sh [build|run|test|all]   (all = test, the default; run = build and the clients to try it with)
#
# Expects a Debian with git, a Rust toolchain and Python 3. Every download goes through an ordinary client
# (apt-get, mvn, pip) as this machine configures it, so a mirror or a proxy set up there is honoured.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"

venv=${HALOFS_VENV:-$HOME/.cache/halofs/venv}
rocksdb_version=11.8.1
rocksdb_sha256=265c656af5c6502cb8d71db1a74858509f706cc47f1a5b6f603c736d11ce677d

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'setup: FAILED: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The packages of "$@" that are not installed, installed in one go.
apt_install() {
    local missing=() p
    for p in "$@"; do
        [ "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "these packages are missing and need root to install: ${missing[*]} (no sudo here; install them by hand and run this again)"
        root=(sudo)
    fi
    have apt-get || fail "these packages are missing and there is no apt-get: ${missing[*]}"
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    local get=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends)
    # The package lists may be absent or old: a refresh is tried once, only when the first attempt fails.
    "${get[@]}" install "${missing[@]}" >"$log" 2>&1 ||
        { "${get[@]}" update >>"$log" 2>&1 && "${get[@]}" install "${missing[@]}" >>"$log" 2>&1; } ||
        {
            tail -n 15 "$log" >&2
            fail "apt-get could not install: ${missing[*]} (log: $log)"
        }
    rm -f "$log"
}

# The RocksDB project's own build of the library, from its Java artifact (it exports the whole C API). Other
# platforms build the vendored source instead, which takes most of an hour.
rocksdb_library() {
    [ -n "${ROCKSDB_LIB_DIR:-}" ] || return 0
    local lib=$ROCKSDB_LIB_DIR/librocksdb.so
    [ ! -s "$lib" ] || return 0
    have mvn || apt_install maven
    say "fetching RocksDB $rocksdb_version"
    local dir
    dir=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$dir'" EXIT
    (cd "$dir" && mvn -q -B dependency:copy -Dartifact="org.rocksdb:rocksdbjni:$rocksdb_version" -DoutputDirectory="$dir") >"$dir/log" 2>&1 ||
        {
            tail -n 15 "$dir/log" >&2
            fail "mvn could not fetch org.rocksdb:rocksdbjni:$rocksdb_version"
        }
    mkdir -p "$ROCKSDB_LIB_DIR"
    python3 - "$dir/rocksdbjni-$rocksdb_version.jar" "$lib" "$rocksdb_sha256" <<'PY' || fail "the RocksDB library in the artifact is not the expected one"
import hashlib, os, sys, zipfile
jar, lib, want = sys.argv[1:]
data = zipfile.ZipFile(jar).read("librocksdbjni-linux64.so")
got = hashlib.sha256(data).hexdigest()
if got != want:
    sys.exit("librocksdbjni-linux64.so: SHA-256 %s, expected %s" % (got, want))
with open(lib + ".new", "wb") as f:
    f.write(data)
    os.fsync(f.fileno())
os.replace(lib + ".new", lib)
PY
}

build() {
    have cargo || fail "no cargo: install the Rust toolchain that rust-toolchain.toml names (rustup), then run this again"
    have python3 || fail "no python3"
    local p=()
    have gcc || p+=(gcc)
    have g++ || p+=(g++)
    have make || p+=(make)
    have pkg-config || p+=(pkg-config)
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || p+=(libclang-dev)
    have cc || p+=(gcc libc6-dev)
    [ ${#p[@]} -eq 0 ] || apt_install "${p[@]}"
    rocksdb_library
}

clients() {
    # python3-venv matters only to Debian's own Python; others bring ensurepip along.
    python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    local want stamp=$venv/.requirements
    want=$(sha256sum <"$here/scripts/requirements.txt")
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ] || [ ! -x "$venv/bin/python" ]; then
        say "installing the Python clients into $venv"
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail "python3 -m venv $venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/scripts/requirements.txt" ||
            fail "pip could not install scripts/requirements.txt"
        printf '%s' "$want" >"$stamp"
    fi
}

# What the lines that the server prints are pasted into. Nobody needs them to run it, so failing here is no failure.
tools() {
    build
    local p=()
    have aws || p+=(awscli)
    have rclone || p+=(rclone)
    have curl || p+=(curl)
    [ ${#p[@]} -eq 0 ] || (apt_install "${p[@]}") || say "going on without ${p[*]}"
}

tests() {
    build
    local p=()
    [ -x /usr/bin/aws ] || p+=(awscli)
    have curl || p+=(curl)
    have openssl || p+=(openssl)
    have strace || p+=(strace)
    have mkfs.ext4 || [ -x /sbin/mkfs.ext4 ] || p+=(e2fsprogs)
    have losetup || [ -x /sbin/losetup ] || p+=(util-linux)
    have mount || p+=(mount)
    [ ${#p[@]} -eq 0 ] || apt_install "${p[@]}"
    clients
}

case "${1:-all}" in
build) build ;;
run) tools ;;
test | all) tests ;;
*) fail "usage: scripts/setup.sh [build|run|test|all]" ;;
esac
