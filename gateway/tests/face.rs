//! The S3 face without bytes: signatures, permissions, buckets, listings, refusals, the shape of every answer.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "face/buckets.rs"]
mod buckets;
#[path = "face/doors.rs"]
mod doors;
#[path = "face/fake.rs"]
mod fake;
#[path = "face/full.rs"]
mod full;
#[path = "face/lenient.rs"]
mod lenient;
#[path = "face/listings.rs"]
mod listings;
#[path = "face/matrix.rs"]
mod matrix;
#[path = "face/sign.rs"]
mod sign;
#[path = "face/slow.rs"]
mod slow;
#[path = "face/unbuilt.rs"]
mod unbuilt;
#[path = "face/wire.rs"]
mod wire;
#[path = "face/world.rs"]
mod world;
