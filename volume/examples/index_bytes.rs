//! Heap bytes a needle of the memory index. Usage: index_bytes COUNT

#![allow(clippy::print_stdout, reason = "a measuring tool")]

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000_000);
    let per = halofs_volume::volume::index::index_bytes(count);
    println!("{count} needles: {per:.2} bytes each");
}
