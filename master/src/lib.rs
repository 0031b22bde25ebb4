//! halofs-master.
