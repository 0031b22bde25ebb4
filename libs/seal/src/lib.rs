//! halofs-seal.
