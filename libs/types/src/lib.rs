//! The words of halofs: ids, sizes, ranges, checksums, placement and the object model. Pure and total: no I/O, no clock.
//!
//! Glossary. A **needle** is one sealed record of a volume. A **volume** is one append-only file of needles. A **fid**
//! (file id) names a needle: volume, key, cookie. A **chunk** is the piece of an object that one needle holds. An
//! **object** is what S3 users see under bucket/key. A **part** is one upload of a multipart object; it has chunks of
//! its own. The words are never mixed.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | volume ids, needle keys, cookies, fids and their text form, bucket and attempt ids |
//! | [`kind`] | [`ErrorKind`] and [`Advice`]: what every error of ours answers |
//! | [`placement`] | replication `xyz` |
//! | [`range`] | HTTP byte ranges, parsed and resolved |
//! | [`conditional`] | RFC 9110 preconditions, evaluated purely |
//! | [`checksum`] | the ten S3 checksum algorithms, streaming, and CRC combination |
//! | [`object`] | buckets, objects, chunks, parts, uploads |
//! | [`limits`] | every hard bound, in one place |
//! | [`time`] | nanosecond timestamps and their HTTP and ISO forms |

pub mod checksum;
pub mod conditional;
pub mod id;
pub mod kind;
pub mod limits;
pub mod object;
pub mod placement;
pub mod range;
pub mod time;

pub use id::{AttemptId, BucketId, Cookie, FileId, LeaseId, NeedleKey, Uuid, VolumeId};
pub use kind::{Advice, ErrorKind};
pub use placement::Placement;
pub use time::Timestamp;
