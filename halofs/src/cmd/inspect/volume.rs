//! A volume file: its two superblocks, then every record in file order. Damage is printed where it lies and the walk
//! goes on at the next header that reads.

use halofs_proto::needle::Meta;
use halofs_runtime::DiskFile;
use halofs_seal::needle::{NeedleSealer, TAG};
use halofs_seal::{DekScope, KeyProvider};
use halofs_types::{Cookie, FileId, NeedleKey, Uuid, VolumeId};
use halofs_volume::format::mark::Mark;
use halofs_volume::format::record::{self, Head};
use halofs_volume::format::superblock::{self, SlotState, Superblock};
use halofs_volume::format::{checkpoint, crc32c, state};

use super::{date, say};

/// Bytes that are searched at once for the next header.
const WINDOW: usize = 1 << 20;

type Sealers = Vec<(u16, NeedleSealer)>;

/// Prints a volume.
pub(super) fn print(file: &dyn DiskFile, keys: Option<&dyn KeyProvider>) -> anyhow::Result<()> {
    let mut best: Option<Superblock> = None;
    for (name, at) in [("A", 0), ("B", superblock::LEN as u64)] {
        let mut bytes = vec![0; superblock::LEN];
        let got = file.read_at(&mut bytes, at)?;
        bytes.truncate(got);
        match Superblock::decode(&bytes) {
            Ok(sb) => {
                print_superblock(name, &sb)?;
                if best.as_ref().is_none_or(|b| b.seq < sb.seq) {
                    best = Some(sb);
                }
            }
            Err(error) => say(&format!("superblock {name}: {error}"))?,
        }
    }
    let Some(head) = best else {
        return say("no superblock reads: the records are not shown");
    };
    let sealers = sealers(&head, keys)?;
    records(file, &head, &sealers)
}

fn print_superblock(name: &str, sb: &Superblock) -> anyhow::Result<()> {
    let owner = if sb.flags & superblock::FLAG_FILER != 0 {
        "filer"
    } else {
        "native"
    };
    let sealed = if sb.flags & superblock::FLAG_SEALED != 0 {
        ", sealed"
    } else {
        ""
    };
    say(&format!(
        "superblock {name}: seq {} volume {} of {owner}{sealed}, uuid {}, collection {}, cluster {}, generation {}, \
         placement {:03}, created {}",
        sb.seq,
        sb.volume_id,
        Uuid(sb.volume),
        Uuid(sb.collection),
        Uuid(sb.cluster),
        sb.generation,
        sb.placement,
        date(sb.created_ns)
    ))?;
    for slot in &sb.slots {
        let state = match slot.state {
            SlotState::Sealing => "sealing",
            SlotState::Reading => "reading only",
        };
        say(&format!(
            "  data key {}: {state}, wrapped by root key {}",
            slot.dek_gen, slot.kek_id
        ))?;
    }
    Ok(())
}

fn sealers(sb: &Superblock, keys: Option<&dyn KeyProvider>) -> anyhow::Result<Sealers> {
    let Some(keys) = keys else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    for slot in &sb.slots {
        let scope = DekScope::Volume {
            cluster: Uuid(sb.cluster),
            collection: Uuid(sb.collection),
            volume: Uuid(sb.volume),
            dek_gen: slot.dek_gen,
        };
        let dek = keys.unwrap(&scope, &slot.wrapped)?;
        out.push((slot.dek_gen, NeedleSealer::new(&dek, sb.cluster, sb.volume)));
    }
    Ok(out)
}

fn records(file: &dyn DiskFile, sb: &Superblock, sealers: &Sealers) -> anyhow::Result<()> {
    let len = file.len()?;
    let mut at = superblock::HEAD;
    let mut shown = 0u64;
    while at < len {
        let mut bytes = [0; record::HEADER];
        let got = file.read_at(&mut bytes, at)?;
        let next = match Head::decode(bytes.get(..got).unwrap_or_default()) {
            Ok(head) => {
                let end = at.saturating_add(head.header.layout().record_len());
                print_record(file, sb, sealers, at, &head)?;
                shown += 1;
                if end > len {
                    say(&format!(
                        "{at:>12}  the record ends at {end}, beyond the file's end {len}"
                    ))?;
                    break;
                }
                end
            }
            Err(error) => {
                let Some(next) = next_header(file, at, len)? else {
                    let ahead = zeros(file, at, len)?;
                    let what = if ahead {
                        "space written ahead"
                    } else {
                        "damage, no record follows"
                    };
                    say(&format!("{at:>12}  {} bytes: {what}", len - at))?;
                    break;
                };
                say(&format!("{at:>12}  damage up to {next}: {error}"))?;
                next
            }
        };
        at = next;
    }
    say(&format!("{shown} records"))
}

fn print_record(
    file: &dyn DiskFile,
    sb: &Superblock,
    sealers: &Sealers,
    at: u64,
    head: &Head,
) -> anyhow::Result<()> {
    let h = &head.header;
    let len = h.layout().record_len();
    let crc = if whole(file, at, len)? {
        ""
    } else {
        ", record CRC does not match"
    };
    let detail = sealed(file, sealers, at, head)?;
    if h.has(record::MARK) {
        return say(&format!("{at:>12}  mark{crc}{detail}"));
    }
    let fid = FileId {
        volume: VolumeId(sb.volume_id),
        key: NeedleKey(h.key),
        cookie: Cookie(h.cookie),
    };
    let kind = if h.has(record::TOMBSTONE) {
        "tombstone"
    } else {
        "needle"
    };
    let mut flags = String::new();
    for (flag, name) in [
        (record::COMPRESSED, " gzip"),
        (record::MANIFEST, " manifest"),
        (record::HAS_TTL, " ttl"),
    ] {
        if h.has(flag) {
            flags.push_str(name);
        }
    }
    let bytes = u64::from(h.plain_len).saturating_sub(u64::from(h.meta_len));
    say(&format!(
        "{at:>12}  {kind} {fid}{flags}, {bytes} bytes + {} of metadata, {}, commit {}{crc}{detail}",
        h.meta_len,
        date(h.append_ns),
        hex::encode(head.commit)
    ))
}

/// What the seal hides: a mark's numbers, a needle's metadata.
fn sealed(file: &dyn DiskFile, sealers: &Sealers, at: u64, head: &Head) -> anyhow::Result<String> {
    let h = &head.header;
    let Some((_, sealer)) = sealers.iter().find(|(id, _)| *id == h.dek_gen) else {
        return Ok(String::new());
    };
    let keys = sealer.derive(&head.derive, &head.salt);
    if !keys.commit_is(&head.commit) {
        return Ok(", header does not verify".to_owned());
    }
    if h.plain_len == 0 {
        return Ok(String::new());
    }
    let layout = h.layout();
    let mut buf = vec![0; usize::try_from(layout.segment_len(0))? + TAG];
    let got = file.read_at(&mut buf, at + layout.segment_at(0))?;
    let Some((text, tag)) = buf.get(..got).and_then(|b| b.split_last_chunk::<TAG>()) else {
        return Ok(", cut off".to_owned());
    };
    let mut body = vec![0; text.len()];
    if keys
        .open_segment(0, layout.segments() == 1, text, tag, &mut body)
        .is_err()
    {
        return Ok(", does not open".to_owned());
    }
    if h.has(record::MARK) {
        return Ok(match Mark::decode(&body) {
            Ok(m) => format!(
                ": generation {} epoch {} covers {}+{}, chain {}",
                m.generation,
                m.epoch,
                m.start,
                m.length,
                hex::encode(m.chain)
            ),
            Err(error) => format!(": {error}"),
        });
    }
    let meta = body.get(..usize::from(h.meta_len)).unwrap_or_default();
    Ok(match <Meta as prost::Message>::decode(meta) {
        Ok(m) => format!("\n{:>14}{m:?}", ""),
        Err(error) => format!(", metadata does not read: {error}"),
    })
}

/// Whether the CRC at the record's end is right.
fn whole(file: &dyn DiskFile, at: u64, len: u64) -> anyhow::Result<bool> {
    let mut crc = halofs_volume::format::Crc32c::new();
    let mut left = len - record::TRAILER as u64;
    let mut pos = at;
    let mut buf = vec![0; WINDOW];
    while left > 0 {
        let want = usize::try_from(left.min(WINDOW as u64))?;
        let piece = buf.get_mut(..want).unwrap_or_default();
        if file.read_at(piece, pos)? != want {
            return Ok(false);
        }
        crc.update(piece);
        pos += want as u64;
        left -= want as u64;
    }
    let mut trailer = [0; record::TRAILER];
    Ok(file.read_at(&mut trailer, pos)? == trailer.len() && crc.value().to_le_bytes() == trailer)
}

fn next_header(file: &dyn DiskFile, from: u64, len: u64) -> anyhow::Result<Option<u64>> {
    let step = usize::try_from(record::ALIGN)?;
    let mut at = from + record::ALIGN;
    let mut buf = vec![0; WINDOW + record::HEADER];
    while at < len {
        let got = file.read_at(&mut buf, at)?;
        let window = buf.get(..got).unwrap_or_default();
        for offset in (0..got.min(WINDOW)).step_by(step) {
            let candidate = window.get(offset..).unwrap_or_default();
            if candidate.starts_with(&record::MAGIC) && Head::decode(candidate).is_ok() {
                return Ok(Some(at + offset as u64));
            }
        }
        at += WINDOW as u64;
    }
    Ok(None)
}

fn zeros(file: &dyn DiskFile, from: u64, len: u64) -> anyhow::Result<bool> {
    let mut at = from;
    let mut buf = vec![0; WINDOW];
    while at < len {
        let got = file.read_at(&mut buf, at)?;
        if got == 0 || buf.iter().take(got).any(|b| *b != 0) {
            return Ok(false);
        }
        at += got as u64;
    }
    Ok(true)
}

/// Prints a `.state` file.
pub(super) fn print_state(bytes: &[u8]) -> anyhow::Result<()> {
    let s = state::State::decode(bytes)?;
    say(&format!(
        "state of volume {}: copy {}, collection {:?}, epoch {}, generation {}, durable up to {}{}{}",
        Uuid(s.volume),
        Uuid(s.copy),
        s.collection,
        s.epoch,
        s.generation,
        s.durable,
        if s.clean { ", stopped cleanly" } else { "" },
        if s.fenced {
            ", FENCED: a sync failed"
        } else {
            ""
        }
    ))?;
    for (start, end) in s.torn {
        say(&format!("  torn {start}..{end}"))?;
    }
    Ok(())
}

/// Prints a `.ckpt` file.
pub(super) fn print_checkpoint(bytes: &[u8]) -> anyhow::Result<()> {
    let (mut live, mut gone) = (0u64, 0u64);
    let head = checkpoint::decode(bytes, |e| if e.place == 1 { gone += 1 } else { live += 1 })?;
    say(&format!(
        "index of volume {}: generation {}, epoch {}, up to {} (chain {}), {live} needles, {gone} tombstones, {} dead \
         records of {} bytes, newest {}, crc32c {:08x}",
        Uuid(head.volume),
        head.generation,
        head.epoch,
        head.offset,
        hex::encode(head.chain),
        head.dead_files,
        head.dead_bytes,
        date(head.append_ns),
        crc32c(bytes)
    ))?;
    for (start, end) in head.ranges {
        say(&format!("  damaged {start}..{end}"))?;
    }
    Ok(())
}
