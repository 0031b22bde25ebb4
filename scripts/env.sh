# The environment of every build; sourced by the other scripts. Values that are already set win.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/halofs/target}"
export ROCKSDB_LIB_DIR="${ROCKSDB_LIB_DIR:-$HOME/.cache/halofs/rocksdb-11.8.1}"
# Assertions stay on in our own crates (the profile turns them off in dependencies), except in the shipped binary.
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS="${CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS:-true}"
