//! halofs-filer.
