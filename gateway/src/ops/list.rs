//! Listing objects: the wish, the page, the token between pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use halofs_client::filer::{ListObjects, ListPage};
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind};
use halofs_types::object::{Bucket, Object};
use halofs_types::{BucketId, limits};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;

/// What a listing asks for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Only keys with this prefix.
    pub(crate) prefix: Bytes,
    /// Roll up at it; empty for none.
    pub(crate) delimiter: Bytes,
    /// Only keys after it.
    pub(crate) after: Bytes,
    /// As the answer shows it: never over 1,000.
    pub(crate) max_keys: usize,
}

impl Listing {
    /// From a request's parameters.
    pub(crate) fn new(
        prefix: Option<String>,
        delimiter: Option<String>,
        after: Option<String>,
        max_keys: Option<i32>,
    ) -> Result<Self, GatewayError> {
        let bytes = |s: Option<String>| Bytes::from(s.unwrap_or_default());
        let max_keys = match max_keys {
            None => limits::PAGE_MAX,
            Some(n) => usize::try_from(n).map_err(|_| {
                GatewayError::refused(
                    Code::InvalidArgument,
                    "max-keys must be from 0 to 2147483647",
                )
            })?,
        };
        let max_keys = max_keys.min(limits::PAGE_MAX);
        Ok(Self {
            prefix: bytes(prefix),
            delimiter: bytes(delimiter),
            after: bytes(after),
            max_keys,
        })
    }
}

/// A page of objects. An answer of no keys is never truncated.
pub(crate) async fn page(
    gw: &Gateway,
    bucket: &Bucket,
    listing: &Listing,
) -> Result<ListPage, GatewayError> {
    if listing.max_keys == 0 {
        return Ok(ListPage::default());
    }
    let ask = ListObjects {
        prefix: listing.prefix.clone(),
        delimiter: listing.delimiter.clone(),
        after: listing.after.clone(),
        limit: listing.max_keys,
    };
    Ok(gw.filer.list(bucket.id, ask).await?)
}

/// What a listing says of an object's checksum: the client's choice, or the one that every object has.
pub(crate) fn checksum_names(object: &Object) -> (&'static str, &'static str) {
    match &object.checksum {
        None => ("CRC64NVME", "FULL_OBJECT"),
        Some(c) => (algorithm_name(c.algorithm), kind_name(c.kind)),
    }
}

/// As S3 writes it.
pub(crate) fn algorithm_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
        ChecksumAlgorithm::Sha512 => "SHA512",
        ChecksumAlgorithm::Md5 => "MD5",
        ChecksumAlgorithm::Xxhash64 => "XXHASH64",
        ChecksumAlgorithm::Xxhash3 => "XXHASH3",
        ChecksumAlgorithm::Xxhash128 => "XXHASH128",
    }
}

/// As S3 writes it.
pub(crate) fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// A continuation token: base64url of a version byte, a CRC-32 that binds the rest to the bucket, and the name after
/// which the next page begins. It is opaque to clients; what was not made here is refused.
pub(crate) struct Token;

const TOKEN_VERSION: u8 = 1;

impl Token {
    /// The token of a page's end.
    pub(crate) fn encode(bucket: BucketId, after: &[u8]) -> String {
        let mut raw = Vec::with_capacity(after.len() + 5);
        raw.push(TOKEN_VERSION);
        raw.extend_from_slice(&Self::bind(bucket, after));
        raw.extend_from_slice(after);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// The name in a token.
    pub(crate) fn decode(bucket: BucketId, token: &str) -> Result<Bytes, GatewayError> {
        let raw = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        match raw.split_at_checked(5) {
            Some(([TOKEN_VERSION, crc @ ..], after)) if *crc == Self::bind(bucket, after) => {
                Ok(Bytes::copy_from_slice(after))
            }
            Some(_) | None => Err(GatewayError::refused(
                Code::InvalidArgument,
                "The continuation token provided is incorrect",
            )),
        }
    }

    fn bind(bucket: BucketId, after: &[u8]) -> [u8; 4] {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
        digest.update(&bucket.0.to_be_bytes());
        digest.update(after);
        u32::try_from(digest.finalize())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_opaque_and_bound_to_their_bucket() {
        let (a, b) = (BucketId(1), BucketId(2));
        for name in ["", "k", "dir/é\u{1}", &"x".repeat(1024)] {
            let token = Token::encode(a, name.as_bytes());
            assert_eq!(Token::decode(a, &token).unwrap(), name.as_bytes());
            assert!(Token::decode(b, &token).is_err());
            assert!(Token::decode(a, &format!("{token}AA")).is_err());
        }
        for bad in ["", "k", "not base64!", "AAAA", "AQAAAAA"] {
            assert!(Token::decode(a, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn max_keys_is_capped_and_never_negative() {
        let of = |n| Listing::new(None, None, None, n).map(|l| l.max_keys);
        assert_eq!(of(None).unwrap(), 1000);
        assert_eq!(of(Some(0)).unwrap(), 0);
        assert_eq!(of(Some(5000)).unwrap(), 1000);
        assert!(of(Some(-1)).is_err());
    }
}
