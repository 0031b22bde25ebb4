//! Ids and their text forms.
//!
//! A fid is `<volume id>,<key><cookie>`: the volume id decimal, then hex digits of which the last eight are the cookie
//! and the rest the key, leading zero *bytes* dropped. `3,01637037d6` is volume 3, key 1, cookie 0x637037d6. A suffix
//! `_N` (decimal) adds N to the key and keeps the cookie.

use std::fmt;
use std::str::FromStr;

/// A volume's number, unique in the cluster and never reused. Zero is never handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VolumeId(pub u32);

/// A needle's number, unique in the cluster. Zero is reserved for log marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NeedleKey(pub u64);

/// The random part of a fid that makes it unguessable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cookie(pub u32);

/// A bucket's number: never reused, so that a deleted bucket's rows can never surface under a new one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BucketId(pub u64);

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, ParseIdError> {
                let mut out = [0; 16];
                hex::decode_to_slice(s, &mut out).map_err(|_| ParseIdError::NotHex32)?;
                Ok(Self(out))
            }
        }
    };
}

id16!(
    /// A random 128-bit identity of a cluster, collection, volume, store or copy. Text form: 32 hex digits.
    Uuid
);
id16!(
    /// One attempt to write an object (16 random bytes, or the upload id): commits carry it so that repeats are known.
    AttemptId
);
id16!(
    /// A gateway's lease on a range of fids.
    LeaseId
);

/// Why an id's text could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not 32 hex digits.
    #[error("expected 32 hex digits")]
    NotHex32,
    /// No comma or slash between volume id and key.
    #[error("a fid is <volume id>,<key and cookie in hex>; there is no comma")]
    NoComma,
    /// The volume id is not a decimal number from 1 to 4294967295.
    #[error("the volume id is not a number from 1 to 4294967295")]
    VolumeId,
    /// Key and cookie are not 9 to 24 hex digits.
    #[error("key and cookie are 9 to 24 hex digits")]
    KeyLength,
    /// A character that is not a hex digit.
    #[error("key and cookie hold a character that is not a hex digit")]
    KeyDigits,
    /// The delta after `_` is not a number, or key plus delta overflows.
    #[error("the delta after _ is not a number that fits")]
    Delta,
    /// Key zero is reserved.
    #[error("key 0 is never a needle's")]
    ZeroKey,
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VolumeId {
    type Err = ParseIdError;
    /// Digits only: no sign, no blank, 1..=u32::MAX.
    fn from_str(s: &str) -> Result<Self, ParseIdError> {
        if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseIdError::VolumeId);
        }
        match s.parse::<u32>() {
            Ok(n) if n > 0 => Ok(Self(n)),
            _ => Err(ParseIdError::VolumeId),
        }
    }
}

/// The name of a needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Which volume.
    pub volume: VolumeId,
    /// Which needle of it.
    pub key: NeedleKey,
    /// The unguessable part, checked on every access.
    pub cookie: Cookie,
}

impl FileId {
    /// The `n`-th fid of the family that one assign made; `None` when the key overflows.
    pub fn with_delta(self, n: u64) -> Option<Self> {
        let key = NeedleKey(self.key.0.checked_add(n)?);
        Some(Self { key, ..self })
    }

    /// Parses key, cookie and an optional `_delta`, as they stand after the comma or slash.
    pub fn parse_key_cookie(volume: VolumeId, text: &str) -> Result<Self, ParseIdError> {
        let (digits, delta) = match text.rsplit_once('_') {
            Some((d, n)) => (d, Some(n)),
            None => (text, None),
        };
        if digits.len() <= 8 || digits.len() > 24 {
            return Err(ParseIdError::KeyLength);
        }
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseIdError::KeyDigits);
        }
        let (key, cookie) = digits.split_at(digits.len() - 8);
        let key = u64::from_str_radix(key, 16).map_err(|_| ParseIdError::KeyDigits)?;
        let cookie = u32::from_str_radix(cookie, 16).map_err(|_| ParseIdError::KeyDigits)?;
        let base = Self {
            volume,
            key: NeedleKey(key),
            cookie: Cookie(cookie),
        };
        let fid = match delta {
            None => base,
            Some(n) => {
                if n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(ParseIdError::Delta);
                }
                let n = n.parse::<u64>().map_err(|_| ParseIdError::Delta)?;
                base.with_delta(n).ok_or(ParseIdError::Delta)?
            }
        };
        if fid.key.0 == 0 {
            Err(ParseIdError::ZeroKey)
        } else {
            Ok(fid)
        }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},", self.volume)?;
        let key = self.key.0.to_be_bytes();
        let first = key.iter().position(|b| *b != 0).unwrap_or(key.len());
        key.iter()
            .skip(first)
            .try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, "{:08x}", self.cookie.0)
    }
}

impl FromStr for FileId {
    type Err = ParseIdError;
    fn from_str(s: &str) -> Result<Self, ParseIdError> {
        let (volume, rest) = s.split_once(',').ok_or(ParseIdError::NoComma)?;
        Self::parse_key_cookie(volume.parse()?, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_fid_round_trips() {
        let fid: FileId = "3,01637037d6".parse().unwrap();
        assert_eq!((fid.volume.0, fid.key.0, fid.cookie.0), (3, 1, 0x6370_37d6));
        assert_eq!(fid.to_string(), "3,01637037d6");
        assert_eq!("3,1637037D6".parse::<FileId>().unwrap(), fid);
    }

    #[test]
    fn deltas_add_to_the_key() {
        let fid: FileId = "3,01637037d6_2".parse().unwrap();
        assert_eq!(fid.key.0, 3);
        assert_eq!(
            "3,ffffffffffffffff637037d6_1".parse::<FileId>(),
            Err(ParseIdError::Delta)
        );
    }

    #[test]
    fn bad_fids_are_refused() {
        for bad in [
            "",
            "3",
            "3,",
            "3,637037d6",
            "3,00637037d6",
            "0,01637037d6",
            "4294967296,01637037d6",
            "+3,01637037d6",
            "3,01637037d6_",
            "3,01637037d6_x",
            "3,0163g037d6",
            "3,000000000000000001637037d6",
            "x,01637037d6",
        ] {
            assert!(bad.parse::<FileId>().is_err(), "{bad}");
        }
    }
}
