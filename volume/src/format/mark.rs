//! Log mark, format v1: an ordinary sealed record (`format::record`) with needle_key 0, cookie 0, flag 32 and this
//! 64-byte plaintext. It ends a batch that was written and synced as one. Owner: `volume::log`. Reader:
//! `volume::recover`.
//!
//! | off | len | field | notes |
//! |---|---|---|---|
//! | 0 | 8 | generation | of the volume |
//! | 8 | 8 | epoch | under which the batch was written |
//! | 16 | 8 | start | offset of the batch |
//! | 24 | 8 | length | > 0; start + length is the mark's own offset |
//! | 32 | 32 | chain | SHA-256(previous chain ‖ each record of the batch: offset u64, length u32, commit 16) |
//!
//! The first previous chain is SHA-256("halofs.chain.v1" 00 ‖ volume uuid ‖ generation u64). Two copies whose marks at
//! one offset agree hold the same log up to there; an old record that turns up at another place breaks the chain.

use sha2::{Digest, Sha256};

use super::{Fields, FormatError};

/// Bytes of a mark's plaintext.
pub const BODY: usize = 64;
/// Bytes of a mark's record.
pub const RECORD: u64 = 176;

const _: () = assert!(BODY == 4 * 8 + 32);
const _: () = assert!(RECORD == (super::record::HEADER + BODY + 16 + 4).next_multiple_of(8) as u64);

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// See the table.
    pub generation: u64,
    /// See the table.
    pub epoch: u64,
    /// See the table.
    pub start: u64,
    /// See the table.
    pub length: u64,
    /// See the table.
    pub chain: [u8; 32],
}

impl Mark {
    /// The 64 bytes.
    pub fn encode(&self) -> [u8; BODY] {
        let numbers = [self.generation, self.epoch, self.start, self.length].map(u64::to_le_bytes);
        let mut out = [0; BODY];
        let parts = numbers.as_flattened().iter().chain(&self.chain);
        out.iter_mut().zip(parts).for_each(|(o, b)| *o = *b);
        out
    }

    /// Reads exactly 64 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut f = Fields::new(bytes);
        let mark = Self {
            generation: f.u64()?,
            epoch: f.u64()?,
            start: f.u64()?,
            length: f.u64()?,
            chain: f.take()?,
        };
        if !f.rest().is_empty() || mark.length == 0 {
            return Err(FormatError::Field("length"));
        }
        Ok(mark)
    }

    /// Whether it ends a batch right where it stands itself.
    pub fn stands_at(&self, offset: u64) -> bool {
        self.start.checked_add(self.length) == Some(offset)
    }
}

/// The chain before a generation's first batch.
pub fn chain_start(volume: &[u8; 16], generation: u64) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update(b"halofs.chain.v1\0");
    h.update(volume);
    h.update(generation.to_le_bytes());
    h.finalize().into()
}

/// Computes the chain over one batch.
#[derive(Debug, Clone)]
pub struct Chain(Sha256);

impl Chain {
    /// After the batch whose mark holds `previous`.
    pub fn after(previous: &[u8; 32]) -> Self {
        let mut h = Sha256::new();
        h.update(previous);
        Self(h)
    }

    /// Adds a record; records are below 2^32 bytes but for the largest bodies, whose length is counted modulo 2^32.
    pub fn add(&mut self, offset: u64, length: u64, commit: &[u8; 16]) {
        self.0.update(offset.to_le_bytes());
        let [a, b, c, d, ..] = length.to_le_bytes();
        self.0.update([a, b, c, d]);
        self.0.update(commit);
    }

    /// The value that the batch's mark holds.
    pub fn value(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}
