//! Who exists and what each may do.

/// All identities.
#[derive(Debug, Clone, Default)]
pub struct Identities {}
