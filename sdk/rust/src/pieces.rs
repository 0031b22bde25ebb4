//! A body as a list of byte strings: what arrived from the network is sealed without first being glued together.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;

/// Bytes in pieces, in order. Consumed from the front; a consumed piece is freed at once.
#[derive(Debug, Default)]
pub struct Pieces {
    queue: VecDeque<Bytes>,
    len: usize,
    /// Where they go when they are dropped; see [`Pieces::lend`].
    home: Option<Arc<Mutex<Option<VecDeque<Bytes>>>>>,
}

/// Pieces that somebody else has.
#[derive(Debug)]
pub struct Lent(Arc<Mutex<Option<VecDeque<Bytes>>>>);

impl Lent {
    /// The pieces, when whoever had them dropped them without taking one.
    pub fn back(&self) -> Option<Pieces> {
        let pieces = self.0.lock().take()?;
        Some(pieces.into_iter().collect())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            *home.lock() = Some(std::mem::take(&mut self.queue));
        }
    }
}

/// The copy shares the bytes. It is nobody's loan.
impl Clone for Pieces {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            len: self.len,
            home: None,
        }
    }
}

impl Pieces {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the pieces away such that they come back if they are dropped as they are. Another copy of them would keep
    /// every piece until the last one is consumed.
    #[must_use = "the pieces are gone when they are dropped"]
    pub fn lend(mut self) -> (Self, Lent) {
        let home = Arc::default();
        self.home = Some(Arc::clone(&home));
        (self, Lent(home))
    }

    /// Appends; empty pieces are dropped.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.home = None;
            self.len += piece.len();
            self.queue.push_back(piece);
        }
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.queue.iter()
    }

    /// Takes the next piece, whatever its size.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.home = None;
        let p = self.queue.pop_front()?;
        self.len -= p.len();
        Some(p)
    }

    /// Takes the first `n` bytes (or all, if fewer) as pieces, without copying.
    #[must_use = "the bytes taken are gone from here"]
    pub fn split_to(&mut self, n: usize) -> Self {
        let mut out = Self::new();
        while out.len < n {
            let Some(mut p) = self.pop() else { break };
            let want = n - out.len;
            if p.len() > want {
                out.push(p.split_to(want));
                self.len += p.len();
                self.queue.push_front(p);
            } else {
                out.push(p);
            }
        }
        out
    }

    /// Moves up to `n` bytes from the front into `to`.
    pub fn drain_into(&mut self, to: &mut Vec<u8>, n: usize) {
        self.home = None;
        let mut left = n;
        while left > 0 {
            let Some(p) = self.queue.front_mut() else {
                return;
            };
            let take = left.min(p.len());
            to.extend_from_slice(p.get(..take).unwrap_or_default());
            p.advance(take);
            self.len -= take;
            left -= take;
            if p.is_empty() {
                self.queue.pop_front();
            }
        }
    }

    /// All bytes as one string; copies unless there is one piece.
    pub fn into_bytes(mut self) -> Bytes {
        if self.queue.len() <= 1 {
            return self.pop().unwrap_or_default();
        }
        self.home = None;
        let mut all = BytesMut::with_capacity(self.len);
        self.queue.iter().for_each(|p| all.extend_from_slice(p));
        all.freeze()
    }
}

impl From<Bytes> for Pieces {
    fn from(b: Bytes) -> Self {
        let mut p = Self::new();
        p.push(b);
        p
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(iter: I) -> Self {
        let mut p = Self::new();
        iter.into_iter().for_each(|b| p.push(b));
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_drains_across_pieces() {
        let mut p: Pieces = [&b"abc"[..], b"", b"defg", b"h"]
            .into_iter()
            .map(Bytes::from_static)
            .collect();
        assert_eq!(p.len(), 8);
        let front = p.split_to(5);
        assert_eq!((front.len(), p.len()), (5, 3));
        assert_eq!(front.into_bytes(), Bytes::from_static(b"abcde"));
        let mut v = Vec::new();
        p.drain_into(&mut v, 2);
        assert_eq!((v.as_slice(), p.len()), (&b"fg"[..], 1));
        assert_eq!(p.into_bytes(), Bytes::from_static(b"h"));
    }
    #[test]
    fn what_is_lent_comes_back_whole_or_not_at_all() {
        let body = || Pieces::from_iter([Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let (lent, home) = body().lend();
        assert!(home.back().is_none());
        drop(lent.clone());
        assert!(home.back().is_none());
        drop(lent);
        let back = home.back().unwrap();
        assert_eq!((back.len(), home.back().is_none()), (3, true));
        assert_eq!(back.into_bytes(), Bytes::from_static(b"abc"));
        let uses: [fn(Pieces); 4] = [
            |mut p| drop(p.pop()),
            |mut p| drop(p.split_to(1)),
            |mut p| p.drain_into(&mut Vec::new(), 1),
            |p| drop(p.into_bytes()),
        ];
        for used in uses {
            let (lent, home) = body().lend();
            used(lent);
            assert!(home.back().is_none());
        }
    }
}
