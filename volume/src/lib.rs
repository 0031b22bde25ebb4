//! halofs-volume.
