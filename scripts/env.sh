# The environment of every build; sourced by the other scripts. Values that are already set win.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/halofs/target}"
# The prebuilt library exists for one platform; elsewhere, and for HALOFS_VENDORED=1, RocksDB is built from source.
if [ -n "${HALOFS_VENDORED:-}" ] || [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    unset ROCKSDB_LIB_DIR
else
    export ROCKSDB_LIB_DIR="${ROCKSDB_LIB_DIR:-$HOME/.cache/halofs/rocksdb-11.8.1}"
fi
# Assertions stay on in our own crates (the profile turns them off in dependencies), except in the shipped binary.
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS="${CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS:-true}"
