//! Puts the prebuilt RocksDB library beside the binaries, where their run path looks for it (decision 3). Without
//! `ROCKSDB_LIB_DIR` RocksDB is built from source and linked statically: nothing to do.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=ROCKSDB_LIB_DIR");
    let (Some(from), Some(out)) = (
        std::env::var_os("ROCKSDB_LIB_DIR"),
        std::env::var_os("OUT_DIR"),
    ) else {
        return;
    };
    let from = PathBuf::from(from).join("librocksdb.so");
    println!("cargo:rerun-if-changed={}", from.display());
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let out = PathBuf::from(out);
    if let Some(profile) = out.ancestors().nth(3) {
        let to = profile.join("librocksdb.so");
        let fresh = from
            .metadata()
            .and_then(|a| Ok(a.len() == to.metadata()?.len()))
            .unwrap_or(false);
        if !fresh && let Err(e) = std::fs::copy(&from, &to) {
            println!(
                "cargo:warning=cannot copy {} to {}: {e}",
                from.display(),
                to.display()
            );
        }
    }
}
