//! Assign, lookup and growth.

use halofs_client::MasterError;
use halofs_client::master::{AssignRequest, MasterApi, VolumeOwner};
use halofs_types::limits::ASSIGN_COUNT_MAX;
use halofs_types::{Placement, VolumeId};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::params::Params;
use super::reply::Reply;
use crate::assign::Wish;
use crate::master::Master;

/// Volumes that one `/vol/grow` may ask for.
const GROW_MAX: u64 = 1000;

/// What is asked for is well understood and not built.
pub(super) fn not_built(sentence: &'static str) -> Reply {
    Reply::error(StatusCode::NOT_IMPLEMENTED, sentence)
}

/// The status of an error of main, for clients that look at it.
pub(super) fn failed(error: &MasterError) -> Reply {
    let status = match error {
        MasterError::UnknownVolume(_) => StatusCode::NOT_FOUND,
        MasterError::Invalid { .. } => StatusCode::BAD_REQUEST,
        MasterError::NoSpace { .. } | MasterError::Unsupported(_) => StatusCode::NOT_ACCEPTABLE,
        MasterError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        MasterError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let reply = Reply::error(status, &error.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply.with(RETRY_AFTER, "1")
    } else {
        reply
    }
}

fn not_acceptable(reason: &str) -> Reply {
    Reply::error(StatusCode::NOT_ACCEPTABLE, reason)
}

/// What assign and grow share.
pub(super) fn request(params: &Params) -> Result<AssignRequest, Reply> {
    let text = params.get("replication");
    let placement: Option<Placement> = if text.is_empty() {
        None
    } else {
        Some(
            text.parse()
                .map_err(|e| not_acceptable(&format!("replication {text:?}: {e}")))?,
        )
    };
    check_ttl(params.get("ttl"))?;
    for name in ["preallocate", "writableVolumeCount", "dataSize"] {
        let value = params.get(name);
        if !value.is_empty() && value.parse::<u64>().is_err() {
            return Err(not_acceptable(&format!("{name} {value:?} is not a number")));
        }
    }
    Ok(AssignRequest {
        count: 1,
        collection: params.get("collection").to_owned(),
        owner: VolumeOwner::Native,
        placement,
        disk_type: params.get("disk").to_owned(),
        data_center: params.get("dataCenter").to_owned(),
        rack: params.get("rack").to_owned(),
        data_node: params.get("dataNode").to_owned(),
        avoid: None,
    })
}

/// A time to live: an integer with an optional unit. None but zero is built.
fn check_ttl(text: &str) -> Result<(), Reply> {
    let digits = text.trim_end_matches(['m', 'h', 'd', 'w', 'M', 'y']);
    if text.is_empty() || (text.len() - digits.len() <= 1 && digits.parse() == Ok(0u64)) {
        return Ok(());
    }
    if text.len() - digits.len() > 1
        || digits.is_empty()
        || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(not_acceptable(&format!(
            "ttl {text:?} is not a number with one of the units m h d w M y"
        )));
    }
    Err(not_acceptable(
        "this version keeps files until they are deleted: ttl is not built yet",
    ))
}

/// `count`: what cannot be read counts as one, as it always did; what is too large is an error.
pub(super) fn count(text: &str) -> Result<u64, Reply> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(0) => Ok(1),
        Ok(n) if n <= ASSIGN_COUNT_MAX => Ok(n),
        Err(_) if !digits => Ok(1),
        _ => Err(Reply::error(
            StatusCode::BAD_REQUEST,
            &format!("count is at most {ASSIGN_COUNT_MAX}"),
        )),
    }
}

/// The answer of `/dir/assign`; fields in the order of their names, as everywhere.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assigned {
    count: u64,
    fid: String,
    public_url: String,
    url: String,
}

/// `/dir/assign`.
pub(super) async fn assign(master: &Master, params: &Params) -> Result<Assigned, Reply> {
    let asked = AssignRequest {
        count: count(params.get("count"))?,
        ..request(params)?
    };
    let done = master.assign(asked).await.map_err(|e| failed(&e))?;
    let at = done.locations.into_iter().next().ok_or_else(|| {
        failed(&MasterError::Unavailable(
            "the volume has no location".to_owned(),
        ))
    })?;
    Ok(Assigned {
        count: done.count,
        fid: done.first.to_string(),
        public_url: at.public_url,
        url: at.url,
    })
}

/// `/dir/lookup`. Volumes of the filer do not exist here (`replication.md` 18).
pub(super) fn lookup(master: &Master, params: &Params) -> Reply {
    let asked = [params.get("volumeId"), params.get("fileId")]
        .into_iter()
        .find(|v| !v.is_empty())
        .unwrap_or_default();
    let name = asked.split([',', '/']).next().unwrap_or_default();
    let Ok(volume) = name.parse::<VolumeId>() else {
        return missing(name, &format!("Unknown volume id {name}"));
    };
    let view = master.view();
    let copy = view
        .volumes
        .get(&volume.0)
        .filter(|_| master.is_native(volume))
        .and_then(|v| v.copy.as_ref());
    let Some(node) = copy.and_then(|(index, _)| view.node(*index)) else {
        return missing(name, &format!("volume id {volume} not found"));
    };
    let mut location = Map::new();
    location.insert("publicUrl".to_owned(), json!(node.report.public_url));
    location.insert("url".to_owned(), json!(node.report.url));
    if params.has("detail") {
        location.insert("dataCenter".to_owned(), json!(node.data_center()));
        location.insert("rack".to_owned(), json!(node.rack()));
        location.insert("grpcPort".to_owned(), json!(0));
    }
    Reply::ok(json!({ "volumeId": volume.to_string(), "locations": [location] }))
}

fn missing(name: &str, reason: &str) -> Reply {
    let mut body = Map::new();
    if !name.is_empty() {
        body.insert("volumeId".to_owned(), json!(name));
    }
    body.insert("error".to_owned(), json!(reason));
    Reply::new(StatusCode::NOT_FOUND, Value::Object(body))
}

/// `/vol/grow`.
pub(super) async fn grow(master: &Master, params: &Params) -> Reply {
    let Some(count) = params.get("count").parse::<u64>().ok().filter(|n| *n > 0) else {
        return not_acceptable("can not parse parameter count");
    };
    let wish = request(params)
        .and_then(|r| Wish::new(r, master.config().default_placement).map_err(|e| failed(&e)));
    let wish = match wish {
        Ok(wish) => wish,
        Err(reply) => return reply,
    };
    let copies = wish.layout.placement().copies();
    if copies > 1 {
        return not_acceptable(
            "this version keeps one copy of a volume: replication other than 000 is not built yet",
        );
    }
    let free: u64 = master
        .view()
        .nodes
        .iter()
        .map(crate::topology::view::NodeView::free_slots)
        .sum();
    let Some(n) = u32::try_from(count)
        .ok()
        .filter(|_| count <= free.min(GROW_MAX))
    else {
        return not_acceptable(&format!("only {free} volumes left, not enough for {count}"));
    };
    match master.grow(&wish.layout, &wish.site, n).await {
        Ok(made) => Reply::ok(json!({ "count": made })),
        Err(error) => failed(&error),
    }
}

/// `/vol/vacuum`.
pub(super) fn vacuum(params: &Params) -> Reply {
    let threshold = params.get("garbageThreshold");
    if !threshold.is_empty()
        && !threshold
            .parse::<f64>()
            .is_ok_and(|t| (0.0..=1.0).contains(&t))
    {
        return not_acceptable(&format!(
            "garbageThreshold {threshold:?} is not a number from 0 to 1"
        ));
    }
    not_built(
        "this version counts garbage and does not give its space back yet: vacuum comes with clusters",
    )
}

/// `/col/delete`.
pub(super) fn delete_collection(master: &Master, params: &Params) -> Reply {
    let name = params.get("collection");
    let known = master
        .view()
        .layouts
        .iter()
        .any(|l| l.key.collection == name);
    if name.is_empty() || !known {
        return Reply::error(
            StatusCode::BAD_REQUEST,
            &format!("collection {name:?} does not exist"),
        );
    }
    not_built("this version cannot delete a collection yet: delete its files")
}
