//! Randomness behind a trait, so that tests are repeatable.

use std::cell::RefCell;

use parking_lot::Mutex;

/// A source of random bytes fit for keys.
pub trait Rng: Send + Sync + 'static {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);

    /// Sixteen bytes: ids.
    fn id16(&self) -> [u8; 16] {
        let mut b = [0; 16];
        self.fill(&mut b);
        b
    }

    /// Four bytes: cookies.
    fn u32(&self) -> u32 {
        let mut b = [0; 4];
        self.fill(&mut b);
        u32::from_le_bytes(b)
    }

    /// Eight bytes.
    fn u64(&self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }
}

/// The operating system's generator. Short wishes are served from a block that each thread asks for ahead, so that a
/// salt or a cookie does not cost a system call each; no byte is handed out twice or kept after it was.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

/// Bytes that a thread asks for ahead.
const BLOCK: usize = 512;
/// Longer wishes go to the kernel directly.
const SHORT: usize = 64;

struct Block {
    bytes: [u8; BLOCK],
    used: usize,
}

impl Block {
    fn take(&mut self, out: &mut [u8]) {
        if BLOCK - self.used < out.len() {
            ask(&mut self.bytes);
            self.used = 0;
        }
        for (o, b) in out.iter_mut().zip(self.bytes.iter_mut().skip(self.used)) {
            *o = std::mem::take(b);
        }
        self.used += out.len();
    }
}

fn ask(out: &mut [u8]) {
    getrandom::fill(out)
        .expect("the kernel's random generator answers once the machine has booted");
}

impl Rng for OsRng {
    fn fill(&self, out: &mut [u8]) {
        thread_local! {
            static AHEAD: RefCell<Block> = const {
                RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK })
            };
        }
        if out.len() > SHORT {
            return ask(out);
        }
        // A thread that is ending has no block any more.
        if AHEAD.try_with(|b| b.borrow_mut().take(out)).is_err() {
            ask(out);
        }
    }
}

/// SplitMix64: repeatable, for tests only.
#[derive(Debug)]
pub struct SeededRng(Mutex<u64>);

impl SeededRng {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Rng for SeededRng {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(o, b)| *o = b);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_come_twice() {
        let mut seen = HashSet::new();
        for n in 0..1000 {
            let mut out = vec![0; 8 + n % 100];
            OsRng.fill(&mut out);
            assert!(out.chunks_exact(8).all(|c| seen.insert(c.to_vec())));
        }
    }

    #[test]
    fn bytes_handed_out_are_gone() {
        let mut block = Block {
            bytes: [0; BLOCK],
            used: BLOCK,
        };
        let mut out = [0; 24];
        block.take(&mut out);
        assert_ne!(out, [0; 24]);
        assert_eq!(block.bytes[..24], [0; 24]);
        assert_eq!(block.used, 24);
        let left = block.bytes;
        block.take(&mut out);
        assert_eq!(left[24..48], out);
    }
}
