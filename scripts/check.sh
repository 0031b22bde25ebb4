#!/usr/bin/env bash
# Format, lints, repository rules and docs. Never writes to the work tree; `make fix` does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$here/scripts/env.sh"
"$here/scripts/setup.sh" build
cd "$here"
step() { printf '\n== %s\n' "$*"; }
step format
cargo fmt --all --check
step lints
scripts/cargo.sh clippy --workspace --all-targets --locked -- -D warnings
step "repository rules"
scripts/cargo.sh run -q -p xtask -- tidy
step documentation
# Module maps name private modules too: they are for whoever reads the code.
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" scripts/cargo.sh doc --workspace --no-deps --locked -q
echo "check: all good"
