#!/usr/bin/env bash
# The compatibility tests alone, in full sizes unless told otherwise. Arguments go to compat-tests/run.py.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
"$here/scripts/setup.sh" test
cd "$here"
scripts/cargo.sh build --workspace --bin halofs
skip=()
[ -z "${SKIP:-}" ] || skip=(--skip "$SKIP")
exec "${HALOFS_VENV:-$HOME/.cache/halofs/venv}/bin/python" -B compat-tests/run.py --profile "${PROFILE:-full}" "${skip[@]}" "$@"
