//! halofs-compat-tests.
