//! Needle bytes as a response body: pieces of at most 1 MiB, the next one read while one is sent.
//!
//! The first piece is read, and so verified, before the answer's head is made: a damaged small needle is a clean 500, and
//! damage further on cuts the connection before a wrong byte leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use halofs_client::VolumeError;
use halofs_client::volume::{Encoding, NeedleReader};
use halofs_runtime::admission::Permit;
use halofs_runtime::http::{BodyError, HttpBody};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};

/// The largest piece.
pub(super) const PIECE: u64 = 1 << 20;
/// Pieces in memory for one answer: one being sent, one being read.
pub(super) const PIECES: usize = 2;

/// What an answer's body is made of.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// Framing of a multipart answer.
    Text(Bytes),
    /// Bytes `start..end` of the representation.
    Needle(u64, u64),
}

/// The bytes of all segments.
pub(super) fn length(segments: &[Segment]) -> u64 {
    segments.iter().fold(0, |n, s| match s {
        Segment::Text(t) => n + u64::try_from(t.len()).unwrap_or(u64::MAX),
        Segment::Needle(start, end) => n + (end - start),
    })
}

/// Segments with none larger than a piece.
fn pieces(segments: Vec<Segment>) -> impl Iterator<Item = Segment> + Send {
    segments.into_iter().flat_map(|s| {
        let (text, start, end) = match s {
            Segment::Text(t) => (Some(Segment::Text(t)), 0, 0),
            Segment::Needle(start, end) => (None, start, end),
        };
        let cuts = (start..end).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
        text.into_iter()
            .chain(cuts.map(move |at| Segment::Needle(at, end.min(at.saturating_add(PIECE)))))
    })
}

async fn fetch(
    reader: Arc<dyn NeedleReader>,
    encoding: Encoding,
    segment: Segment,
) -> Result<Bytes, VolumeError> {
    match segment {
        Segment::Text(text) => Ok(text),
        Segment::Needle(start, end) => reader.read(encoding, start, end).await,
    }
}

/// The body of these segments. `permit` counts the pieces until the body is gone.
pub(super) async fn body(
    reader: Box<dyn NeedleReader>,
    encoding: Encoding,
    segments: Vec<Segment>,
    permit: Permit,
) -> Result<HttpBody, VolumeError> {
    if let [Segment::Needle(start, end)] = segments[..]
        && end - start <= PIECE
    {
        let bytes = reader.read(encoding, start, end).await?;
        return Ok(HttpBody::new(Held {
            bytes: Some(bytes),
            _permit: permit,
        }));
    }
    let reader: Arc<dyn NeedleReader> = Arc::from(reader);
    let mut first = Vec::new();
    let mut rest = pieces(segments);
    for segment in rest.by_ref() {
        let needle = matches!(segment, Segment::Needle(..));
        first.push(Ok(fetch(Arc::clone(&reader), encoding, segment).await?));
        if needle {
            break;
        }
    }
    let rest = futures::stream::iter(rest)
        .map(move |segment| fetch(Arc::clone(&reader), encoding, segment))
        .buffered(PIECES - 1);
    let all = futures::stream::iter(first).chain(rest);
    let frames = all.map_ok(Frame::data).map_err(move |e: VolumeError| {
        let _held_to_the_end = &permit;
        BodyError::from(e)
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

/// One byte string with its permit.
struct Held {
    bytes: Option<Bytes>,
    _permit: Permit,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(
            self.bytes
                .take()
                .filter(|b| !b.is_empty())
                .map(|b| Ok(Frame::data(b))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_into_pieces() {
        let text = || Segment::Text(Bytes::from_static(b"--b"));
        let all = vec![
            text(),
            Segment::Needle(5, 5 + 2 * PIECE + 1),
            text(),
            Segment::Needle(0, 1),
        ];
        assert_eq!(length(&all), 6 + 2 * PIECE + 2);
        let cut: Vec<Segment> = pieces(all.clone()).collect();
        assert_eq!(cut.len(), 6);
        assert_eq!(length(&cut), length(&all));
        assert!(matches!(cut[3], Segment::Needle(s, e) if e - s == 1));
    }
}
