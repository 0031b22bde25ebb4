//! Replication `xyz`: copies in other data centres, other racks, other servers of the rack.

use std::fmt;
use std::str::FromStr;

/// A volume's placement. `000` is one copy; the byte on disk is x·100 + y·10 + z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Placement {
    /// Copies in other data centres.
    pub data_centers: u8,
    /// Copies in other racks of the same data centre.
    pub racks: u8,
    /// Copies on other servers of the same rack.
    pub servers: u8,
}

/// The text is not one to three digits, or its byte exceeds 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("replication is three digits xyz with x at most 2, such as 001")]
pub struct ParsePlacementError;

impl Placement {
    /// How many copies a volume of this placement has.
    pub fn copies(self) -> usize {
        usize::from(self.data_centers) + usize::from(self.racks) + usize::from(self.servers) + 1
    }

    /// The byte kept in superblocks.
    pub fn to_byte(self) -> u8 {
        self.data_centers * 100 + self.racks * 10 + self.servers
    }

    /// The reverse of [`Self::to_byte`].
    pub fn from_byte(b: u8) -> Self {
        Self {
            data_centers: b / 100,
            racks: b / 10 % 10,
            servers: b % 10,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.data_centers, self.racks, self.servers)
    }
}

impl FromStr for Placement {
    type Err = ParsePlacementError;
    /// Shorter strings are padded on the left: `1` is `001`; the empty string is `000`.
    fn from_str(s: &str) -> Result<Self, ParsePlacementError> {
        if s.len() > 3 || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParsePlacementError);
        }
        let n: u16 = if s.is_empty() {
            0
        } else {
            s.parse().map_err(|_| ParsePlacementError)?
        };
        u8::try_from(n)
            .map(Self::from_byte)
            .map_err(|_| ParsePlacementError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_byte_agree() {
        for (text, copies) in [
            ("000", 1),
            ("001", 2),
            ("010", 2),
            ("100", 2),
            ("200", 3),
            ("1", 2),
        ] {
            let p: Placement = text.parse().unwrap();
            assert_eq!(p.copies(), copies, "{text}");
            assert_eq!(Placement::from_byte(p.to_byte()), p);
        }
        for bad in ["300", "0001", "a", "-1", "259"] {
            assert!(bad.parse::<Placement>().is_err(), "{bad}");
        }
    }
}
