//! Request bodies on their way to s3s. XML bodies are checked against what the client claims of them (SHA-256,
//! Content-MD5, a checksum) before the operation sees a byte of meaning: s3s would parse and run first, and call a
//! broken stream an internal error. What went wrong is noted beside the body, so that the answer can name it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use halofs_runtime::http::{RequestBody, RequestBodyError};
use halofs_types::checksum::{BodyHasher, ChecksumAlgorithm};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::error::{Code, GatewayError};
use crate::ops::payload::Claims;

/// What went wrong with a body, once it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<Code>>>);

impl Verdict {
    /// The first complaint.
    pub(crate) fn code(&self) -> Option<Code> {
        *self.0.lock()
    }

    fn complain(&self, code: Code) {
        self.0.lock().get_or_insert(code);
    }
}

/// Why a body's stream failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckedBodyError {
    /// It did not arrive whole.
    #[error(transparent)]
    Arrival(#[from] RequestBodyError),
    /// It is not what was claimed.
    #[error("the body is not what its headers claim: {}", .0.as_str())]
    Claim(Code),
}

#[derive(Debug)]
struct Check {
    claims: Claims,
    sha256: Option<[u8; 32]>,
    hasher: BodyHasher,
    /// Bytes that may still come.
    left: usize,
}

impl Check {
    fn take(&mut self, data: &[u8]) -> Result<(), Code> {
        self.left = self
            .left
            .checked_sub(data.len())
            .ok_or(Code::MaxMessageLengthExceeded)?;
        self.hasher.update(data);
        Ok(())
    }
}

/// A request body that knows what was claimed of it.
#[derive(Debug)]
pub(crate) struct CheckedBody {
    inner: RequestBody,
    verdict: Verdict,
    check: Option<Box<Check>>,
}

impl CheckedBody {
    /// A body that somebody else checks: object bytes.
    pub(crate) fn plain(inner: RequestBody) -> Self {
        Self {
            inner,
            verdict: Verdict::default(),
            check: None,
        }
    }

    /// A body of at most `limit` bytes that is buffered and parsed; `completes` says that it is the document of a
    /// Complete.
    pub(crate) fn checked(
        inner: RequestBody,
        headers: &HeaderMap,
        completes: bool,
        limit: usize,
    ) -> Result<Self, GatewayError> {
        let claims = if completes {
            Claims::read_complete(headers)?
        } else {
            Claims::read(headers, Some(0))?
        };
        let sha256 = headers.get("x-amz-content-sha256").and_then(|v| {
            let mut out = [0; 32];
            hex::decode_to_slice(v.as_bytes(), &mut out)
                .ok()
                .map(|()| out)
        });
        let mut more: Vec<ChecksumAlgorithm> = claims.checksum.iter().map(|(a, _)| *a).collect();
        if sha256.is_some() && !more.contains(&ChecksumAlgorithm::Sha256) {
            more.push(ChecksumAlgorithm::Sha256);
        }
        let check = Box::new(Check {
            claims,
            sha256,
            hasher: BodyHasher::new(more),
            left: limit,
        });
        Ok(Self {
            inner,
            verdict: Verdict::default(),
            check: Some(check),
        })
    }

    /// What will be known of it.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    fn end(&mut self) -> Result<(), Code> {
        let Some(check) = self.check.take() else {
            return Ok(());
        };
        let Check {
            claims,
            sha256,
            hasher,
            left: _,
        } = *check;
        let sums = hasher.finish();
        if sha256
            .is_some_and(|want| sums.get(ChecksumAlgorithm::Sha256).as_deref() != Some(&want[..]))
        {
            return Err(Code::XAmzContentSHA256Mismatch);
        }
        let md5 = claims
            .md5
            .is_none_or(|want| sums.get(ChecksumAlgorithm::Md5).as_deref() == Some(&want[..]));
        let sum = claims
            .checksum
            .is_none_or(|(a, want)| sums.get(a).as_ref() == Some(&want));
        if md5 && sum {
            Ok(())
        } else {
            Err(Code::BadDigest)
        }
    }
}

impl Body for CheckedBody {
    type Data = Bytes;
    type Error = CheckedBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CheckedBodyError>>> {
        let this = &mut *self;
        match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let mut taken = match (&mut this.check, frame.data_ref()) {
                    (Some(check), Some(data)) => check.take(data),
                    _ => Ok(()),
                };
                // Whoever knows the length may never ask for the end, so the last piece brings the verdict.
                if taken.is_ok() && this.inner.is_end_stream() {
                    taken = this.end();
                }
                if let Err(code) = taken {
                    this.verdict.complain(code);
                    return Poll::Ready(Some(Err(CheckedBodyError::Claim(code))));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(e)) => {
                this.verdict.complain(match e {
                    RequestBodyError::Stalled => Code::RequestTimeout,
                    RequestBodyError::Broken(_) => Code::IncompleteBody,
                });
                Poll::Ready(Some(Err(e.into())))
            }
            None => match this.end() {
                Ok(()) => Poll::Ready(None),
                Err(code) => {
                    this.verdict.complain(code);
                    Poll::Ready(Some(Err(CheckedBodyError::Claim(code))))
                }
            },
        }
    }

    /// Not before the claims were looked at.
    fn is_end_stream(&self) -> bool {
        self.check.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
