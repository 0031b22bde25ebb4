//! Multipart uploads: the first part is the file, unless it has no file name and a later part has one.
//!
//! Bytes are counted as they arrive: the file against the file limit, the form against the file limit and what its
//! framing may take. Nothing but the file is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use halofs_runtime::admission::{Admission, Permit};
use halofs_runtime::http::{CollectError, RequestBody, admission_step};
use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use http_body::Body;
use parking_lot::Mutex;

use super::name;
use super::reply::Refusal;

/// Bytes of a form beside its file.
const FRAMING_MAX: u64 = 1 << 20;
/// Parts of one form.
const PARTS_MAX: usize = 100;

/// An upload's body and what came with it.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) len: u64,
    pub(super) permits: Vec<Permit>,
    pub(super) name: Option<String>,
    pub(super) mime: String,
    pub(super) encoding: Option<String>,
    pub(super) md5: Option<String>,
}

type Permits = Arc<Mutex<Vec<Permit>>>;

/// Reads a multipart body.
pub(super) async fn read(
    body: RequestBody,
    content_type: &str,
    limit: u64,
    admission: &Admission,
) -> Result<Upload, Refusal> {
    let boundary = multer::parse_boundary(content_type)
        .map_err(|e| Refusal::bad(format!("the multipart form has no usable boundary: {e}")))?;
    let whole_limit = limit.saturating_add(FRAMING_MAX);
    let declared = body.declared_len();
    if declared.is_some_and(|n| n > whole_limit) {
        return Err(CollectError::TooLarge { limit }.into());
    }
    let permits = Permits::default();
    let mut granted = 0;
    if let Some(n) = declared {
        granted = usize::try_from(n).unwrap_or(usize::MAX);
        let permit = admission
            .acquire(granted)
            .await
            .map_err(CollectError::from)?;
        permits.lock().push(permit);
    }
    let counted = Counted {
        body,
        admission: admission.clone(),
        permits: Arc::clone(&permits),
        granted,
        arrived: 0,
    };
    let stream = counted.stream(whole_limit, limit);
    let mut form = multer::Multipart::new(Box::pin(stream), boundary);
    let mut file: Option<Upload> = None;
    let mut parts = 0;
    while let Some(mut part) = form.next_field().await.map_err(|e| refusal(&e))? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(Refusal::bad(format!(
                "the form has more than {PARTS_MAX} parts"
            )));
        }
        let this = head(part.headers());
        let wanted = file
            .as_ref()
            .is_none_or(|f| f.name.is_none() && this.name.is_some());
        let mut this = wanted.then_some(this);
        while let Some(piece) = part.chunk().await.map_err(|e| refusal(&e))? {
            let Some(this) = &mut this else { continue };
            this.len += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if this.len > limit {
                return Err(CollectError::TooLarge { limit }.into());
            }
            this.pieces.push_back(piece);
        }
        file = this.or(file);
    }
    let mut file = file.ok_or_else(|| Refusal::bad("the multipart form has no part"))?;
    file.permits = std::mem::take(&mut *permits.lock());
    Ok(file)
}

fn head(headers: &HeaderMap) -> Upload {
    let text = |name: HeaderName| {
        headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
    };
    let disposition = headers.get(CONTENT_DISPOSITION);
    Upload {
        name: disposition
            .and_then(|v| name::disposition_name(v.as_bytes(), false))
            .filter(|n| !n.is_empty()),
        mime: text(CONTENT_TYPE).unwrap_or_default(),
        encoding: text(CONTENT_ENCODING),
        md5: text(HeaderName::from_static("content-md5")),
        ..Upload::default()
    }
}

fn refusal(e: &multer::Error) -> Refusal {
    match e {
        multer::Error::StreamReadFailed(inner) => match inner.downcast_ref::<CollectError>() {
            Some(e) => e.clone().into(),
            None => Refusal::bad(format!("multipart form: {inner}")),
        },
        e => Refusal::bad(format!("multipart form: {e}")),
    }
}

/// A request body that is counted while the form reads it.
struct Counted {
    body: RequestBody,
    admission: Admission,
    permits: Permits,
    granted: usize,
    arrived: usize,
}

impl Counted {
    fn stream(
        self,
        whole_limit: u64,
        limit: u64,
    ) -> impl Stream<Item = Result<Bytes, CollectError>> + Send {
        futures::stream::try_unfold(self, move |mut this| async move {
            // The form's parser takes all that is ready into one buffer: give it a chance to hand out what it has.
            tokio::task::yield_now().await;
            loop {
                let frame =
                    std::future::poll_fn(|cx| std::pin::Pin::new(&mut this.body).poll_frame(cx))
                        .await;
                let Some(frame) = frame else { return Ok(None) };
                let Ok(piece) = frame.map_err(CollectError::from)?.into_data() else {
                    continue;
                };
                this.arrived = this.arrived.saturating_add(piece.len());
                if u64::try_from(this.arrived).unwrap_or(u64::MAX) > whole_limit {
                    return Err(CollectError::TooLarge { limit });
                }
                let more = admission_step(&this.admission, &mut this.granted, this.arrived).await?;
                this.permits.lock().extend(more);
                return Ok(Some((piece, this)));
            }
        })
    }
}
