//! Answers that take long. A client gives up on a connection that stays silent, so CopyObject, UploadPartCopy and
//! CompleteMultipartUpload that work for longer than [`PATIENCE`] begin their answer before they know it, as AWS does:
//! 200, the XML declaration, and a space every [`PAUSE`] until the document follows. An error is then a document too;
//! clients look for it. Whatever fails before keeps its status, and that is nearly everything: what can be refused is
//! refused before the first byte is copied, and admission waits for less than [`PATIENCE`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use halofs_runtime::Clock;
use halofs_runtime::http::{BodyError, HttpBody, HttpRequest, HttpResponse};
use halofs_types::limits;
use http::{Extensions, Method};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Notify;

/// How long an operation works before its answer begins.
const PATIENCE: Duration = Duration::from_secs(limits::ADMISSION_WAIT_SECS + 5);
/// How long an answer that has begun is silent.
const PAUSE: Duration = Duration::from_secs(10);
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Whether the request may take long without its client's doing.
pub(crate) fn may_last(req: &HttpRequest) -> bool {
    match *req.method() {
        Method::PUT => req.headers().contains_key("x-amz-copy-source"),
        Method::POST => {
            let query = req.uri().query().unwrap_or_default();
            query.split('&').any(|n| n.starts_with("uploadId="))
        }
        _ => false,
    }
}

/// Told by an operation when it begins: its request has arrived and is allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Begun(Arc<Notify>);

/// Says that the operation of this request begins.
pub(crate) fn begin(extensions: &Extensions) {
    if let Some(Begun(notify)) = extensions.get() {
        notify.notify_one();
    }
}

/// The answer being made.
pub(crate) type Work = Pin<Box<dyn Future<Output = HttpResponse> + Send>>;

/// Waits for the answer; after [`PATIENCE`] it is one that has begun, with the head that `head` puts around its body.
pub(crate) async fn answer(
    mut work: Work,
    begun: Begun,
    clock: Arc<dyn Clock>,
    head: impl FnOnce(HttpBody) -> HttpResponse,
) -> HttpResponse {
    let late = async {
        begun.0.notified().await;
        clock.sleep(PATIENCE).await;
    };
    tokio::select! {
        biased;
        answer = &mut work => return answer,
        () = late => {}
    }
    head(spaced(work, clock))
}

enum Step {
    Declare(Work),
    Wait(Work),
    End,
}

fn spaced(work: Work, clock: Arc<dyn Clock>) -> HttpBody {
    let steps = stream::unfold(Step::Declare(work), move |step| {
        let clock = Arc::clone(&clock);
        async move {
            let (piece, next) = match step {
                Step::Declare(work) => (
                    Ok(Bytes::from_static(DECLARATION.as_bytes())),
                    Step::Wait(work),
                ),
                Step::Wait(mut work) => tokio::select! {
                    biased;
                    answer = &mut work => (document(answer).await, Step::End),
                    () = clock.sleep(PAUSE) => (Ok(Bytes::from_static(b" ")), Step::Wait(work)),
                },
                Step::End => return None,
            };
            Some((piece.map(Frame::data), next))
        }
    });
    HttpBody::new(StreamBody::new(steps))
}

/// The document of an answer, without its declaration.
async fn document(answer: HttpResponse) -> Result<Bytes, BodyError> {
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        tracing::info!(%status, "an answer that had begun as 200 ended in an error");
    }
    let end = bytes
        .starts_with(b"<?xml")
        .then(|| bytes.windows(2).position(|w| w == b"?>"))
        .flatten();
    Ok(bytes.slice(end.map_or(0, |at| at + 2)..))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use halofs_runtime::clock::{ManualClock, SharedManualClock};
    use halofs_runtime::http::full;
    use halofs_types::Timestamp;
    use http::StatusCode;

    use super::*;

    fn with(status: u16, body: &'static str) -> HttpResponse {
        let mut res = http::Response::new(full(body));
        *res.status_mut() = StatusCode::from_u16(status).unwrap();
        res
    }

    fn world() -> (Arc<ManualClock>, Arc<dyn Clock>, Begun) {
        let manual = ManualClock::new(Timestamp::from_secs(1_700_000_000));
        let clock: Arc<dyn Clock> = Arc::new(SharedManualClock(Arc::clone(&manual)));
        (manual, clock, Begun::default())
    }

    fn head(body: HttpBody) -> HttpResponse {
        http::Response::new(body)
    }

    async fn text(res: HttpResponse) -> String {
        let bytes = res.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_answer_in_time_is_untouched() {
        let (_, clock, begun) = world();
        let work: Work = Box::pin(async { with(412, "<?xml?><Error/>") });
        let got = answer(work, begun, clock, head).await;
        assert_eq!(got.status(), 412);
        assert_eq!(text(got).await, "<?xml?><Error/>");
    }

    #[tokio::test]
    async fn a_late_answer_is_spaces_and_then_its_document() {
        for (status, came, document) in [
            (200, "<?xml version=\"1.0\"?><R/>", "<R/>"),
            (503, "<?xml version=\"1.0\"?>\n<Error/>", "\n<Error/>"),
        ] {
            let (manual, clock, begun) = world();
            let done = Arc::new(Notify::new());
            let finish = Arc::clone(&done);
            begun.0.notify_one();
            let work: Work = Box::pin(async move {
                finish.notified().await;
                with(status, came)
            });
            let waiting = tokio::spawn(answer(work, begun, clock, head));
            // The task sleeps on the clock before the clock moves.
            tokio::task::yield_now().await;
            manual.advance(PATIENCE);
            let mut got = waiting.await.unwrap();
            assert_eq!(got.status(), 200);
            let mut seen = got.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(seen.data_mut().unwrap(), DECLARATION);
            for _ in 0..2 {
                let (piece, ()) = tokio::join!(got.body_mut().frame(), async {
                    tokio::task::yield_now().await;
                    manual.advance(PAUSE);
                });
                assert_eq!(piece.unwrap().unwrap().into_data().unwrap(), " ");
            }
            done.notify_one();
            assert_eq!(text(got).await, document);
        }
    }

    #[tokio::test]
    async fn a_request_that_has_not_begun_is_waited_for() {
        let (manual, clock, begun) = world();
        let waiting = tokio::spawn(answer(Box::pin(pending()), begun.clone(), clock, head));
        tokio::task::yield_now().await;
        manual.advance(PATIENCE * 10);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        begin(&{
            let mut extensions = Extensions::new();
            extensions.insert(begun);
            extensions
        });
        tokio::task::yield_now().await;
        manual.advance(PATIENCE);
        assert_eq!(waiting.await.unwrap().status(), 200);
    }
}
