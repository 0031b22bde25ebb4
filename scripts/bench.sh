#!/usr/bin/env bash
# Measures halofs against weed (SeaweedFS) on this machine and writes docs/benchmarks/<date>.md.
# Usage: scripts/bench.sh [-quick] [-out FILE] [-only s3,native,list,memory]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
"$here/scripts/setup.sh" test
binary=${HALOFS_BIN:-$("$here/scripts/build.sh" | tail -n 1)}
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=false
(cd "$here" && scripts/cargo.sh build -q -p halofs-volume --example index_bytes)
venv=${HALOFS_VENV:-$HOME/.cache/halofs/venv}
exec "$venv/bin/python" -B "$here/compat-tests/bench.py" -binary "$binary" -weed "$venv/bin/weed" \
    -index "$CARGO_TARGET_DIR/release/examples/index_bytes" "$@"
