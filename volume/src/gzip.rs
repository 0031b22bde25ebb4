//! How a native body is compressed (when: `server::name`): independent gzip members of 256 KiB plaintext each, one after the other a
//! valid gzip stream, so that any range is read by inflating the members it touches.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use halofs_client::pieces::Pieces;

/// Plaintext bytes of a member, but for the last.
pub const MEMBER: usize = 256 << 10;

/// A compressed body.
#[derive(Debug)]
pub struct Compressed {
    /// The gzip stream.
    pub stream: Pieces,
    /// Where each member ends in the stream.
    pub ends: Vec<u32>,
}

/// Compresses a body; `None` unless the stream is smaller than 90 % of it.
pub fn compress(body: &Pieces) -> Option<Compressed> {
    let limit = body.len() / 10 * 9;
    let mut stream = Pieces::new();
    let mut ends = Vec::with_capacity(body.len() / MEMBER + 1);
    let mut left = body.clone();
    while !left.is_empty() {
        let member = member(&left.split_to(MEMBER))?;
        stream.push(member);
        if stream.len() >= limit {
            return None;
        }
        ends.push(u32::try_from(stream.len()).ok()?);
    }
    (!ends.is_empty()).then_some(Compressed { stream, ends })
}

fn member(plain: &Pieces) -> Option<Bytes> {
    let mut gz = GzEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::new(3));
    for piece in plain.iter() {
        gz.write_all(piece).ok()?;
    }
    gz.finish().ok().map(Bytes::from)
}

/// Inflates one or more whole members whose plaintext is `want` bytes; `None` when it is not.
pub fn inflate(stream: &[u8], want: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(want);
    let room = u64::try_from(want).ok()? + 1;
    MultiGzDecoder::new(stream)
        .take(room)
        .read_to_end(&mut out)
        .ok()?;
    (out.len() == want).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_make_one_stream() {
        let text: Vec<u8> = (0..700_000u32)
            .map(|i| b"abcd \n"[(i / 7 % 6) as usize])
            .collect();
        let c = compress(&Pieces::from(Bytes::from(text.clone()))).unwrap();
        assert_eq!(c.ends.len(), 3);
        let whole = c.stream.into_bytes();
        assert_eq!(inflate(&whole, text.len()).unwrap(), text);
        let (a, b) = (c.ends[0] as usize, c.ends[1] as usize);
        assert_eq!(
            inflate(&whole[a..b], MEMBER).unwrap(),
            &text[MEMBER..2 * MEMBER]
        );
        assert!(inflate(&whole[a..b], MEMBER - 1).is_none());
        let mut noise = vec![0; 9000];
        halofs_runtime::Rng::fill(&halofs_runtime::rng::SeededRng::new(1), &mut noise);
        assert!(compress(&Pieces::from(Bytes::from(noise))).is_none());
        assert!(compress(&Pieces::new()).is_none());
    }
}
