//! Large buffers that are used again. A fresh mebibyte costs its page faults and its zeroing, which for a read out of the
//! page cache is more than the deciphering; a buffer that comes back costs neither.
//!
//! There is one set of them for the process, as there is one allocator: whoever drops the last [`Bytes`] of a buffer
//! gives it back, on whichever thread that is.

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes of a pooled buffer.
pub const LARGE: usize = (1 << 20) + (128 << 10);
/// Shorter ones are left to the allocator, which keeps them at hand.
const SMALL: usize = 128 << 10;
/// Buffers kept for reuse: as many as two busy cores have in flight, 18 MiB.
const KEPT: usize = 16;

static KEPT_BUFFERS: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer that its owner fills. What it holds at first is not defined: zeros, or bytes of an earlier use.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// One of `len` bytes.
    pub fn of(len: usize) -> Self {
        let bytes = if (SMALL..=LARGE).contains(&len) {
            let kept = KEPT_BUFFERS.lock().pop();
            kept.unwrap_or_else(|| vec![0; LARGE].into_boxed_slice())
        } else {
            vec![0; len].into_boxed_slice()
        };
        Self { bytes, len }
    }

    /// All of it, to be filled.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// What it holds, to be passed on.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == LARGE {
            let mut kept = KEPT_BUFFERS.lock();
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_length_that_was_asked_for() {
        for len in [0, 1, SMALL - 1, SMALL, LARGE, LARGE + 1] {
            let mut buffer = Buffer::of(len);
            buffer.space().fill(7);
            let bytes = buffer.freeze();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|b| *b == 7));
        }
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let many: Vec<_> = (0..2 * KEPT).map(|_| Buffer::of(LARGE).freeze()).collect();
        drop(many);
        assert!(KEPT_BUFFERS.lock().len() <= KEPT);
    }
}
