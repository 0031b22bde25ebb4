//! Nanosecond timestamps.

use std::time::{Duration, SystemTime};

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds since the Unix epoch.
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since the Unix epoch.
    pub fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The standard library's form.
    pub fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), seconds resolution.
    pub fn http_date(self) -> String {
        httpdate::fmt_http_date(self.system_time())
    }

    /// Parses an HTTP date in any of the three forms of RFC 9110 §5.6.7.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let at = httpdate::parse_http_date(text).ok()?;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(Self::from_secs(since.as_secs()))
    }
}
