//! The HTTP handler of the S3 port.
