#!/usr/bin/env bash
# Installs what is missing and runs the whole test suite: checks, unit and crash tests, then real clients against the
# real binary. Usage: scripts/test.sh [--full] [--skip NAME[,NAME]]     (also SKIP=NAME in the environment)
#
# Tests that need root fail without it and say so, unless they are named in the skip flag: --skip powercut,diskfaults
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
"$here/scripts/setup.sh" test
exec "${HALOFS_VENV:-$HOME/.cache/halofs/venv}/bin/python" -B "$here/scripts/suite.py" "$@"
