#!/usr/bin/env bash
# cargo with the settings that every build of halofs shares: one target folder outside the checkout, the prebuilt
# RocksDB library, one profile. Usage: scripts/cargo.sh check|build|test|clippy|... [arguments]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
sub=$1
shift
case "$sub" in
check | build | test | clippy | run | doc | bench) exec cargo "$sub" --release --ignore-rust-version "$@" ;;
*) exec cargo "$sub" "$@" ;;
esac
