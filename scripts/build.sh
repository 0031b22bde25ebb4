#!/usr/bin/env bash
# Builds the release binary, installing first what the build needs. Its path is the last line printed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS="${CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS:-false}"
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
"$here/scripts/setup.sh" build
cd "$here"
scripts/cargo.sh build --workspace --bin halofs
echo "$CARGO_TARGET_DIR/release/halofs"
