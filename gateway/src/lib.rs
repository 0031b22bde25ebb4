//! halofs-gateway.
