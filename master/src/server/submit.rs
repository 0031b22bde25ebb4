//! `/submit`: assign and upload in one request. The upload itself is the volume server's: its handler gets the request
//! under the new fid's path, so both ways of uploading behave alike.

use std::sync::Arc;

use halofs_client::master::{AssignRequest, MasterApi};
use halofs_runtime::http::{Handler, HttpRequest, HttpResponse, RequestContext};
use http::{StatusCode, Uri};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::dir;
use super::params::{BadParams, Params};
use super::reply::Reply;
use crate::master::Master;

/// Answers a POST to `/submit`.
pub(super) async fn submit(
    master: &Master,
    uploads: &Arc<dyn Handler>,
    req: HttpRequest,
    ctx: RequestContext,
) -> HttpResponse {
    let query = req.uri().query().unwrap_or_default().to_owned();
    let params = match Params::query(&query) {
        Ok(params) => params,
        Err(BadParams { status, reason }) => {
            return Reply::error(status, &reason).into_response(false);
        }
    };
    let pretty = params.has("pretty");
    let request = dir::request(&params).and_then(|r| {
        let count = dir::count(params.get("count"))?;
        Ok(AssignRequest { count, ..r })
    });
    let assigned = match request {
        Ok(request) => master.assign(request).await.map_err(|e| dir::failed(&e)),
        Err(reply) => Err(reply),
    };
    let assigned = match assigned {
        Ok(assigned) => assigned,
        Err(reply) => return reply.into_response(pretty),
    };
    let Ok(target) = format!("/{}?{query}", assigned.first).parse::<Uri>() else {
        return Reply::error(StatusCode::BAD_REQUEST, "the query is not one").into_response(pretty);
    };
    let mut req = req;
    *req.uri_mut() = target;
    let response = uploads.handle(req, ctx).await;
    if response.status() != StatusCode::CREATED {
        return response;
    }
    let answer = response.into_body().collect().await;
    let stored: Map<String, Value> = answer
        .ok()
        .and_then(|a| serde_json::from_slice(&a.to_bytes()).ok())
        .unwrap_or_default();
    let public = assigned
        .locations
        .first()
        .map(|l| l.public_url.as_str())
        .unwrap_or_default();
    let field = |name: &str, absent: Value| stored.get(name).cloned().unwrap_or(absent);
    let done = json!({
        "fileName": field("name", json!("")),
        "fid": assigned.first.to_string(),
        "fileUrl": format!("{public}/{}", assigned.first),
        "size": field("size", json!(0)),
        "eTag": field("eTag", json!("")),
    });
    Reply::new(StatusCode::CREATED, done).into_response(pretty)
}
