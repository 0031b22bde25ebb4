//! What every error answers: a kind for programs and an advice for whoever has to act.

use std::time::Duration;

/// The closed list of error kinds. Extending it needs an ADR, because every boundary maps it exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// A precondition held when asked and failed when applied, or a concurrent writer won.
    Conflict,
    /// The request is malformed or breaks a limit.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// A disk, quota or budget is used up; more space or less load cures it.
    Exhausted,
    /// Not now; a retry may succeed.
    Unavailable,
    /// Another process leads.
    NotLeader,
    /// A volume or store refuses writes because an fsync failed.
    Fenced,
    /// Stored bytes do not verify.
    Corrupt,
    /// Not built, or a newer format.
    Unsupported,
    /// A bug or an unexpected failure of the system below.
    Internal,
}

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing helps.
    GiveUp,
    /// Ask the same place again after this long.
    RetrySame(Duration),
    /// Ask another copy, or take a new fid.
    RetryElsewhere,
    /// The request has to change.
    FixRequest,
    /// A person has to act.
    PageOperator,
}
