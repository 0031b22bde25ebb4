//! Taking needles away: tombstones of one call share their batches and syncs.

use std::sync::Arc;

use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::Deleted;
use halofs_runtime::{Clock, Rng};
use halofs_types::FileId;

use super::Volume;
use super::encode;
use super::index::Slot;
use super::log::Pending;
use super::reader;
use super::view::View;
use super::writer::Reply;

/// Tombstones that are made at once.
const AT_ONCE: usize = 512;

type Answer = Result<Deleted, VolumeError>;
/// Place in the call, and the tombstone with the bytes that go, or the answer.
type Made = (usize, Result<(Pending, u64), Answer>);

impl Volume {
    /// Deletes needles of this volume; answers in order.
    pub async fn delete(
        &self,
        clock: &Arc<dyn Clock>,
        rng: &Arc<dyn Rng>,
        fids: &[FileId],
    ) -> Vec<Answer> {
        let mut out = Vec::with_capacity(fids.len());
        for some in fids.chunks(AT_ONCE) {
            out.extend(self.delete_some(clock, rng, some).await);
        }
        out
    }

    async fn delete_some(
        &self,
        clock: &Arc<dyn Clock>,
        rng: &Arc<dyn Rng>,
        fids: &[FileId],
    ) -> Vec<Answer> {
        let mut out: Vec<Option<Answer>> = fids.iter().map(|_| None).collect();
        // A key that changed between the look and the write, or that is named twice, is looked at again.
        while out.iter().any(Option::is_none) {
            let todo: Vec<(usize, FileId)> = fids
                .iter()
                .enumerate()
                .filter(|(i, _)| out.get(*i) == Some(&None))
                .map(|(i, f)| (i, *f))
                .collect();
            let (view, clock, rng) = (Arc::clone(&self.view), Arc::clone(clock), Arc::clone(rng));
            let seal = move || -> Vec<Made> {
                todo.into_iter()
                    .map(|(i, fid)| (i, tombstone(&view, &*clock, &*rng, fid)))
                    .collect()
            };
            let made = if fids.len() > 16 {
                tokio::task::spawn_blocking(seal).await.unwrap_or_default()
            } else {
                seal()
            };
            if made.is_empty() {
                out.iter_mut()
                    .filter(|o| o.is_none())
                    .for_each(|o| *o = Some(Err(VolumeError::Stopping)));
            }
            let (mut records, mut places) = (Vec::new(), Vec::new());
            for (i, made) in made {
                match made {
                    Ok((pending, size)) => {
                        records.push(pending);
                        places.push((i, size));
                    }
                    Err(answer) => set(&mut out, i, answer),
                }
            }
            if records.is_empty() {
                continue;
            }
            match self.queue.append(records).await {
                Ok(replies) => {
                    for ((i, size), reply) in places.into_iter().zip(replies) {
                        match reply {
                            Reply::Done => set(&mut out, i, Ok(Deleted::Yes { size })),
                            Reply::Failed(e) => set(&mut out, i, Err(e)),
                            Reply::Raced(_) => {}
                        }
                    }
                }
                Err(e) => places
                    .into_iter()
                    .for_each(|(i, _)| set(&mut out, i, Err(e.clone()))),
            }
        }
        out.into_iter()
            .map(|o| o.unwrap_or(Err(VolumeError::Stopping)))
            .collect()
    }
}

fn set(out: &mut [Option<Answer>], i: usize, answer: Answer) {
    if let Some(o) = out.get_mut(i) {
        *o = Some(answer);
    }
}

/// The tombstone of a needle and the original bytes of what goes, or the answer when there is nothing to write.
fn tombstone(
    view: &Arc<View>,
    clock: &dyn Clock,
    rng: &dyn Rng,
    fid: FileId,
) -> Result<(Pending, u64), Answer> {
    view.check_writable().map_err(Err)?;
    let filer = view.head.owner() == VolumeOwner::Filer;
    let seen = reader::locate(view, fid).map_err(Err)?;
    let Slot::Live { offset, plain_len } = seen else {
        return Err(Ok(Deleted::Absent));
    };
    let (cookie, size) = if filer {
        match reader::peek(view, fid, offset, plain_len) {
            Ok(peek) => (peek.cookie, peek.stored),
            // The filer names its needles exactly, and what is damaged has to go too.
            Err(VolumeError::Damaged { .. }) => (fid.cookie.0, u64::from(plain_len)),
            Err(e) => return Err(Err(e)),
        }
    } else {
        let needle = reader::open(view, fid, (offset, plain_len), None).map_err(Err)?;
        (needle.cookie(), needle.about().size)
    };
    if cookie != fid.cookie.0 {
        return Err(Err(VolumeError::WrongCookie(fid)));
    }
    let record = encode::seal_tombstone(
        &view.head,
        rng,
        view.next_ns(clock),
        fid.key.0,
        fid.cookie.0,
    );
    Ok((Pending { record, seen }, size))
}
